"""Text about each object: the verdict, what is written into it, and all its findings."""

from collections.abc import Iterator
from itertools import groupby

from rich.text import Text

from webhook.reports.groups import line
from webhook.reports.styles import STYLES
from webhook.review.finding import ReviewFinding, SuppressedBy
from webhook.review.results import ObjectResult

_INDENT = " " * 11


def object_lines(reviewed: ObjectResult) -> Iterator[Text]:
    """The verdict on one object, what is written into it, and its findings."""
    verdict, style = ("allowed", "green") if reviewed.allowed else ("DENIED", "bold red")
    title = Text(f"{line(reviewed.source)}: {line(str(reviewed.subject))}: ", "bold")
    yield title.append(verdict, style)
    yield from _injected("", reviewed.mutations, reviewed.operations, reviewed.notes)
    for derived in reviewed.derived:
        prefix = f"derived {derived.subject.kind} {derived.subject.name}: "
        yield from _injected(prefix, derived.mutations, derived.operations, derived.notes)
    yield from finding_lines(reviewed)


def finding_lines(reviewed: ObjectResult, *, in_files: bool = True) -> Iterator[Text]:
    """Only the findings of an object, with lines and columns unless it is in no file."""
    for derived, findings in groupby(reviewed.findings, lambda finding: finding.derived):
        prefix = f"derived {derived.kind} {derived.name}: " if derived else ""
        for finding in findings:
            yield from _lines(finding, prefix, in_files)


def _injected(
    prefix: str, mutations: tuple[str, ...], operations: int, notes: tuple[str, ...]
) -> Iterator[Text]:
    if mutations:
        written = f"{prefix}{', '.join(mutations)} ({operations} operations)"
        yield _labeled("inject", "green", line(written))
    for note in notes:
        yield _labeled("note", "cyan", line(f"{prefix}{note}"))


def _lines(finding: ReviewFinding, prefix: str, in_files: bool) -> Iterator[Text]:
    message = line(f"{prefix}{finding.rule}: {finding.message}")
    suppression = finding.suppression
    if suppression is not None:
        exempt = suppression.by is SuppressedBy.EXEMPTION
        label, by = ("exempt", "exempted") if exempt else ("ignore", suppression.by)
        yield _labeled(label, "dim", f"{message} ({by}: {line(suppression.reason)})")
        return
    places = [line(str(finding.place))] if in_files else []
    if finding.pointer:
        places.append(f"at {line(str(finding.pointer))}")
    place = f" ({', '.join(places)})" if places else ""
    yield _labeled(str(finding.level), STYLES[finding.level], f"{message}{place}")
    yield Text(f"{_INDENT}Fix: {line(finding.remediation)}")


def _labeled(label: str, style: str, content: str) -> Text:
    return Text("  ").append(f"{label:<7}", style).append(f"  {content}")
