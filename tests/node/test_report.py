"""The table, and waits that end."""

import pytest

from tests.node.progress import Progress
from tests.node.result import Outcome, StepError, StepResult, table

RESULTS = [
    StepResult("install", Outcome.OK, 20.4, "2 replicas ready"),
    StepResult("raycluster", Outcome.FAILED, 180.0, "the head: Pending", "kubectl describe pods"),
    StepResult("uninstall", Outcome.SKIPPED, 0.0, "one replica"),
]


def test_the_table_has_a_line_for_each_step_and_the_next_step_after_a_failure() -> None:
    assert table(RESULTS).splitlines() == [
        "step        result   seconds  seen",
        "install     ok            20  2 replicas ready",
        "raycluster  FAILED       180  the head: Pending",
        "                              next: kubectl describe pods",
        "uninstall   skipped        0  one replica",
        "1 passed, 1 failed, 1 skipped, 200 s",
    ]


def test_long_texts_are_wrapped_below_their_column() -> None:
    lines = table([StepResult("a", Outcome.OK, 1.0, "word " * 60)]).splitlines()[1:-1]
    assert len(lines) > 2 and max(map(len, lines)) <= 110
    assert all(line.startswith(" " * 24 + "word") for line in lines[1:])


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, patience: float = 1.0) -> None:
        self.now, self.lines = 0.0, list[str]()
        self.progress = Progress(patience, self.lines.append, lambda: self.now, self._sleep)
        self.progress.begin("raycluster")

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_wait_prints_each_new_answer_once() -> None:
    clock, answers = Clock(), iter(["Pending", "Pending", "Running", ""])
    clock.progress.wait("the head", 10, lambda: next(answers), "")
    assert clock.lines == [
        "raycluster ...",
        "     0 s  waiting for the head: Pending",
        "     2 s  waiting for the head: Running",
    ]


@pytest.mark.parametrize("patience", [1.0, 3.0])
def test_a_wait_ends_with_what_was_seen_last(patience: float) -> None:
    clock = Clock(patience)
    with pytest.raises(StepError, match=r"the head: still after .* s: Pending") as failure:
        clock.progress.wait("the head", 10, lambda: "Pending", "kubectl describe pods")
    assert failure.value.next_step == "kubectl describe pods"
    assert 10 * patience <= clock.now <= 10 * patience + 2
