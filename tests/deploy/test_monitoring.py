"""Alerts and dashboard ask for what the server tells, and Prometheus gets there."""

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
from tests.support.paths import DEPLOY
from tests.support.wired_metrics import wired_metrics
from webhook.settings import Settings

COMPONENT = DEPLOY / "components" / "monitoring"
GUIDE = DEPLOY / "README.md"
DASHBOARD = json.loads((COMPONENT / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [
    rule
    for group in yaml.safe_load((COMPONENT / "alerts.yaml").read_text())["spec"]["groups"]
    for rule in group["rules"]
]
METRICS = wired_metrics()
FAMILIES = {family.name: family for family in METRICS.registry.collect()}
# The API server's own, of what does not arrive at us (kube-apiserver 1.36, GET /metrics).
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
# What is no failure, whatever its value.
NO_FAILURE = {
    "raywarden_build_info",
    "raywarden_admission_requests",
    "raywarden_mutations",
    "raywarden_seed_generations",
    "raywarden_ca_cache_lookups",
    # Derived again in a tenth of a millisecond.
    "raywarden_ca_cache_evictions",
    "raywarden_ca_cache_size",
    "raywarden_ray_clusters",
    # What fails of these is told by raywarden_policy_current for as long as it lasts.
    "raywarden_policy_reloads",
    # `raywarden review` and the log name those that have ended; what they exempted is refused, and that is seen.
    "raywarden_policy_exemptions",
    # Limits are the kubelet's to enforce, and kube-state-metrics' to alert on.
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
    yield from (
        (name, {label: set[str]() for label in labels}) for name, labels in API_SERVER.items()
    )


SERIES = dict(_series())
ASKED = [(f"alert {rule['alert']}", rule["expr"]) for rule in RULES] + [
    (f"panel {panel['title']} {target['refId']}", target["expr"])
    for panel in PANELS
    for target in panel["targets"]
]


def documents(name: str) -> Any:
    return yaml.safe_load((COMPONENT / name).read_text())


@pytest.mark.parametrize(("where", "text"), ASKED, ids=[where for where, _ in ASKED])
def test_what_is_asked_for_is_there(where: str, text: str) -> None:
    assert list(promql.problems(promql.parse(text), SERIES)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rate(raywarden_enrollments[5m])", "there is no raywarden_enrollments"),
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
        ("sum by (rule) (raywarden_ready)", "nothing here has the label rule"),
    ],
)
def test_what_is_not_there_would_be_found(text: str, problem: str) -> None:
    assert list(promql.problems(promql.parse(text), SERIES)) == [problem]


def test_every_failure_that_is_measured_has_an_alert() -> None:
    asked = {
        selector.name or ""
        for rule in RULES
        for selector in promql.selectors(promql.parse(rule["expr"]))
    }
    alerted = {
        name
        for name in FAMILIES
        if any(re.fullmatch(rf"{name}(_total|_bucket|)", one) for one in asked)
    }
    assert FAMILIES.keys() - alerted == NO_FAILURE


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert notes.keys() == {"summary", "description", "runbook"}
    assert not notes["summary"].endswith(".") and notes["description"].endswith(".")
    assert re.fullmatch(r"deploy/README\.md#[a-z0-9-]+", notes["runbook"])
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(notes.values())))
    assert named <= promql.left(promql.parse(rule["expr"]), SERIES), "empty in the message"


def test_alerts_are_told_apart_by_their_names() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) > 15
    assert all(name.startswith("RayWarden") for name in names)


@pytest.mark.skipif(
    not GUIDE.exists(), reason="deploy/README.md, which the alerts lead to, is not written yet"
)
def test_alerts_lead_to_headings_that_exist() -> None:
    headings = re.findall(r"^#+ (.+)$", GUIDE.read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert {rule["annotations"]["runbook"].partition("#")[2] for rule in RULES} <= anchors


def test_panels_are_placed_and_told_apart() -> None:
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)
    places = [panel["gridPos"] for panel in everything]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    assert [(one, two) for one, two in combinations(places, 2) if overlap(one, two)] == []


def overlap(one: dict[str, int], two: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= two["x"] or two["x"] + two["w"] <= one["x"]
    above = one["y"] + one["h"] <= two["y"] or two["y"] + two["h"] <= one["y"]
    return not (beside or above)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_a_unit_and_the_chosen_data_source(panel: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource"]
    assert all(part["datasource"] == chosen for part in (panel, *panel["targets"]))
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert legend <= promql.left(promql.parse(target["expr"]), SERIES), "empty in the legend"


def test_prometheus_finds_the_operations_port_and_is_let_in() -> None:
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
        for _, text in ASKED
        for selector in promql.selectors(promql.parse(text))
        for matcher in selector.matchers.matchers
        if matcher.name == "job"
    }
    assert jobs == {service["metadata"]["name"]}


def test_everything_is_listed_and_in_our_namespace() -> None:
    listed = documents("kustomization.yaml")
    (dashboard,) = listed["configMapGenerator"]
    files = {"kustomization.yaml", *listed["resources"], *dashboard["files"]}
    assert files == {file.name for file in COMPONENT.iterdir()}
    assert dashboard["options"]["labels"]["grafana_dashboard"] == "1"
    namespace = Settings().namespace
    assert {documents(name)["metadata"]["namespace"] for name in listed["resources"]} == {namespace}
    assert dashboard["namespace"] == namespace


def test_the_overlay_is_base_with_the_component() -> None:
    folder = DEPLOY / "overlays" / "monitoring"
    overlay = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert [file.name for file in folder.iterdir()] == ["kustomization.yaml"]
    (base,), (component,) = overlay["resources"], overlay["components"]
    assert (Path(base).name, (folder / component).resolve()) == ("base", COMPONENT)
