"""Reports of `raywarden check`: text and a page for people, JSON for programs."""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any

import orjson
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
from webhook.check.policy import policy
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
    ("policy", policy),
)
_MARKS = {
    Status.OK: ("√", "green"),
    Status.NOTE: ("i", "blue"),
    Status.UNKNOWN: ("?", "cyan"),
    Status.WARNING: ("‼", "yellow"),
    Status.FAILED: ("✗", "red"),
}
_INDENT = "    "
# Messages contain text from other users and other webhooks, which can have any length.
_MAX_LENGTH = 1000


class CheckFormat(StrEnum):
    """The format of a report."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


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


def pieces(format: CheckFormat, sections: Sequence[Section], facts: CheckFacts) -> Iterator[str]:
    """The findings in a format, as the content of a file in pieces."""
    if format is CheckFormat.JSON:
        yield orjson.dumps(as_json(sections), option=orjson.OPT_INDENT_2).decode() + "\n"
    elif format is CheckFormat.HTML:
        # The template engine takes a while to import.
        from webhook.check.html import html

        yield html(sections, facts)
    else:
        yield from (f"{line.plain}\n" for line in as_text(sections))


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


def as_text(sections: Sequence[Section]) -> Iterator[Text]:
    """The findings in the style of `linkerd check`: a line each, with its remediation below."""
    for section in sections:
        yield Text(section.title)
        yield Text("-" * len(section.title))
        for finding in section.findings:
            mark, color = _MARKS[finding.status]
            yield Text.assemble((mark, color), f" {_shown(finding.message)}")
            if finding.remediation:
                yield Text(f"{_INDENT}{_shown(finding.remediation)}")
        yield Text()
    counts = ", ".join(f"{count(sections, status)} {status}" for status in Status)
    mark, color = _MARKS[worst(sections)]
    yield Text.assemble((mark, color), f" {counts}")


def _shown(text: str) -> str:
    """The text in a form that is safe to print.

    Otherwise a tenant could write to the operator's terminal, for example with an object's name.
    """
    return printable(text, _MAX_LENGTH)
