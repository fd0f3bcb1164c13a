"""A module that imports upward, or that stands in no layer, fails `make check`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    # The script stands beside the interpreter; the packages to look at are those of `folder`.
    script = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [script, "--no-cache", "--config", "pyproject.toml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("certs", "policies", "webhook"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("policies/ray/pod.py", "import webhook.settings", "policies are pure"),
        ("policies/documents/pointer.py", "import policies.model", "inside policies"),
        ("webhook/kube/api.py", "import webhook.server.routes", "inside webhook"),
        ("webhook/admission/reviewer.py", "import webhook.kube.api", "adapters"),
        ("webhook/stray.py", "", "inside webhook"),
        ("policies/cluster/stray.py", "", "inside policies.cluster"),
    ],
)
def test_a_planted_import_is_found(copy: Path, module: str, line: str, contract: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    ended = lint_imports(copy)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert contract in ended.stdout.partition("Broken contracts")[2]


def test_the_contracts_hold(copy: Path) -> None:
    assert lint_imports(copy).returncode == 0
