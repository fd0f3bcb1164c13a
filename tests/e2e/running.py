"""A running container, its output, and other programs in it, as with `kubectl exec`."""

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
class CommandResult:
    """The exit code and the output of a program."""

    code: int
    text: str


@dataclass(frozen=True)
class Running:
    """A container in the network namespace of its pod.

    The only child of `process` is the first process of the container.
    """

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
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["nsenter", f"--net={network}", "unshare", *_NAMESPACES, *program],
                cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return cls(process, plan, log)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self, seconds: float) -> CommandResult:
        """Wait until it has ended; kill it after `seconds`."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            code = -signal.SIGKILL
        return CommandResult(code, self.log.read_text(errors="replace"))

    def kill(self) -> None:
        """Kill every process of the container at once, as when a node is lost."""
        # Kill the first process inside instead of `process`: the kernel clears the parent-death
        # signal when a process changes its user (prctl(2)).
        if not self.ended:
            os.kill(self._first_process(), signal.SIGKILL)
        self.process.wait(20)

    def execute(self, *command: str, seconds: float = 60, **environment: str) -> CommandResult:
        """Run a program in the container, with its variables, user and rights."""
        process = subprocess.run(
            self._entering(command, seconds),
            env={**self.plan.environment, **environment},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds + 30, check=False,
        )  # fmt: skip
        output = process.stdout + process.stderr
        return CommandResult(process.returncode, output.decode(errors="replace"))

    def open(self, *command: str) -> subprocess.Popen[str]:
        """Start a program in the container that must end with its input; its output is a pipe."""
        return subprocess.Popen(
            self._entering(command, 600), env=self.plan.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def _entering(self, command: Sequence[str], seconds: float) -> list[str]:
        first = self._first_process()
        # `nsenter` forks to enter a PID namespace. So the time limit must be set inside, where it
        # can kill the program.
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
            pids = children.read_text().split()
            if pids:
                return int(pids[0])
            time.sleep(0.01)
        raise AssertionError(
            f"the container does not run: {self.log.read_text(errors='replace')[-2000:]}"
        )
