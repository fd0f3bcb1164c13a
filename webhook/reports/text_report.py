"""Text for people: a line for each object, with its findings and their remedies below."""

from collections.abc import Iterator
from itertools import groupby

from webhook.review.finding import Level, ReviewFinding, SuppressedBy
from webhook.review.results import ObjectResult, Results

_LABELS = {Level.ERROR: "deny", Level.WARNING: "warn", Level.NOTE: "note"}


def text(results: Results) -> Iterator[str]:
    """The whole review as lines."""
    for note in results.notes:
        yield f"note: {note}"
    for reviewed in results.objects:
        yield from object_lines(reviewed)
    for broken in results.unreadable:
        yield f"{broken.source}: could not be read: {broken.why}"
    counts = summary(results)
    line = ", ".join(f"{number} {name}" for name, number in counts.items())
    yield f"{line} (not Ray)"


def object_lines(reviewed: ObjectResult) -> Iterator[str]:
    """The verdict on one object, what is written into it, and its findings."""
    verdict = "allowed" if reviewed.allowed else "DENIED"
    yield f"{reviewed.source}: {reviewed.subject}: {verdict}"
    yield from _injected("", reviewed.mutations, reviewed.operations, reviewed.notes)
    for derived in reviewed.derived:
        prefix = f"derived {derived.subject.kind} {derived.subject.name}: "
        yield from _injected(prefix, derived.mutations, derived.operations, derived.notes)
    yield from finding_lines(reviewed)


def finding_lines(reviewed: ObjectResult, *, in_files: bool = True) -> Iterator[str]:
    """Only the findings of an object, with lines and columns unless it is in no file."""
    for derived, findings in groupby(reviewed.findings, lambda finding: finding.derived):
        prefix = f"derived {derived.kind} {derived.name}: " if derived else ""
        for finding in findings:
            yield from _lines(finding, prefix, in_files)


def summary(results: Results) -> dict[str, int]:
    """What the last line counts."""
    return {
        "reviewed": len(results.objects),
        "denied": results.denied,
        "warnings": results.count(Level.WARNING),
        "unreadable": len(results.unreadable),
        "skipped": results.skipped,
    }


def _injected(
    prefix: str, mutations: tuple[str, ...], operations: int, notes: tuple[str, ...]
) -> Iterator[str]:
    if mutations:
        yield f"  inject  {prefix}{', '.join(mutations)} ({operations} operations)"
    for note in notes:
        yield f"  note    {prefix}{note}"


def _lines(finding: ReviewFinding, prefix: str, in_files: bool) -> Iterator[str]:
    suppression = finding.suppression
    if suppression is not None:
        exempt = suppression.by is SuppressedBy.EXEMPTION
        label, by = ("exempt", "exempted") if exempt else ("ignore", suppression.by)
        yield f"  {label}  {prefix}{finding.rule}: {finding.message} ({by}: {suppression.reason})"
        return
    places = [str(finding.place)] if in_files else []
    if finding.pointer:
        places.append(f"at {finding.pointer}")
    place = f" ({', '.join(places)})" if places else ""
    yield f"  {_LABELS[finding.level]:<6}  {prefix}{finding.rule}: {finding.message}{place}"
    yield f"          Fix: {finding.remediation}"
