"""Ctrl-C in a real terminal ends a command at once and without a traceback."""

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.kube_conversation import write_kubeconfig
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
# Makes standard input the controlling terminal, which turns Ctrl-C into SIGINT. A shell lets the
# commands that it runs in the background ignore that signal, and these tests may run there.
_IN_TERMINAL = (
    "import fcntl, os, signal, sys, termios; "
    "signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
_SECONDS = 30


class Terminal:
    """A terminal in which one command runs."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self._process = process
        self._screen = screen
        self.output = b""

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + _SECONDS
        while text not in self.output:
            assert self._read(deadline), f"{text!r} is not in the output: {self.output!r}"

    def ctrl_c(self) -> None:
        os.write(self._screen, b"\x03")

    def wait_for_end(self) -> tuple[int, float]:
        """The exit code, and the seconds until the end."""
        started = time.monotonic()
        while self._read(started + _SECONDS):
            pass
        return self._process.wait(timeout=_SECONDS), time.monotonic() - started

    def _read(self, deadline: float) -> bool:
        readable, _, _ = select.select(
            [self._screen], [], [], max(0.0, deadline - time.monotonic())
        )
        if not readable:
            return False
        try:
            output = os.read(self._screen, 65536)
        except OSError:  # on Linux: no process has this terminal open any more
            return False
        self.output += output
        return bool(output)


@contextmanager
def terminal(
    *arguments: str, python: tuple[str, ...] = (), **environment: str
) -> Iterator[Terminal]:
    screen, keyboard = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_TERMINAL, sys.executable, *python, "-m", *arguments],
        env={**os.environ, **FREE_PORTS, **environment},
        cwd=REPOSITORY,
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
        start_new_session=True,
    )
    os.close(keyboard)
    try:
        yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (SERVE, b'"ready"', 0),
        (SERVE, b"development mode", 0),
        (DEMO, b"Ctrl-C to stop.", 0),
        (DEMO, b"AdmissionReviews over HTTPS", 130),
    ],
)
def test_ctrl_c_ends_a_command_at_once(arguments: list[str], text: bytes, code: int) -> None:
    with terminal(*arguments) as screen:
        screen.wait_for(text)
        screen.ctrl_c()
        ended, seconds = screen.wait_for_end()
    assert seconds < 5
    assert b"Traceback" not in screen.output and b"KeyboardInterrupt" not in screen.output
    # Before the signal handlers are installed, the command ends with 130.
    assert ended in (code, 130)
    if code:
        assert b"Connection refused" not in screen.output
        assert b"Ctrl-C to stop" not in screen.output


def test_ctrl_c_ends_a_command_that_still_imports_modules() -> None:
    with terminal(*SERVE, python=("-X", "importtime")) as screen:
        screen.wait_for(b" typer")
        screen.ctrl_c()
        assert screen.wait_for_end()[0] == -signal.SIGINT
    assert b"Traceback" not in screen.output and b"KeyboardInterrupt" not in screen.output


def test_ctrl_c_ends_a_scan_without_a_report(tmp_path: Path) -> None:
    """The API server accepts the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cluster = {"server": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", cluster, {"token": "t"})
        scan = ["webhook", "scan", "--kubeconfig", str(kubeconfig)]
        with terminal(*scan, no_proxy="127.0.0.1") as screen:
            screen.wait_for(b"connecting")
            screen.ctrl_c()
            ended, seconds = screen.wait_for_end()
    assert (ended, seconds < 5) == (130, True)
    assert b"Traceback" not in screen.output
    assert b"interrupted, nothing is reported" in screen.output


def test_a_second_ctrl_c_ends_draining() -> None:
    with terminal(*SERVE, RAYWARDEN_DRAIN_SECONDS="600") as screen:
        screen.wait_for(b'"ready"')
        screen.ctrl_c()
        screen.wait_for(b'"draining"')
        screen.ctrl_c()
        ended, seconds = screen.wait_for_end()
    assert (ended, seconds < 5) == (0, True)
    assert b'"stopped"' in screen.output and b"Traceback" not in screen.output
