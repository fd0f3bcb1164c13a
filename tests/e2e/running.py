"""A container that runs: its process, what it says, and other programs run in it, as `kubectl exec` does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.container import Plan
from tests.support.paths import REPOSITORY

_NAMESPACES = ("--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child")
_ENTERED = ("--mount", "--uts", "--ipc", "--net", "--pid")


@dataclass(frozen=True)
class Said:
    """How a program ended, and everything it said."""

    code: int
    text: str


@dataclass(frozen=True)
class Running:
    """A container in the network namespace of its pod. The only child of `process` is the container's first."""

    process: subprocess.Popen[bytes]
    plan: Plan
    log: Path

    @classmethod
    def start(cls, plan: Plan, network: Path) -> "Running":
        folder = Path(plan.folder)
        folder.mkdir(parents=True)
        plan.write(folder / "plan.json")
        log = folder / "log"
        program = [sys.executable, "-m", "tests.e2e.container", str(folder / "plan.json")]
        with log.open("wb") as said:
            process = subprocess.Popen(
                ["nsenter", f"--net={network}", "unshare", *_NAMESPACES, *program],
                cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return cls(process, plan, log)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self, seconds: float) -> Said:
        """Until it has ended; ends it where that takes longer."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            code = -signal.SIGKILL
        return Said(code, self.log.read_text(errors="replace"))

    def kill(self) -> None:
        """As when a node is lost: every process of the container at once."""
        # Not by the one outside: what tells a child of its parent's end does not outlive a change of user (prctl(2)).
        if not self.ended:
            os.kill(self._first_process(), signal.SIGKILL)
        self.process.wait(20)

    def execute(self, *command: str, seconds: float = 60, **environment: str) -> Said:
        """Run a program in it, with its variables, user and rights."""
        ended = subprocess.run(
            self._entering(command, seconds),
            env={**self.plan.environment, **environment},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds + 30, check=False,
        )  # fmt: skip
        return Said(ended.returncode, (ended.stdout + ended.stderr).decode(errors="replace"))

    def open(self, *command: str) -> subprocess.Popen[str]:
        """Start a program in it whose output is read line by line and that ends with its input."""
        return subprocess.Popen(
            self._entering(command, 600), env=self.plan.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def _entering(self, command: Sequence[str], seconds: float) -> list[str]:
        first = self._first_process()
        # Entering a PID namespace forks: the time limit stands inside, where it can end what it started.
        entered = [
            "nsenter",
            f"--target={first}",
            *_ENTERED,
            "--root",
            "setpriv",
            *self.plan.rights,
            "--",
        ]
        limit = ["timeout", "-k", "5", f"{seconds:g}"]
        return [*entered, "env", f"--chdir={self.plan.environment['HOME']}", *limit, *command]

    def _first_process(self) -> int:
        deadline = time.monotonic() + 10
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while time.monotonic() < deadline and not self.ended:
            if found := children.read_text().split():
                return int(found[0])
            time.sleep(0.01)
        raise AssertionError(
            f"the container does not run: {self.log.read_text(errors='replace')[-2000:]}"
        )
