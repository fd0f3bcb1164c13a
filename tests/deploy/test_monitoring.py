"""Alerts and dashboard use metrics that exist, and Prometheus can scrape them."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import promql
from tests.deploy.promql import TARGET
from tests.support.paths import DEPLOY, REPOSITORY
from tests.support.wired_metrics import wired_metrics
from webhook.settings import Settings

COMPONENT = DEPLOY / "components" / "monitoring"
DASHBOARD = json.loads((COMPONENT / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [
    rule
    for group in yaml.safe_load((COMPONENT / "alerts.yaml").read_text())["spec"]["groups"]
    for rule in group["rules"]
]
METRICS = wired_metrics()
FAMILIES = {family.name: family for family in METRICS.registry.collect()}
# The API server's metrics of webhook calls (kube-apiserver 1.36, GET /metrics).
API_SERVER = {
    "apiserver_admission_webhook_fail_open_count": {"name", "type"},
    "apiserver_admission_webhook_rejection_count": {
        "name",
        "type",
        "operation",
        "error_type",
        "rejection_code",
    },
    "apiserver_admission_webhook_admission_duration_seconds_bucket": {
        "name",
        "type",
        "operation",
        "rejected",
        "le",
    },
}
# Metrics that indicate no failure, whatever their value.
NOT_FAILURES = {
    "raywarden_build_info",
    "raywarden_admission_requests",
    "raywarden_mutations",
    "raywarden_seed_generations",
    "raywarden_ca_cache_lookups",
    # What memory does not know, the API server answers.
    "raywarden_enrollment_lookups",
    # An evicted CA is derived again in a tenth of a millisecond.
    "raywarden_ca_cache_evictions",
    "raywarden_ca_cache_size",
    "raywarden_ray_clusters",
    "raywarden_network_policy_changes",
    # raywarden_ray_clusters_missing_network_policies reports what a missing leader causes.
    "raywarden_network_policy_leader",
    # raywarden_policy_last_reload_successful reports a rejected policy for as long as it lasts.
    "raywarden_policy_reloads",
    # `raywarden review` and the log report expired exemptions, and what they exempted is denied,
    # which users notice.
    "raywarden_policy_exemptions",
    # The kubelet enforces limits, and alerts on them come from kube-state-metrics.
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_cpu_seconds",
    "process_open_fds",
    "process_max_fds",
}


def _series() -> Iterator[tuple[str, dict[str, set[str]]]]:
    for name, family in FAMILIES.items():
        labels = {label.name: set(label.values) for label in METRICS.labels.get(name, ())}
        labels |= {label: set() for label in TARGET}
        match family.type:
            case "counter":
                yield f"{name}_total", labels
            case "histogram":
                yield f"{name}_bucket", {**labels, "le": set()}
                yield from ((f"{name}_{suffix}", labels) for suffix in ("sum", "count"))
            case _:
                yield name, labels
    for name, label_names in API_SERVER.items():
        yield name, {label: set() for label in label_names}


SERIES = dict(_series())
QUERIES = [(f"alert {rule['alert']}", rule["expr"]) for rule in RULES] + [
    (f"panel {panel['title']} {target['refId']}", target["expr"])
    for panel in PANELS
    for target in panel["targets"]
]


def documents(name: str) -> Any:
    return yaml.safe_load((COMPONENT / name).read_text())


@pytest.mark.parametrize(("source", "query"), QUERIES, ids=[source for source, _ in QUERIES])
def test_queries_use_only_existing_series_and_labels(source: str, query: str) -> None:
    assert list(promql.problems(promql.parse(query), SERIES)) == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("rate(raywarden_enrollments[5m])", "raywarden_enrollments does not exist"),
        (
            'raywarden_enrollments_total{reason="issued"}',
            "raywarden_enrollments_total has no label reason",
        ),
        (
            'raywarden_enrollments_total{outcome="refused"}',
            'raywarden_enrollments_total never has outcome="refused"',
        ),
        (
            'raywarden_enrollments_total{outcome=~"issued|no"}',
            'raywarden_enrollments_total never has outcome=~"issued|no"',
        ),
        ("sum by (rule) (raywarden_ready)", "no series in the query has the label rule"),
    ],
)
def test_queries_with_unknown_series_or_labels_are_detected(query: str, problem: str) -> None:
    assert list(promql.problems(promql.parse(query), SERIES)) == [problem]


def test_every_metric_of_a_failure_has_an_alert() -> None:
    queried = {
        selector.name or ""
        for rule in RULES
        for selector in promql.selectors(promql.parse(rule["expr"]))
    }
    alerted = {
        name
        for name in FAMILIES
        if not queried.isdisjoint({name, f"{name}_total", f"{name}_bucket"})
    }
    assert FAMILIES.keys() - alerted == NOT_FAILURES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_severity_summary_description_and_runbook(rule: dict[str, Any]) -> None:
    annotations = rule["annotations"]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert annotations.keys() == {"summary", "description", "runbook"}
    assert not annotations["summary"].endswith(".") and annotations["description"].endswith(".")
    assert re.fullmatch(r"deploy/(OPERATE|TROUBLESHOOTING)\.md#[a-z0-9-]+", annotations["runbook"])
    used_labels = set(re.findall(r"\$labels\.(\w+)", " ".join(annotations.values())))
    result_labels = promql.result_labels(promql.parse(rule["expr"]), SERIES)
    assert used_labels <= result_labels, "the label is empty in the message"


def test_alert_names_are_unique_and_prefixed() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) > 15
    assert all(name.startswith("RayWarden") for name in names)


def test_runbooks_are_existing_headings() -> None:
    for runbook in {rule["annotations"]["runbook"] for rule in RULES}:
        guide, _, anchor = runbook.partition("#")
        headings = re.findall(r"^#+ (.+)$", (REPOSITORY / guide).read_text(), re.MULTILINE)
        assert anchor in {
            re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings
        }


def test_panels_have_unique_titles_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    areas = [panel["gridPos"] for panel in panels]
    assert all(area["x"] >= 0 and area["x"] + area["w"] <= 24 for area in areas)
    assert [(a, b) for a, b in combinations(areas, 2) if overlap(a, b)] == []


def overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
    return not (beside or above)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_a_unit_and_the_selected_data_source(panel: dict[str, Any]) -> None:
    selected = {"type": "prometheus", "uid": "${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource"]
    assert all(part["datasource"] == selected for part in (panel, *panel["targets"]))
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        result_labels = promql.result_labels(promql.parse(target["expr"]), SERIES)
        assert legend <= result_labels, "the label is empty in the legend"


def test_prometheus_finds_the_operations_port_and_may_connect() -> None:
    service, monitor, policy = map(
        documents, ("service.yaml", "service-monitor.yaml", "network-policy.yaml")
    )
    (port,) = service["spec"]["ports"]
    assert port == {
        "name": "operations",
        "port": Settings().operations_port,
        "targetPort": "operations",
    }
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"port": port["targetPort"]}]
    assert policy["spec"]["podSelector"]["matchLabels"] == service["spec"]["selector"]
    jobs = {
        matcher.value
        for _, query in QUERIES
        for selector in promql.selectors(promql.parse(query))
        for matcher in selector.matchers.matchers
        if matcher.name == "job"
    }
    assert jobs == {service["metadata"]["name"]}


def test_every_file_is_listed_and_in_our_namespace() -> None:
    kustomization = documents("kustomization.yaml")
    (dashboard,) = kustomization["configMapGenerator"]
    files = {"kustomization.yaml", *kustomization["resources"], *dashboard["files"]}
    assert files == {file.name for file in COMPONENT.iterdir()}
    assert dashboard["options"]["labels"]["grafana_dashboard"] == "1"
    namespace = Settings().namespace
    namespaces = {documents(name)["metadata"]["namespace"] for name in kustomization["resources"]}
    assert namespaces == {namespace}
    assert dashboard["namespace"] == namespace


def test_the_overlay_is_base_with_the_component() -> None:
    folder = DEPLOY / "overlays" / "monitoring"
    overlay = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert [file.name for file in folder.iterdir()] == ["kustomization.yaml"]
    (base,), (component,) = overlay["resources"], overlay["components"]
    assert (Path(base).name, (folder / component).resolve()) == ("base", COMPONENT)
