"""Markdown for a comment on a pull request, within the length that GitHub accepts."""

from collections import Counter
from collections.abc import Iterator, Sequence

from webhook.reports.groups import FindingGroup, counted, groups, object_title, suppressed
from webhook.reports.markdown_text import code, escaped, fitting, link_to
from webhook.review.finding import Level, Place
from webhook.review.results import Results

# GitHub accepts 65,536 characters; bytes are counted here, which are never fewer.
_MAX_BYTES = 65_000
# What the table may take of them; the remedies get what is left.
_MAX_TABLE = 36_000
_MAX_NOTES = 6_000
_MAX_PLACES = 3
_MAX_MESSAGE = 400
_MAX_REMEDY = 1_000
# Of one rule; they differ in a name or a value.
_MAX_REMEDIES = 10
_ICONS = {Level.ERROR: "❌", Level.WARNING: "⚠️", Level.NOTE: "ℹ️"}  # noqa: RUF001  # icons


def markdown(results: Results) -> str:
    """The whole review: totals, a table of the findings, and the remedies folded."""
    found = groups(results)
    head = "\n".join(_head(results))
    notes = fitting(_notes(results), _MAX_NOTES, "more remark")
    rows = (_row(group, results.rule_url(group.first.rule)) for group in found)
    table = fitting(rows, _MAX_TABLE, "more group")
    parts = [head, notes]
    if found:
        title = "| | Rule | Where | Finding |\n|---|---|---|---|\n"
        parts.append(title + table)
    used = sum(len(part.encode()) for part in parts)
    parts.append(fitting(_remedies(found), _MAX_BYTES - used - 500, "more rule"))
    return "\n".join(part for part in parts if part)


def _head(results: Results) -> Iterator[str]:
    """The verdict and the totals."""
    yield "## RayWarden review"
    yield ""
    denied = counted(results.denied, "object")
    if results.denied:
        yield f"**Admission would deny {denied}** of {len(results.objects)}."
    elif results.unreadable:
        yield "**Some manifests could not be read.**"
    else:
        yield f"Admission would allow all of {counted(len(results.objects), 'object')}."
    yield ""
    yield " · ".join(_totals(results))
    yield ""


def _totals(results: Results) -> Iterator[str]:
    for level in Level:
        yield f"{_ICONS[level]} {counted(results.count(level), str(level))}"
    reasons = Counter(suppression.by for _, suppression in suppressed(results))
    if reasons:
        by = ", ".join(f"{number} by {reason}" for reason, number in sorted(reasons.items()))
        yield f"{results.suppressed} suppressed ({by})"
    yield f"{len(results.unreadable)} unreadable"


def _notes(results: Results) -> Iterator[str]:
    """What could not be read, and notes about the policy."""
    for broken in results.unreadable:
        why = escaped(broken.why, _MAX_MESSAGE)
        yield f"- {code(broken.source, _MAX_MESSAGE)} could not be read: {why}\n"
    for note in results.notes:
        yield f"- {escaped(note, _MAX_MESSAGE)}\n"


def _row(group: FindingGroup, url: str) -> str:
    finding = group.first
    rule = escaped(finding.rule, _MAX_MESSAGE)
    linked = f"[{rule}]({url})" if url else rule
    message = escaped(finding.message, _MAX_MESSAGE)
    title = escaped(object_title(finding), _MAX_MESSAGE)
    level = f"{_ICONS[finding.level]}&nbsp;{finding.level}"
    return f"| {level} | {linked} | {_where(group)} | {message}<br>{title} |\n"


def _where(group: FindingGroup) -> str:
    """The first places of a group with links, and how many more there are."""
    shown = [_link(place) for place in group.places[:_MAX_PLACES]]
    left = len(group.places) - _MAX_PLACES
    if left > 0:
        shown.append(counted(left, "more place"))
    return "<br>".join(shown)


def _link(place: Place) -> str:
    # Lines of rendered text are not those of the template.
    if place.template:
        return code(place.template, _MAX_MESSAGE)
    return link_to(place.file, place.line, _MAX_MESSAGE)


def _remedies(found: Sequence[FindingGroup]) -> Iterator[str]:
    """A folded section for each rule."""
    by_rule: dict[str, list[FindingGroup]] = {}
    for group in found:
        by_rule.setdefault(group.first.rule, []).append(group)
    for rule, parts in by_rule.items():
        number = counted(sum(len(group.findings) for group in parts), "finding")
        summary = f"<summary>How to fix <b>{escaped(rule, _MAX_MESSAGE)}</b> ({number})</summary>"
        shown = parts[:_MAX_REMEDIES]
        remedies = [f"- {code(group.first.remediation, _MAX_REMEDY)}" for group in shown]
        if len(parts) > _MAX_REMEDIES:
            remedies.append(f"- {len(parts) - _MAX_REMEDIES} more")
        yield "\n".join(["<details>", summary, "", *remedies, "", "</details>\n"])
