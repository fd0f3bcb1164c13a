"""Ctrl-C in a real terminal: it ends at once, and nobody has to read a traceback."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.paths import REPOSITORY

FREE_PORTS = {f"RAYWARDEN_{name}_PORT": "0" for name in ("ADMISSION", "ENROLLMENT", "OPERATIONS")}
SERVE = ["webhook", "serve", "--dev"]
DEMO = [
    "tests.tools.demo",
    "deploy/examples",
    "--objects",
    "deploy/dev-cluster.yaml",
    "--keep-serving",
]
# Makes the terminal that is standard input the one whose Ctrl-C counts.
_IN_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
_SECONDS = 30


class Terminal:
    """A terminal with one command of ours in it."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self._process = process
        self._screen = screen
        self.shown = b""

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + _SECONDS
        while text not in self.shown:
            assert self._read(deadline), f"{text!r} is not shown: {self.shown!r}"

    def ctrl_c(self) -> None:
        os.write(self._screen, b"\x03")

    def end(self) -> tuple[int, float]:
        """The exit code, and the seconds it took to end."""
        started = time.monotonic()
        while self._read(started + _SECONDS):
            pass
        return self._process.wait(timeout=_SECONDS), time.monotonic() - started

    def _read(self, deadline: float) -> bool:
        readable, _, _ = select.select(
            [self._screen], [], [], max(0.0, deadline - time.monotonic())
        )
        try:
            self.shown += (found := os.read(self._screen, 65536) if readable else b"")
        except OSError:  # Linux' way to say that nobody has this terminal open
            return False
        return bool(found)


@contextmanager
def terminal(
    *arguments: str, python: tuple[str, ...] = (), **environment: str
) -> Iterator[Terminal]:
    screen, keyboard = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_TERMINAL, sys.executable, *python, "-m", *arguments],
        env={**os.environ, **FREE_PORTS, **environment}, cwd=REPOSITORY,
        stdin=keyboard, stdout=keyboard, stderr=keyboard, start_new_session=True,
    )  # fmt: skip
    os.close(keyboard)
    try:
        yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


@pytest.mark.parametrize(
    ("arguments", "shown", "code"),
    [
        (SERVE, b'"ready"', 0),
        (SERVE, b"development mode", 0),
        (DEMO, b"Ctrl-C ends it.", 0),
        (DEMO, b"and the answers", 130),
    ],
)
def test_it_ends_at_once(arguments: list[str], shown: bytes, code: int) -> None:
    with terminal(*arguments) as one:
        one.wait_for(shown)
        one.ctrl_c()
        ended, seconds = one.end()
    assert seconds < 5
    assert b"Traceback" not in one.shown and b"KeyboardInterrupt" not in one.shown
    # Where it came before the signals were ours, it was no orderly end.
    assert ended in (code, 130)
    if code:
        assert b"Connection refused" not in one.shown and b"Ctrl-C ends it" not in one.shown


@pytest.mark.parametrize("command", [SERVE, ["webhook", "enroll"]])
def test_it_may_come_while_modules_are_loaded(command: list[str]) -> None:
    with terminal(*command, python=("-X", "importtime")) as one:
        one.wait_for(b" typer")
        one.ctrl_c()
        # 130: all that `enroll` needs was there already.
        assert one.end()[0] in (-signal.SIGINT, 130)
    assert b"Traceback" not in one.shown and b"KeyboardInterrupt" not in one.shown


def test_a_second_one_waits_for_nobody() -> None:
    with terminal(*SERVE, RAYWARDEN_DRAIN_SECONDS="600") as one:
        one.wait_for(b'"ready"')
        one.ctrl_c()
        one.wait_for(b'"draining"')
        one.ctrl_c()
        ended, seconds = one.end()
    assert (ended, seconds < 5) == (0, True)
    assert b'"stopped"' in one.shown and b"Traceback" not in one.shown
