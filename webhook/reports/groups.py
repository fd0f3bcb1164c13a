"""Equal findings, counted once: the same rule and remedy in several places."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.documents.untyped import printable
from webhook.review.finding import Level, Place, ReviewFinding, Suppression
from webhook.review.results import Results

# Messages are short, but those of an administrator's own rules may quote whole values.
_MAX_TEXT = 2_000
# GitHub Actions runs workflow commands from what a step prints: `::name::` where a line begins, and
# `##[name]` anywhere.
_COMMAND = re.compile(r"(^\s*:|##)([:\[])")


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """Findings that have the same rule, level and remedy, in the order of the review."""

    findings: Sequence[ReviewFinding]

    @property
    def first(self) -> ReviewFinding:
        return self.findings[0]

    @property
    def places(self) -> list[Place]:
        """The different places; the objects that KubeRay creates often share one."""
        return list(dict.fromkeys(finding.place for finding in self.findings))


def groups(results: Results) -> list[FindingGroup]:
    """The findings that count, worst level first, else in the order of the review."""
    found: dict[tuple[Level, str, str], list[ReviewFinding]] = {}
    for finding in results.findings:
        if finding.counts:
            key = finding.level, finding.rule, finding.remediation
            found.setdefault(key, []).append(finding)
    ordered = sorted(found.values(), key=lambda findings: findings[0].level.rank)
    return [FindingGroup(findings) for findings in ordered]


def suppressed(results: Results) -> Iterator[tuple[ReviewFinding, Suppression]]:
    """The findings that do not count, each with the reason."""
    for finding in results.findings:
        if finding.suppression is not None:
            yield finding, finding.suppression


def object_title(finding: ReviewFinding) -> str:
    """The object of a finding, and the one that KubeRay creates from it."""
    own = line(str(finding.subject))
    if finding.derived is None:
        return own
    return f"{line(f'{finding.derived.kind} {finding.derived.name}')} of {own}"


def place_title(place: Place) -> str:
    """The place, and the Helm template that the rendered document names."""
    return f"{line(str(place))} ({line(place.template)})" if place.template else line(str(place))


def line(text: str) -> str:
    """Untrusted text as one printable line of bounded length, which GitHub runs no command from."""
    return _COMMAND.sub(r"\1 \2", printable(text, _MAX_TEXT))


def counted(number: int, noun: str) -> str:
    """The number with the noun: 1 finding, 2 findings."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
