"""The results of policy tests, which every format is written from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from policies.documents.pointer import Pointer
from webhook.manifests.dry_run import ReviewedManifest, ReviewedObject


class Effect(StrEnum):
    """What admission does about a finding."""

    DENIES = "denies"
    WARNS = "warns"
    EXEMPTS = "exempts"


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """What a rule says about an object, and its effect; `exemption` is the reason of an exemption.

    `derived` names the object that KubeRay creates, if the finding is about that.
    """

    rule: str
    effect: Effect
    message: str
    pointer: Pointer
    remediation: str
    source: str
    object: str
    derived: str = ""
    exemption: str = ""

    def __str__(self) -> str:
        about = f"{self.object}, derived {self.derived}" if self.derived else self.object
        return f"{self.rule}: {self.message} ({about})"


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
    unexpected: tuple[PolicyFinding, ...] = ()
    findings: tuple[PolicyFinding, ...] = ()
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


def findings_in(reviewed: ReviewedManifest) -> Iterator[PolicyFinding]:
    """What the rules say about an object, then about what KubeRay creates from it."""
    outcome = reviewed.outcome
    title = f"{outcome.kind} {outcome.place}"
    yield from _findings(str(reviewed.manifest), outcome, title, "")
    for derived in reviewed.derived:
        name = f"{derived.kind} {derived.name}"
        yield from _findings(str(reviewed.manifest), derived, title, name)


def _findings(
    source: str, reviewed: ReviewedObject, title: str, derived: str
) -> Iterator[PolicyFinding]:
    effects = [(Effect.DENIES, violation, "") for violation in reviewed.denied]
    effects += [(Effect.WARNS, violation, "") for violation in reviewed.warned]
    effects += [(Effect.EXEMPTS, violation, reason) for violation, reason in reviewed.exempted]
    for effect, violation, reason in effects:
        yield PolicyFinding(
            rule=violation.rule,
            effect=effect,
            message=violation.message,
            pointer=violation.pointer,
            remediation=violation.remediation,
            source=source,
            object=title,
            derived=derived,
            exemption=reason,
        )
