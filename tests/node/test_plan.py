"""Which steps run, and what a failure does to the others."""

import pytest

from tests.node.kubectl import CommandError
from tests.node.plan import Step, UnknownStepError, carry_out, chosen
from tests.node.progress import Progress
from tests.node.result import Outcome, SkipStep, StepError


def passing() -> str:
    return "fine"


def failing() -> str:
    raise StepError("no pod", "kubectl get pods")


def impossible() -> str:
    raise SkipStep("one replica")


def broken() -> str:
    raise CommandError("kubectl get pods: refused")


STEPS = [
    Step("install", passing),
    Step("raycluster", passing, "install"),
    Step("uninstall", passing, "install"),
    Step("reinstall", passing, "uninstall"),
]


def outcomes(*steps: Step, installed_before: bool = False) -> dict[str, Outcome]:
    progress = Progress(say=lambda _: None)
    results = carry_out(steps, progress, installed_before=installed_before)
    return {result.name: result.outcome for result in results}


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ([], ["install", "raycluster", "uninstall", "reinstall"]),
        (["raycluster"], ["install", "raycluster"]),
        (["reinstall"], ["install", "uninstall", "reinstall"]),
        (["raycluster", "install"], ["install", "raycluster"]),
    ],
)
def test_a_step_brings_those_that_it_needs(only: list[str], names: list[str]) -> None:
    assert [step.name for step in chosen(STEPS, only)] == names


def test_a_step_that_does_not_exist_is_an_error_that_lists_them() -> None:
    with pytest.raises(UnknownStepError, match=r"no step rayjob; .* install, raycluster"):
        chosen(STEPS, ["rayjob"])


def test_a_failure_skips_only_what_needs_it() -> None:
    assert outcomes(
        Step("install", passing),
        Step("raycluster", failing, "install"),
        Step("uninstall", broken, "install"),
        Step("reinstall", passing, "uninstall"),
        Step("after", passing, "reinstall"),
        Step("last", impossible),
    ) == {
        "install": Outcome.OK,
        "raycluster": Outcome.FAILED,
        "uninstall": Outcome.FAILED,
        "reinstall": Outcome.SKIPPED,
        "after": Outcome.SKIPPED,
        "last": Outcome.SKIPPED,
    }


def test_a_failure_says_what_was_seen_and_what_to_do_next() -> None:
    progress = Progress(say=lambda _: None)
    failed, refused = carry_out([Step("one", failing), Step("two", broken)], progress)
    assert (failed.seen, failed.next_step) == ("no pod", "kubectl get pods")
    assert refused.seen == "kubectl get pods: refused" and "--only two" in refused.next_step


def test_an_installation_that_was_there_before_is_left_alone() -> None:
    changed: list[str] = []

    def install() -> str:
        changed.append("install")
        return ""

    steps = (
        Step("install", install, own_installation=True),
        Step("raycluster", passing, "install"),
    )
    assert outcomes(*steps, installed_before=True) == {
        "install": Outcome.SKIPPED,
        "raycluster": Outcome.OK,
    }
    assert changed == []


def test_ctrl_c_ends_the_run_and_not_only_the_step() -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    ran: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        for result in carry_out(
            [Step("one", passing), Step("two", interrupted), Step("three", passing)],
            Progress(say=lambda _: None),
        ):
            ran.append(result.name)
    assert ran == ["one"]
