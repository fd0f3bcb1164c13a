"""What `raywarden check` says: text for people, JSON for programs; and the code it ends with."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from policies.documents.untyped import clipped
from webhook.check.certificates import certificates
from webhook.check.coverage import coverage
from webhook.check.dry_run import dry_run
from webhook.check.findings import CheckFacts, Finding, Section, Status, count
from webhook.check.installation import installation, kubernetes_api, permissions
from webhook.check.kuberay import kuberay
from webhook.check.registration import registration

# All of them, in the order in which one would mend things.
SECTIONS: tuple[tuple[str, Callable[[CheckFacts], Iterator[Finding]]], ...] = (
    ("kubernetes-api", kubernetes_api),
    ("permissions", permissions),
    ("installation", installation),
    ("webhook-configurations", registration),
    ("admission", dry_run),
    ("certificates", certificates),
    ("kuberay", kuberay),
    ("coverage", coverage),
)
_MARKS = {
    Status.OK: ("√", "green"),
    Status.UNKNOWN: ("?", "cyan"),
    Status.WARNING: ("‼", "yellow"),
    Status.FAILED: ("✗", "red"),
}
_HINT = "    "
# Names and messages of strangers are in there, and can be of any length.
_LONGEST = 1000


def judge(facts: CheckFacts) -> list[Section]:
    """Every section, as the facts have it."""
    return [Section(title, tuple(look(facts))) for title, look in SECTIONS]


def worst(sections: Sequence[Section]) -> Status:
    """The worst there is."""
    return max(
        (status for status in Status if count(sections, status)),
        key=list(Status).index,
        default=Status.OK,
    )


def as_json(sections: Sequence[Section]) -> dict[str, Any]:
    """The findings as one JSON object."""
    return {
        "status": str(worst(sections)),
        "counts": {str(status): count(sections, status) for status in Status},
        "sections": [
            {
                "title": section.title,
                "findings": [_finding(finding) for finding in section.findings],
            }
            for section in sections
        ],
    }


def _finding(finding: Finding) -> dict[str, str]:
    found = {"id": finding.id, "status": str(finding.status), "message": shown(finding.message)}
    return found | ({"remediation": shown(finding.remediation)} if finding.remediation else {})


def as_text(sections: Sequence[Section]) -> Group:
    """The findings as linkerd has them: a line each, with what to do below it."""
    lines: list[RenderableType] = []
    for section in sections:
        lines += [section.title, "-" * len(section.title)]
        for finding in section.findings:
            mark, color = _MARKS[finding.status]
            lines.append(Text.assemble((mark, color), f" {shown(finding.message)}"))
            if finding.remediation:
                lines.append(Text(f"{_HINT}{shown(finding.remediation)}"))
        lines.append("")
    counts = ", ".join(f"{count(sections, status)} {status}" for status in Status)
    mark, color = _MARKS[worst(sections)]
    return Group(*lines, Text.assemble((mark, color), f" {counts}"))


def shown(words: str) -> str:
    """Words as they may be printed: on one line, without control characters, not without end."""
    return clipped("".join(c if c.isprintable() else " " for c in words[: _LONGEST + 1]), _LONGEST)
