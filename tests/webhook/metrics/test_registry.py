"""What the metrics and the log say of themselves is what they are."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from certs.csr import CsrError
from tests.support.paths import REPOSITORY
from tests.support.wired_metrics import wired_metrics
from webhook.enrollment import wire
from webhook.enrollment.signing import TooOftenError
from webhook.metrics.registry import Metrics, Watches

REFERENCE = (REPOSITORY / "webhook" / "README.md").read_text()


def test_labels_and_their_values_are_as_declared() -> None:
    metrics = wired_metrics()
    families = list(metrics.registry.collect())
    assert metrics.labels.keys() <= {family.name for family in families}
    for family in families:
        declared = {label.name: label.values for label in metrics.labels.get(family.name, ())}
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "le"}
            assert labels.keys() == declared.keys(), sample
            assert all(value in declared[name] for name, value in labels.items()), sample


def test_what_has_not_happened_yet_is_0() -> None:
    value = wired_metrics().registry.get_sample_value
    assert value("raywarden_rule_violations_total", {"rule": "tls-on", "action": "deny"}) == 0
    assert value("raywarden_rule_failures_total", {"rule": "ray-tls"}) == 0
    assert value("raywarden_rejected_requests_total", {"status": "500"}) == 0
    assert value("raywarden_admission_duration_seconds_count", {"webhook": "mutate"}) == 0


@pytest.mark.parametrize("refused", wire.REFUSALS, ids=lambda refused: refused.__name__)
def test_every_outcome_of_an_enrollment_is_declared(refused: type[Exception]) -> None:
    reasons: dict[type[Exception], Any] = {TooOftenError: 7, CsrError: ("bad",)}
    outcome = wire.refusal(refused(reasons.get(refused, "no"))).outcome
    (label,) = Metrics().labels["raywarden_enrollments"]
    assert outcome in label.values and "issued" in label.values


def test_each_resource_is_told_apart() -> None:
    watches = Watches(("pods", "services"), lambda: {"pods": True, "services": False})
    (family,) = watches.collect()
    assert {sample.labels["resource"]: sample.value for sample in family.samples} == {
        "pods": 1,
        "services": 0,
    }


def logged() -> Iterator[tuple[str, set[str]]]:
    """Every event in our code, and its fields."""
    for file in (REPOSITORY / "webhook").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(call, ast.Call)
                and call.args
                and isinstance(event := call.args[0], ast.Constant)
            ):
                said = ast.unparse(call.func)
                if isinstance(event.value, str) and re.search(
                    r"\blog\.|_log\.|get_logger|\._warn$", said
                ):
                    fields = {keyword.arg for keyword in call.keywords if keyword.arg}
                    yield event.value, fields | ({"peer"} if said.endswith("._warn") else set())


def documented() -> dict[str, set[str]]:
    """Every event in the reference, and its fields."""
    rows = re.findall(
        r"^\| `([^`]+)` \| (?:info|warning|error)[^|]* \|([^|]*)\|", REFERENCE, re.MULTILINE
    )
    return {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows}


def test_the_reference_has_every_line_of_the_log() -> None:
    # Bound to the logger of each watch.
    bound = {"watch": {"resource"}, "object left out": {"resource"}}
    events = {event: fields | bound.get(event, set()) for event, fields in logged()}
    assert len(events) > 15
    assert events == documented()


def test_the_lines_shown_are_whole() -> None:
    shown = [json.loads(line) for line in REFERENCE.splitlines() if line.startswith("{")]
    assert [line["event"] for line in shown] == ["admission", "certificate issued"]
    for line in shown:
        assert line.keys() == documented()[line["event"]] | {"event", "level", "timestamp"}
