"""Compares what admission decides with what a case expects."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from functools import cached_property
from pathlib import PurePath
from typing import Any

import yaml

from policies.documents.metadata import name_of
from policies.documents.untyped import as_dict, one_line
from webhook.manifests.dry_run import ReviewedManifest
from webhook.manifests.yaml_dumpers import IndentingDumper
from webhook.policy_tests.cases import Expectation
from webhook.policy_tests.results import Difference, Effect, effect_of
from webhook.review.finding import ReviewFinding
from webhook.review.judged import Judge

# The work of a diff may grow with the square of the lines.
_MAX_COMPARED_LINES = 5_000
_MAX_DIFF_LINES = 200
_MAX_MESSAGES = 50


@dataclass(frozen=True)
class CaseOutcome:
    """What admission decides about the objects of a case."""

    reviewed: Sequence[ReviewedManifest]

    @property
    def verdict(self) -> str:
        verdicts = {manifest.allowed for manifest in self.reviewed}
        if not verdicts:
            return "ignored"
        if len(verdicts) > 1:
            return "mixed"
        return "allowed" if verdicts.pop() else "denied"

    @cached_property
    def findings(self) -> tuple[ReviewFinding, ...]:
        """What is denied, warned of or exempt."""
        judge = Judge(PurePath())
        findings: list[ReviewFinding] = []
        for manifest in self.reviewed:
            findings += judge.result(manifest).findings
        return tuple(finding for finding in findings if effect_of(finding))

    @property
    def stored(self) -> list[dict[str, Any]]:
        """The objects as they would be stored."""
        return [manifest.outcome.document for manifest in self.reviewed]

    def ids(self, field: str) -> list[str]:
        """The rules or the mutations in a field of `expect`, sorted."""
        if field == "mutates":
            ids: set[str] = set()
            for manifest in self.reviewed:
                ids.update(manifest.outcome.mutations)
            return sorted(ids)
        return sorted({finding.rule for finding in self.findings if effect_of(finding) == field})

    @property
    def messages(self) -> list[str]:
        """The messages of the denials and warnings, each once."""
        effects = (Effect.DENIES, Effect.WARNS)
        shown = [finding for finding in self.findings if effect_of(finding) in effects]
        return list(dict.fromkeys(one_line(finding.message) for finding in shown))


ID_FIELDS = (*map(str, Effect), "mutates")


def differences(
    expected: Expectation, outcome: CaseOutcome, stored: Sequence[dict[str, Any]] | None
) -> Iterator[Difference]:
    """The fields of `expect` that differ; `stored` are the objects of its field `stored`."""
    if expected.verdict not in (None, outcome.verdict):
        yield Difference("verdict", expected.verdict, outcome.verdict)
    for field in ID_FIELDS:
        exact = getattr(expected, field)
        actual = outcome.ids(field)
        if exact is not None and sorted(set(exact)) != actual:
            yield Difference(field, sorted(set(exact)), actual)
        parts = sorted(set(getattr(expected.contains, field)))
        found = [name for name in parts if name in actual]
        if found != parts:
            yield Difference(f"contains.{field}", parts, found)
    yield from _message_differences(expected.messages, outcome.messages)
    if stored is not None and list(stored) != outcome.stored:
        yield Difference("stored", list(stored), _ordered_like(outcome.stored, list(stored)))
    if expected.stored_contains is not None:
        yield from _part_differences(expected.stored_contains, outcome.stored)


def _message_differences(expected: Sequence[str], actual: list[str]) -> Iterator[Difference]:
    # No message contains a line break.
    everything = "\n".join(actual)
    missing = [part for part in expected if part not in everything]
    if missing:
        yield Difference("messages", missing, actual[:_MAX_MESSAGES])


def _part_differences(
    part: dict[str, Any], stored: Sequence[dict[str, Any]]
) -> Iterator[Difference]:
    selected = [document for document in stored if _selects(part, document)]
    if not selected:
        yield Difference("storedContains", part, None)
    projections = (_projected(document, part) for document in selected)
    different = next((actual for actual in projections if actual != part), None)
    if different is not None:
        yield Difference("storedContains", part, different)


def _selects(part: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """The part names this object, or none."""
    kind, name = part.get("kind"), name_of(part)
    return kind in (None, document.get("kind")) and name in ("", name_of(document))


def _projected(actual: Any, part: Any) -> Any:
    """The fields of `actual` that `part` has; members of lists are found by their names."""
    if isinstance(actual, dict) and isinstance(part, dict):
        both = [name for name in part if name in actual]
        return {name: _projected(actual[name], part[name]) for name in both}
    if isinstance(actual, list) and isinstance(part, list):
        by_name = {_name(member): member for member in actual}
        wanted = [(_name(member), member) for member in part]
        if all(name is not None for name, _ in wanted):
            return [_projected(by_name[name], item) for name, item in wanted if name in by_name]
    return actual


def _name(member: Any) -> str | None:
    name = as_dict(member).get("name", as_dict(member).get("groupName"))
    return name if isinstance(name, str) else None


def _ordered_like(value: Any, model: Any) -> Any:
    """The value with its fields in the order of `model`, so that a diff shows only what differs."""
    if isinstance(value, dict) and isinstance(model, dict):
        shared = [name for name in model if name in value]
        names = dict.fromkeys([*shared, *value])
        return {name: _ordered_like(value[name], model.get(name)) for name in names}
    if isinstance(value, list) and isinstance(model, list):
        models = [*model, *[None] * (len(value) - len(model))]
        return [_ordered_like(item, like) for item, like in zip(value, models, strict=False)]
    return value


def diff_of(found: Sequence[Difference]) -> tuple[str, ...]:
    """A unified diff of the YAML of the fields that differ: expected, then actual."""
    if not found:
        return ()
    expected = _lines({difference.field: difference.expected for difference in found})
    actual = _lines({difference.field: difference.actual for difference in found})
    if max(len(expected), len(actual)) > _MAX_COMPARED_LINES:
        fields = ", ".join(difference.field for difference in found)
        return (f"{fields}: too long to show, more than {_MAX_COMPARED_LINES} lines",)
    lines = list(unified_diff(expected, actual, "expected", "actual", lineterm="", n=2))
    if len(lines) > _MAX_DIFF_LINES:
        hidden = len(lines) - _MAX_DIFF_LINES
        lines = [*lines[:_MAX_DIFF_LINES], f"... and {hidden} more lines"]
    return tuple(map(one_line, lines))


def yaml_text(document: Any) -> str:
    """A document as people write YAML: in the order of its fields, without anchors."""
    return yaml.dump(
        document, Dumper=IndentingDumper, sort_keys=False, allow_unicode=True, width=1_000
    )


def _lines(document: Any) -> list[str]:
    return yaml_text(document).splitlines()
