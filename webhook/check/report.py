"""Reports of `raywarden check`: text for people, JSON for programs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from policies.documents.untyped import printable
from webhook.check.certificates import certificates
from webhook.check.coverage import coverage
from webhook.check.dry_run import dry_run
from webhook.check.facts import CheckFacts
from webhook.check.findings import Finding, Section, Status, count
from webhook.check.installation import installation, kubernetes_api, permissions
from webhook.check.kuberay import kuberay
from webhook.check.network import network
from webhook.check.registration import registration

# In the order in which an operator should fix problems.
SECTIONS: tuple[tuple[str, Callable[[CheckFacts], Iterator[Finding]]], ...] = (
    ("kubernetes-api", kubernetes_api),
    ("permissions", permissions),
    ("installation", installation),
    ("webhook-configurations", registration),
    ("admission", dry_run),
    ("certificates", certificates),
    ("kuberay", kuberay),
    ("coverage", coverage),
    ("network-isolation", network),
)
_MARKS = {
    Status.OK: ("√", "green"),
    Status.UNKNOWN: ("?", "cyan"),
    Status.WARNING: ("‼", "yellow"),
    Status.FAILED: ("✗", "red"),
}
_INDENT = "    "
# Messages contain text from other users and other webhooks, which can have any length.
_MAX_LENGTH = 1000


def run_checks(facts: CheckFacts) -> list[Section]:
    """Every section with its findings."""
    return [Section(title, tuple(check(facts))) for title, check in SECTIONS]


def worst(sections: Sequence[Section]) -> Status:
    """The worst status of all findings; OK if there are none."""
    for status in reversed(Status):
        if count(sections, status):
            return status
    return Status.OK


def as_json(sections: Sequence[Section]) -> dict[str, Any]:
    """The findings as one JSON object."""
    return {
        "status": str(worst(sections)),
        "counts": {str(status): count(sections, status) for status in Status},
        "sections": [_section_as_json(section) for section in sections],
    }


def _section_as_json(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "findings": [_finding_as_json(finding) for finding in section.findings],
    }


def _finding_as_json(finding: Finding) -> dict[str, str]:
    fields = {
        "id": finding.id,
        "status": str(finding.status),
        "message": _shown(finding.message),
    }
    if finding.remediation:
        fields["remediation"] = _shown(finding.remediation)
    return fields


def as_text(sections: Sequence[Section]) -> Group:
    """The findings in the style of `linkerd check`: a line each, with its remediation below."""
    lines: list[RenderableType] = []
    for section in sections:
        lines += [section.title, "-" * len(section.title)]
        for finding in section.findings:
            mark, color = _MARKS[finding.status]
            lines.append(Text.assemble((mark, color), f" {_shown(finding.message)}"))
            if finding.remediation:
                lines.append(Text(f"{_INDENT}{_shown(finding.remediation)}"))
        lines.append("")
    counts = ", ".join(f"{count(sections, status)} {status}" for status in Status)
    mark, color = _MARKS[worst(sections)]
    return Group(*lines, Text.assemble((mark, color), f" {counts}"))


def _shown(text: str) -> str:
    """The text in a form that is safe to print.

    Otherwise a tenant could write to the operator's terminal, for example with an object's name.
    """
    return printable(text, _MAX_LENGTH)
