"""`make audit`: an advisory, a package that was not compared and a missing network all fail."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools.audit import audit

CLEAN = {"name": "idna", "version": "3.20", "vulns": []}
ADVISORY = {"id": "GHSA-0000", "fix_versions": ["3.21"], "aliases": [], "description": "..."}


def answering(tmp_path: Path, output: str, error: str = "") -> list[str]:
    """A program that answers as pip-audit does."""
    program = tmp_path / "answer.py"
    program.write_text(f"import sys\nprint({output!r})\nprint({error!r}, file=sys.stderr)\n")
    return [sys.executable, str(program)]


@pytest.mark.parametrize(
    ("package", "code", "line"),
    [
        (CLEAN, 0, "1 packages, 0 problems"),
        ({**CLEAN, "vulns": [ADVISORY]}, 1, "idna 3.20: GHSA-0000, fixed in 3.21"),
        (
            {**CLEAN, "vulns": [{**ADVISORY, "fix_versions": []}]}, 1,
            "idna 3.20: GHSA-0000, fixed in no version yet",
        ),
        ({"name": "idna", "skip_reason": "not found"}, 1, "idna: not compared: not found"),
    ],
)  # fmt: skip
def test_what_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], package: Any, code: int, line: str
) -> None:
    program = answering(tmp_path, json.dumps({"dependencies": [package], "fixes": []}))
    assert audit(tmp_path / "lock", [], program) == code
    assert line in capsys.readouterr().out.splitlines()


def test_without_a_network_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = answering(tmp_path, "", "Traceback ...\nProxyError: unable to connect to proxy")
    assert audit(tmp_path / "lock", [], program) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error == (
        "audit: the advisory database did not answer: ProxyError: unable to connect to proxy\n"
    )
