"""SARIF 2.1.0, with what GitHub code scanning shows.

Source: "SARIF support for code scanning" in GitHub's documentation, and the standard of OASIS.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from webhook import __version__
from webhook.reports.locations import location_of
from webhook.reports.sarif_rules import descriptor
from webhook.reports.sentences import with_remedy
from webhook.review.files import file_in
from webhook.review.finding import ReviewFinding, SuppressedBy, Suppression
from webhook.review.results import Results

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
# GitHub refuses a file with more results.
_MAX_RESULTS = 25_000
_ROOT = "%SRCROOT%"
# Text that a reader of SARIF replaces: a placeholder, and the link `[text](target)`.
_PLACEHOLDER = re.compile(r"\{(\d+)\}")
_LINK = "]("

Json = dict[str, Any]


def sarif_document(results: Results) -> Json:
    """The whole review as a log with one run. Of too many findings, the worst stay."""
    findings = results.findings
    notifications = list(_notifications(results))
    if len(findings) > _MAX_RESULTS:
        left_out = len(findings) - _MAX_RESULTS
        text = f"{left_out} findings are left out, because GitHub accepts {_MAX_RESULTS}"
        notifications.append(_notification("warning", text))
        findings = tuple(sorted(findings, key=_rank)[:_MAX_RESULTS])
    severities = {finding.rule: finding.severity for finding in findings}
    driver = {
        "name": "RayWarden",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [
            descriptor(rule, severity, results.rule_url(rule))
            for rule, severity in severities.items()
        ],
    }
    invocation = {
        "executionSuccessful": not results.unreadable,
        "toolExecutionNotifications": notifications,
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The root of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": list(_results(findings, list(severities), results.folder)),
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rank(finding: ReviewFinding) -> tuple[bool, int]:
    return not finding.counts, finding.level.rank


def _results(
    findings: Sequence[ReviewFinding], rules: Sequence[str], folder: PurePath
) -> Iterator[Json]:
    places = {rule: index for index, rule in enumerate(rules)}
    has_baseline = any(map(_is_in_baseline, findings))
    for finding in findings:
        result = {
            "ruleId": finding.rule,
            "ruleIndex": places[finding.rule],
            "level": str(finding.level),
            "message": {"text": _plain(with_remedy(finding))},
            "locations": [_location(finding, folder)],
            "partialFingerprints": {"raywarden/v1": finding.fingerprint},
            "suppressions": _suppressions(finding.suppression),
            "properties": {
                "severity": str(finding.severity),
                "remediation": finding.remediation,
            },
        }
        if has_baseline:
            # Either every result of a run has this property or none.
            result["baselineState"] = "unchanged" if _is_in_baseline(finding) else "new"
        yield result


def _is_in_baseline(finding: ReviewFinding) -> bool:
    suppression = finding.suppression
    return suppression is not None and suppression.by is SuppressedBy.BASELINE


def _suppressions(suppression: Suppression | None) -> list[Json]:
    """An empty list says that the finding is not suppressed."""
    if suppression is None:
        return []
    in_source = suppression.by is SuppressedBy.COMMENT
    return [
        {
            "kind": "inSource" if in_source else "external",
            "status": "accepted",
            "justification": f"{suppression.by}: {suppression.reason}",
        }
    ]


def _location(finding: ReviewFinding, folder: PurePath) -> Json:
    subject = str(finding.subject)
    named: Json = {"name": finding.subject.name, "fullyQualifiedName": subject, "kind": "object"}
    logical = [named]
    if finding.pointer:
        name = f"{subject}#{finding.pointer}"
        logical.append({"name": str(finding.pointer), "fullyQualifiedName": name})
    if not finding.place.file:
        return {"logicalLocations": logical}
    location = location_of(finding.place, folder)
    physical = {
        "artifactLocation": _artifact(location.path),
        "region": {"startLine": location.line, "startColumn": location.column},
    }
    return {"physicalLocation": physical, "logicalLocations": logical}


def _artifact(path: str) -> Json:
    """A path below the root; an absolute one is outside of it."""
    uri = quote(path, errors="surrogateescape")
    if PurePath(path).is_absolute():
        return {"uri": f"file://{uri}"}
    return {"uri": uri, "uriBaseId": _ROOT}


def _notifications(results: Results) -> Iterator[Json]:
    for note in results.notes:
        yield _notification("note", note)
    for broken in results.unreadable:
        text = f"{broken.source}: could not be read: {broken.why}"
        notification = _notification("error", text)
        artifact = _artifact(file_in(results.folder, broken.source.partition("#")[0]))
        notification["locations"] = [{"physicalLocation": {"artifactLocation": artifact}}]
        yield notification


def _notification(level: str, text: str) -> Json:
    return {"level": level, "message": {"text": _plain(text)}}


def _plain(text: str) -> str:
    """Text without anything that a reader of SARIF would replace."""
    if _LINK in text:
        text = text.replace("[", r"\[").replace("]", r"\]")
    return _PLACEHOLDER.sub(r"{{\1}}", text)
