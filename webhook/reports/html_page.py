"""What the HTML page shows, bounded in size."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.documents.untyped import printable
from webhook.reports.excerpts import ExcerptLine, Excerpts
from webhook.reports.groups import counted, line, place_title
from webhook.review.finding import Level, ReviewFinding
from webhook.review.results import ObjectResult, Results

# A browser shows this many without delay, and nobody reads more.
_MAX_FINDINGS = 5_000
_MAX_EXCERPTS = 1_000
_MAX_ROWS = 1_000
# The messages and remedies of all findings together.
_MAX_CHARACTERS = 2_000_000
_MAX_TEXT = 1_000
# For names, paths and pointers.
_MAX_NAME = 300


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding as the page shows it."""

    level: str
    severity: str
    rule: str
    rule_url: str
    message: str
    remediation: str
    place: str
    pointer: str
    derived: str
    excerpt: Sequence[ExcerptLine]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ObjectSection:
    """An object with the findings that count; `id` is its anchor in the page."""

    id: str
    title: str
    source: str
    is_allowed: bool
    counts: Sequence[tuple[str, int]]
    findings: Sequence[FindingView]


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule with the number of its findings for each level."""

    rule: str
    url: str
    severity: str
    counts: Sequence[tuple[str, int]]
    total: int


@dataclass(frozen=True, slots=True)
class PageView:
    """The whole page."""

    verdict: str
    is_allowed: bool
    totals: Sequence[tuple[str, int, str]]
    rules: Sequence[RuleView]
    objects: Sequence[ObjectSection]
    suppressed: Sequence[FindingView]
    unreadable: Sequence[tuple[str, str]]
    notes: Sequence[str]
    left_out: Sequence[str]


def page_of(results: Results) -> PageView:
    """The page of a review: the worst findings, if there are too many for all of them."""
    shown = _Shown(results)
    hidden = [finding for finding in results.findings if not finding.counts]
    objects = sorted(results.objects, key=_badness)
    unreadable = results.unreadable[:_MAX_ROWS]
    return PageView(
        verdict=_verdict(results),
        is_allowed=not results.denied and not results.unreadable,
        totals=list(_totals(results)),
        rules=list(_rules(results)),
        objects=[
            shown.object(f"object-{number}", reviewed)
            for number, reviewed in enumerate(objects[:_MAX_ROWS], 1)
        ],
        suppressed=[shown.finding(finding) for finding in hidden[:_MAX_ROWS]],
        unreadable=[(line(broken.source), line(broken.why)) for broken in unreadable],
        notes=[line(note) for note in results.notes[:_MAX_ROWS]],
        left_out=list(_left_out(results, shown, len(hidden))),
    )


class _Shown:
    """Chooses the findings that the page has room for, and those with lines of the manifest."""

    def __init__(self, results: Results) -> None:
        found = [finding for finding in results.findings if finding.counts]
        found.sort(key=lambda finding: finding.level.rank)
        self.number = 0
        characters = 0
        for finding in found[:_MAX_FINDINGS]:
            texts = finding.message, finding.remediation, str(finding.pointer), finding.place.file
            characters += sum(min(len(text), _MAX_TEXT) for text in texts)
            if characters > _MAX_CHARACTERS:
                break
            self.number += 1
        self.total = len(found)
        self._findings = {id(finding) for finding in found[: self.number]}
        self._with_lines = {id(finding) for finding in found[:_MAX_EXCERPTS]}
        self._excerpts = Excerpts(results.texts, results.findings)
        self._rule_url = results.rule_url

    def object(self, id_: str, reviewed: ObjectResult) -> ObjectSection:
        return ObjectSection(
            id=id_,
            title=printable(str(reviewed.subject), _MAX_NAME),
            source=printable(reviewed.source, _MAX_NAME),
            is_allowed=reviewed.allowed,
            counts=_counts(reviewed.findings),
            findings=[
                self.finding(finding)
                for finding in reviewed.findings
                if id(finding) in self._findings
            ],
        )

    def finding(self, finding: ReviewFinding) -> FindingView:
        excerpt = self._excerpts.around(finding.place) if id(finding) in self._with_lines else []
        return FindingView(
            level=str(finding.level),
            severity=str(finding.severity),
            rule=line(finding.rule),
            rule_url=self._rule_url(finding.rule),
            message=printable(finding.message, _MAX_TEXT),
            remediation=printable(finding.remediation, _MAX_TEXT),
            place=printable(place_title(finding.place), _MAX_NAME),
            pointer=printable(str(finding.pointer), _MAX_NAME),
            derived=_derived_title(finding),
            excerpt=excerpt,
            reason=_reason(finding),
        )


def _derived_title(finding: ReviewFinding) -> str:
    """The object that KubeRay creates, if the finding is in one."""
    derived = finding.derived
    return printable(f"{derived.kind} {derived.name}", _MAX_NAME) if derived else ""


def _reason(finding: ReviewFinding) -> str:
    """Why the finding does not count; usually empty."""
    suppression = finding.suppression
    return f"{suppression.by}: {line(suppression.reason)}" if suppression else ""


def _verdict(results: Results) -> str:
    if results.denied:
        return f"Admission would deny {results.denied} of {counted(len(results.objects), 'object')}"
    if results.unreadable:
        return f"{counted(len(results.unreadable), 'source')} could not be read"
    return f"Admission would allow {counted(len(results.objects), 'object')}"


def _totals(results: Results) -> Iterator[tuple[str, int, str]]:
    """The numbers at the top of the page, each with its CSS class."""
    yield "objects", len(results.objects), "plain"
    yield "denied", results.denied, "error"
    for level in Level:
        yield f"{level}s", results.count(level), str(level)
    yield "suppressed", results.suppressed, "plain"
    yield "unreadable", len(results.unreadable), "error"


def _rules(results: Results) -> Iterator[RuleView]:
    """The rules with findings that count, worst first."""
    by_rule: dict[str, list[ReviewFinding]] = {}
    for finding in results.findings:
        if finding.counts:
            by_rule.setdefault(finding.rule, []).append(finding)
    worst = {rule: _worst_first(found) for rule, found in by_rule.items()}
    for rule in sorted(by_rule, key=lambda rule: (worst[rule], rule)):
        found = by_rule[rule]
        severity = str(found[0].severity)
        url = results.rule_url(rule)
        yield RuleView(line(rule), url, severity, _counts(found), len(found))


def _worst_first(findings: Sequence[ReviewFinding]) -> tuple[int, ...]:
    """Sorts what has more errors first, then more warnings, then more notes."""
    return tuple(-number for _, number in _counts(findings))


def _badness(reviewed: ObjectResult) -> tuple[bool, tuple[int, ...]]:
    return reviewed.allowed, _worst_first(reviewed.findings)


def _counts(findings: Sequence[ReviewFinding]) -> list[tuple[str, int]]:
    numbers = Counter(finding.level for finding in findings if finding.counts)
    return [(str(level), numbers[level]) for level in Level]


def _left_out(results: Results, shown: _Shown, suppressed: int) -> Iterator[str]:
    """What the page has no room for."""
    if shown.number < shown.total:
        number = f"{counted(shown.total - shown.number, 'finding')} of {shown.total}"
        yield f"{number} are left out; the page shows the worst ones."
    for all_of_them, noun in (
        (len(results.objects), "object"),
        (suppressed, "suppressed finding"),
        (len(results.unreadable), "unreadable source"),
    ):
        if all_of_them > _MAX_ROWS:
            yield f"{counted(all_of_them - _MAX_ROWS, f'more {noun}')} left out."
