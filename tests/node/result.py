"""What came out of each step, and the table of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from textwrap import wrap

_WIDTH = 110


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "FAILED"
    SKIPPED = "skipped"


class StepError(Exception):
    """A step failed: what was seen, and what to look at next."""

    def __init__(self, seen: str, next_step: str) -> None:
        super().__init__(seen)
        self.seen, self.next_step = seen, next_step


class SkipStep(Exception):
    """A step cannot run on this cluster; the text says why."""


@dataclass(frozen=True)
class StepResult:
    """The outcome of one step; `next_step` says what to do after a failure."""

    name: str
    outcome: Outcome
    seconds: float
    seen: str
    next_step: str = ""


def table(results: Sequence[StepResult]) -> str:
    """The results, one step a line, with the reason and the next step below a failure."""
    name = max(len("step"), *(len(result.name) for result in results))
    start = f"{'':{name}}  {'':7}  {'':7}  "
    lines = [f"{'step':{name}}  {'result':7}  seconds  seen"]
    for result in results:
        first = f"{result.name:{name}}  {result.outcome:7}  {result.seconds:7.0f}  "
        lines += _wrapped(result.seen, first, start)
        if result.next_step:
            lines += _wrapped(f"next: {result.next_step}", start, start)
    return "\n".join([*lines, _sum(results)])


def counts(results: Sequence[StepResult]) -> dict[str, int]:
    """How many steps passed, failed and were skipped."""
    outcomes = [result.outcome for result in results]
    return {
        "passed": outcomes.count(Outcome.OK),
        "failed": outcomes.count(Outcome.FAILED),
        "skipped": outcomes.count(Outcome.SKIPPED),
    }


def _wrapped(text: str, first: str, later: str) -> Iterator[str]:
    for line in text.splitlines() or [""]:
        # A command must stay on one line, so that it can be copied.
        yield from wrap(
            line, _WIDTH, initial_indent=first, subsequent_indent=later,
            break_long_words=False, break_on_hyphens=False,
        ) or [first.rstrip()]  # fmt: skip
        first = later


def _sum(results: Sequence[StepResult]) -> str:
    numbers = counts(results)
    seconds = sum(result.seconds for result in results)
    return ", ".join(f"{number} {word}" for word, number in numbers.items()) + f", {seconds:.0f} s"
