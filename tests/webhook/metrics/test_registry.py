"""Metrics and log events match their declarations and the reference."""

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

LOGGING_FUNCTION = re.compile(r"\blog\.|_log\.|get_logger|\._warn$")
REFERENCE = (REPOSITORY / "webhook" / "README.md").read_text()


def test_labels_and_their_values_match_their_declaration() -> None:
    metrics = wired_metrics()
    families = list(metrics.registry.collect())
    assert metrics.labels.keys() <= {family.name for family in families}
    for family in families:
        declared = {label.name: label.values for label in metrics.labels.get(family.name, ())}
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "le"}
            assert labels.keys() == declared.keys(), sample
            assert all(value in declared[name] for name, value in labels.items()), sample


def test_counters_exist_at_0_before_the_first_event() -> None:
    value = wired_metrics().registry.get_sample_value
    assert value("raywarden_rule_violations_total", {"rule": "tls-on", "action": "deny"}) == 0
    assert value("raywarden_rule_failures_total", {"rule": "ray-tls"}) == 0
    assert value("raywarden_rejected_requests_total", {"status": "500"}) == 0
    assert value("raywarden_admission_duration_seconds_count", {"webhook": "mutate"}) == 0


@pytest.mark.parametrize("error", wire.REFUSALS, ids=lambda error: error.__name__)
def test_every_outcome_of_an_enrollment_is_declared(error: type[Exception]) -> None:
    reasons: dict[type[Exception], Any] = {TooOftenError: 7, CsrError: ("bad",)}
    outcome = wire.refusal(error(reasons.get(error, "no"))).outcome
    (label,) = Metrics().labels["raywarden_enrollments"]
    assert outcome in label.values and "issued" in label.values


def test_each_resource_has_its_own_series() -> None:
    watches = Watches(("pods", "services"), lambda: {"pods": True, "services": False})
    (family,) = watches.collect()
    values = {sample.labels["resource"]: sample.value for sample in family.samples}
    assert values == {"pods": 1, "services": 0}


def logged() -> Iterator[tuple[str, set[str]]]:
    """Every event in our code, and its fields."""
    for file in (REPOSITORY / "webhook").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                yield from logged_by(node)


def logged_by(call: ast.Call) -> Iterator[tuple[str, set[str]]]:
    if not call.args or not isinstance(call.args[0], ast.Constant):
        return
    event, function = call.args[0].value, ast.unparse(call.func)
    if not isinstance(event, str) or not LOGGING_FUNCTION.search(function):
        return
    fields = {keyword.arg for keyword in call.keywords if keyword.arg}
    yield event, fields


def documented() -> dict[str, set[str]]:
    """Every event in the reference, and its fields."""
    rows = re.findall(
        r"^\| `([^`]+)` \| (?:info|warning|error)[^|]* \|([^|]*)\|", REFERENCE, re.MULTILINE
    )
    return {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows}


def test_the_reference_lists_every_log_event() -> None:
    # Each informer binds the resource to its logger.
    bound = {"watch state changed": {"resource"}, "object ignored": {"resource"}}
    events = {event: fields | bound.get(event, set()) for event, fields in logged()}
    assert len(events) > 15
    assert events == documented()


def test_the_log_lines_in_the_reference_are_complete() -> None:
    shown = [json.loads(line) for line in REFERENCE.splitlines() if line.startswith("{")]
    assert [line["event"] for line in shown] == ["admission", "certificate issued"]
    for line in shown:
        assert line.keys() == documented()[line["event"]] | {"event", "level", "timestamp"}
