"""JSON for programs. The schema has a version, which changes when a field goes or changes."""

from collections.abc import Callable
from typing import Any

from webhook.reports.text_report import summary
from webhook.review.finding import Place, ReviewFinding, Subject, Suppression
from webhook.review.results import DerivedObject, ObjectResult, Results

SCHEMA = "raywarden.io/review/v1"

# The documentation of the rule with this id; empty if there is none.
RuleUrl = Callable[[str], str]


def json_document(results: Results) -> dict[str, Any]:
    """The whole review as one JSON object; its objects are an iterator."""
    return {
        "schema": SCHEMA,
        "objects": (object_document(reviewed, results.rule_url) for reviewed in results.objects),
        "unreadable": [
            {"source": broken.source, "reason": broken.why} for broken in results.unreadable
        ],
        "notes": list(results.notes),
        "summary": {**summary(results), "suppressed": results.suppressed},
    }


def object_document(reviewed: ObjectResult, rule_url: RuleUrl) -> dict[str, Any]:
    """One object with its findings."""
    findings = reviewed.findings
    return {
        "source": reviewed.source,
        "place": _place(reviewed.place),
        **_named(reviewed.subject),
        "allowed": reviewed.allowed,
        "mutations": list(reviewed.mutations),
        "notes": list(reviewed.notes),
        "findings": [
            {**finding_document(finding), "ruleUrl": rule_url(finding.rule) or None}
            for finding in findings
        ],
        "derived": [_derived(derived) for derived in reviewed.derived],
    }


def finding_document(finding: ReviewFinding) -> dict[str, Any]:
    """One finding."""
    return {
        "rule": finding.rule,
        "level": str(finding.level),
        "severity": str(finding.severity),
        "message": finding.message,
        "remediation": finding.remediation,
        "pointer": str(finding.pointer),
        "place": _place(finding.place),
        "derived": _subject(finding.derived),
        "fingerprint": finding.fingerprint,
        "suppression": _suppression(finding.suppression),
    }


def _derived(derived: DerivedObject) -> dict[str, Any]:
    return {
        **_named(derived.subject),
        "mutations": list(derived.mutations),
        "notes": list(derived.notes),
    }


def _suppression(suppression: Suppression | None) -> dict[str, str] | None:
    if suppression is None:
        return None
    return {"by": str(suppression.by), "reason": suppression.reason}


def _subject(subject: Subject | None) -> dict[str, str] | None:
    return _named(subject) if subject else None


def _named(subject: Subject) -> dict[str, str]:
    return {"kind": subject.kind, "namespace": subject.namespace, "name": subject.name}


def _place(place: Place) -> dict[str, Any]:
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "template": place.template or None,
    }
