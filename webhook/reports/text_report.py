"""Text for people: a line for each finding with its remedy below, equal ones counted once."""

from collections import Counter
from collections.abc import Iterator

from rich.style import Style
from rich.text import Text

from webhook.reports.groups import (
    FindingGroup,
    counted,
    groups,
    line,
    object_title,
    place_title,
    suppressed,
)
from webhook.reports.object_report import object_lines
from webhook.reports.styles import STYLES
from webhook.review.finding import Level
from webhook.review.results import ObjectResult, Results

# Places of equal findings in one line; more are hard to read.
_MAX_PLACES = 5
_INDENT = "    "


def text(results: Results, *, verbose: bool = False) -> Iterator[Text]:
    """The whole review as lines, the totals last.

    With `verbose` it goes object by object: every finding, what RayWarden writes, and pointers.
    """
    for note in results.notes:
        yield Text(f"note: {line(note)}")
    if verbose:
        for reviewed in results.objects:
            yield from object_lines(reviewed)
    else:
        for group in groups(results):
            yield from _group_lines(group, results.rule_url(group.first.rule))
    for broken in results.unreadable:
        yield Text(f"{line(broken.source)}: ", "bold").append(
            f"could not be read: {line(broken.why)}", STYLES[Level.ERROR]
        )
    if not verbose:
        yield from _left_out(results)
    totals = ", ".join(f"{number} {name}" for name, number in summary(results).items())
    yield Text(f"{totals} (not Ray)", "bold")


def summary(results: Results) -> dict[str, int]:
    """What the last line counts."""
    return {
        "reviewed": len(results.objects),
        "denied": results.denied,
        "warnings": results.count(Level.WARNING),
        "unreadable": len(results.unreadable),
        "skipped": results.skipped,
    }


def _group_lines(group: FindingGroup, url: str) -> Iterator[Text]:
    finding = group.first
    own = Text(f"{place_title(finding.place)}: ", "bold")
    own.append(str(finding.level), STYLES[finding.level])
    own.append(" ").append(line(finding.rule), Style(bold=True, link=url or None))
    own.append(f": {line(finding.message)}", "not bold")
    yield own.append(f" ({object_title(finding)})", "dim not bold")
    if len(group.findings) > 1:
        yield Text(f"{_INDENT}{_repeated(group)}", "dim")
    yield Text(_INDENT).append("Fix: ", "green").append(line(finding.remediation))


def _repeated(group: FindingGroup) -> str:
    """How often the finding occurs, and where else."""
    others = group.places[1:]
    if not others:
        return f"{len(group.findings)} findings at this place"
    shown = ", ".join(place_title(place) for place in others[:_MAX_PLACES])
    left = len(others) - _MAX_PLACES
    more = f" and {counted(left, 'more place')} (--verbose lists all)" if left > 0 else ""
    return f"{len(group.findings)} findings, also at {shown}{more}"


def _left_out(results: Results) -> Iterator[Text]:
    """What only `--verbose` shows, counted."""
    reasons = Counter(suppression.by for _, suppression in suppressed(results))
    if reasons:
        by = ", ".join(f"{number} by {reason}" for reason, number in sorted(reasons.items()))
        title = f"{counted(results.suppressed, 'finding')} suppressed, {by}"
        yield Text(f"{title} (--verbose lists them)", "dim")
    changed = sum(map(_is_changed, results.objects))
    if changed:
        title = f"admission would write into {counted(changed, 'object')}"
        yield Text(f"{title} (--verbose shows what)", "dim")


def _is_changed(reviewed: ObjectResult) -> bool:
    """Whether admission writes into the object, or into those that KubeRay creates from it."""
    return any([reviewed.mutations, *(derived.mutations for derived in reviewed.derived)])
