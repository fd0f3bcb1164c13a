"""`make new-rule`: what it writes is a rule that passes every test of rules."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.tools.new_rule import NewRuleError, create

ID = "no-planted-aliases"
# What a rule has to pass: its fixtures, its example, its remediation, the conventions.
SUITES = (
    "tests/policies/rules",
    "tests/webhook/commands/test_rule_examples.py",
    "tests/repository/test_conventions.py",
)


@pytest.mark.parametrize("profile", ["baseline", "restricted"])
def test_a_new_rule_passes_from_the_start(tmp_path: Path, profile: str) -> None:
    ignored = shutil.ignore_patterns(".*", "__pycache__", "node_modules")
    copy = shutil.copytree(REPOSITORY, tmp_path / "copy", ignore=ignored)
    written = create(ID, profile, copy)
    assert {file.is_file() for file in written} == {True}
    checked = [str(file) for file in written if file.suffix == ".py"]
    ruff = str(Path(sys.executable).parent / "ruff")
    for command in (
        [ruff, "check", "--isolated", "--select", "E,F,I", "--line-length", "100", *checked],
        [ruff, "format", "--isolated", "--line-length", "100", "--check", *checked],
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", ID, *SUITES],
    ):
        ended = subprocess.run(
            command, cwd=copy, capture_output=True, text=True, timeout=120, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("id", "profile", "reason"),
    [
        ("NoX", "restricted", "is not an id"),
        ("x", "restricted", "is not an id"),
        ("../no-x", "restricted", "is not an id"),
        ("no-root", "restricted", "exists already"),
        ("ray-tls", "restricted", "exists already"),
        ("no-x", "privileged", "is not a profile"),
    ],
)
def test_what_cannot_be_a_rule_writes_nothing(
    tmp_path: Path, id: str, profile: str, reason: str
) -> None:
    with pytest.raises(NewRuleError, match=reason):
        create(id, profile, tmp_path)
    assert list(tmp_path.iterdir()) == []
