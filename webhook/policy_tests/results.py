"""The results of policy tests, which every format is written from."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from webhook.review.finding import Level, ReviewFinding


class Effect(StrEnum):
    """What admission does about a finding."""

    DENIES = "denies"
    WARNS = "warns"
    EXEMPTS = "exempts"


_EFFECTS = {Level.ERROR: Effect.DENIES, Level.WARNING: Effect.WARNS}


def effect_of(finding: ReviewFinding) -> Effect | None:
    """The effect of a finding; None if it goes only into the audit log."""
    if finding.suppression is not None:
        return Effect.EXEMPTS
    return _EFFECTS.get(finding.level)


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of `expect` that differs, such as `contains.denies`."""

    field: str
    expected: Any
    actual: Any


class CaseStatus(StrEnum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case: its place, how the outcome differs from what is expected, and what was found.

    `diff` are the lines of a unified diff. `unexpected` are the findings of rules that the case
    does not expect. `problem` says why the case could not be run.
    """

    file: str
    line: int
    name: str
    differences: tuple[Difference, ...] = ()
    diff: tuple[str, ...] = ()
    unexpected: tuple[ReviewFinding, ...] = ()
    findings: tuple[ReviewFinding, ...] = ()
    problem: str = ""

    @property
    def status(self) -> CaseStatus:
        if self.problem:
            return CaseStatus.UNREADABLE
        return CaseStatus.FAILED if self.differences else CaseStatus.PASSED


@dataclass(frozen=True, slots=True)
class UnreadableTest:
    """A test file that cannot be used, and why: a line for each problem."""

    file: str
    why: str


@dataclass(frozen=True, slots=True)
class PolicyTestRun:
    """Everything that was run. `notes` are remarks, such as what was recorded."""

    cases: Sequence[CaseResult]
    unreadable: Sequence[UnreadableTest] = ()
    notes: Sequence[str] = ()

    def count(self, status: CaseStatus) -> int:
        """The number of cases that ended so; files that cannot be used count as unreadable."""
        files = len(self.unreadable) if status is CaseStatus.UNREADABLE else 0
        return files + sum(case.status is status for case in self.cases)
