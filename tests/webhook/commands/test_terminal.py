"""Text on terminals: colors, width and progress, and none of them anywhere else."""

import io
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.text import Text

from tests.support import factory
from tests.webhook.commands.test_cli import PUBLIC, run, write
from webhook.commands import progress
from webhook.commands.progress import progress_bar, progress_counter
from webhook.commands.terminal import print_lines

LINE = Text("a.yaml:1:1: ").append("error", "bold red").append(" no-root: " + "word " * 30)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, **environment: str) -> str:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", **environment}.items():
        monkeypatch.setenv(name, value)
    print_lines([LINE], stream)
    return stream.getvalue()


def test_a_terminal_gets_colors_and_lines_of_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = printed(monkeypatch, Terminal(), COLUMNS="60")
    assert "\x1b[1;31merror" in shown
    first, *rest = Text.from_ansi(shown).plain.splitlines()
    assert first.startswith("a.yaml:1:1: error no-root: word")
    assert rest and all(line.startswith("    word") for line in rest)
    assert max(map(len, [first, *rest])) <= 60


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colors_gets_none(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = printed(monkeypatch, Terminal(), COLUMNS="60", **environment)
    assert "\x1b[1;31m" not in shown and "31" not in shown
    assert shown.count("\n") > 1


def test_a_line_stays_one_line_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, io.StringIO(), COLUMNS="60") == f"{LINE.plain}\n"
    forced = printed(monkeypatch, io.StringIO(), COLUMNS="60", FORCE_COLOR="1")
    assert "\x1b[1;31merror" in forced and forced.count("\n") == 1


def test_progress_is_shown_on_terminals_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "_DELAY_SECONDS", 0.01)
    with progress_bar() as track:
        for _ in track(_until_shown(terminal), "reviewing"):
            pass
    shown = terminal.getvalue()
    assert "reviewing" in shown
    assert "reviewing" not in Text.from_ansi(shown.rpartition("\n")[2]).plain
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


def test_a_counter_is_shown_on_terminals_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "_DELAY_SECONDS", 0.01)
    with progress_counter() as on_progress:
        for number in _until_shown(terminal):
            on_progress("reviewing pods", number, 7_000)
    shown = terminal.getvalue()
    assert "/7000" in shown
    assert "reviewing" not in Text.from_ansi(shown.rpartition("\n")[2]).plain


def _until_shown(terminal: Terminal) -> Iterator[int]:
    waiting = threading.Event()
    for number in range(1_000):
        if "reviewing" in terminal.getvalue():
            return
        waiting.wait(0.02)
        yield number


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["short", "no terminal"])
def test_short_work_and_pipes_show_no_progress(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar() as track:
        assert list(track([1, 2, 3], "reviewing")) == [1, 2, 3]
    assert stream.getvalue().strip("\x1b[?25h") == ""


def test_review_in_a_real_terminal(tmp_path: Path) -> None:
    """The width is that of the terminal; a file that is written beside it has no colors."""
    file = write(tmp_path, "a.yaml", PUBLIC, factory.ray_cluster())
    report = tmp_path / "report.txt"
    main, child = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": "72"}
    process = subprocess.Popen(
        [sys.executable, "-m", "webhook", "review", file, "-o", "text", "-o", f"text={report}"],
        stdout=child,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    os.close(child)
    shown = b""
    try:
        while part := os.read(main, 65_536):
            shown += part
    except OSError:
        # Linux answers so when the other end is closed.
        pass
    os.close(main)
    assert process.wait(60) == 1
    lines = Text.from_ansi(shown.decode().replace("\r\n", "\n")).plain.splitlines()
    assert max(map(len, lines)) <= 72
    assert b"\x1b[1;31merror\x1b[0m" in shown
    assert "\x1b" not in report.read_text()
    assert "".join(report.read_text().split()) == "".join("".join(lines).split())


def test_verbose_prints_each_object_with_what_admission_writes(tmp_path: Path) -> None:
    ended = run("review", "-v", write(tmp_path, "a.yaml", factory.ray_cluster(), PUBLIC))
    assert "a.yaml#2: RayCluster team-a/demo: DENIED\n  inject   pod-security, " in ended.stdout
    assert "  error    no-public-head-service: the head service is a LoadBalancer" in ended.stdout
    assert ", at /spec/headGroupSpec/serviceType)\n           Fix: set service" in ended.stdout
