"""The steps in their order, and which of them run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.node.kubectl import CommandError
from tests.node.progress import Progress
from tests.node.result import Outcome, SkipStep, StepError, StepResult


class UnknownStepError(Exception):
    """`--only` names a step that does not exist."""


@dataclass(frozen=True)
class Step:
    """One line of the table; `run` returns what was seen.

    `needs` names the step without which it makes no sense. `own_installation` says that the step
    changes the installation, so an installation that was there before is not for it.
    """

    name: str
    run: Callable[[], str]
    needs: str = ""
    own_installation: bool = False


def chosen(steps: Sequence[Step], only: Sequence[str]) -> list[Step]:
    """The steps that `only` names, or all, and those that they need, in their order."""
    names = {step.name: step for step in steps}
    wanted: set[str] = set()
    for name in only or names:
        if name not in names:
            raise UnknownStepError(f"there is no step {name}; the steps are {', '.join(names)}")
        while name and name not in wanted:
            wanted.add(name)
            name = names[name].needs
    return [step for step in steps if step.name in wanted]


def carry_out(
    steps: Sequence[Step], progress: Progress, *, installed_before: bool = False
) -> Iterator[StepResult]:
    """Run the steps; a failure only skips the steps that need the failed one."""
    failed: set[str] = set()
    for step in steps:
        progress.begin(step.name)
        result = _carried_out(step, progress, failed, installed_before)
        if result.outcome is Outcome.FAILED or step.needs in failed:
            failed.add(step.name)
        progress.note(f"{result.outcome}: {result.seen}")
        yield result


def _carried_out(
    step: Step, progress: Progress, failed: set[str], installed_before: bool
) -> StepResult:
    outcome, seen, next_step = Outcome.OK, "", ""
    try:
        if step.needs in failed:
            raise SkipStep(f"needs {step.needs}, which failed")
        if step.own_installation and installed_before:
            raise SkipStep("RayWarden was installed before, so this step leaves it as it is")
        seen = step.run()
    except SkipStep as skipped:
        outcome, seen = Outcome.SKIPPED, str(skipped)
    except StepError as failure:
        outcome, seen, next_step = Outcome.FAILED, failure.seen, failure.next_step
    except CommandError as failure:
        outcome, seen = Outcome.FAILED, str(failure)
        next_step = f"run that command yourself, after --keep --only {step.name}"
    return StepResult(step.name, outcome, progress.seconds, seen, next_step)
