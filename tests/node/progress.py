"""Progress lines, and waits that end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.node.result import StepError

# Between two looks: short enough to time steps, and few enough requests for a small API server.
_PAUSE_SECONDS = 1.0
_LONGEST_LINE = 160


def print_line(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


@dataclass
class Progress:
    """Prints what happens; `patience` multiplies the bound of every wait."""

    patience: float = 1.0
    say: Callable[[str], None] = print_line
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    step: str = ""
    started: float = field(default=0.0)

    def begin(self, step: str) -> None:
        """Start the clock of a step."""
        self.step, self.started = step, self.clock()
        self.say(f"{step} ...")

    @property
    def seconds(self) -> float:
        """How long the step has taken so far."""
        return self.clock() - self.started

    def note(self, text: str) -> None:
        """Print what the step does or sees."""
        line = f"  {self.seconds:4.0f} s  {' '.join(text.split())}"
        self.say(line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 3]}...")

    def wait(self, what: str, seconds: float, missing: Callable[[], str], next_step: str) -> None:
        """Wait until nothing is missing; `missing` says what is, or an empty text.

        Each new answer becomes a progress line. The last one is in the failure.
        """
        bound = seconds * self.patience
        deadline, said = self.clock() + bound, ""
        while answer := missing():
            if answer != said:
                self.note(f"waiting for {what}: {answer}")
                said = answer
            if self.clock() > deadline:
                raise StepError(f"{what}: still after {bound:.0f} s: {answer}", next_step)
            self.sleep(_PAUSE_SECONDS)
