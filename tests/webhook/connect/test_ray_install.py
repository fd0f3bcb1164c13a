"""A program with another Ray than the cluster's is named before Ray refuses it."""

import asyncio
import sys
from pathlib import Path

import pytest

from webhook.connect.ray_install import version_warning

CLUSTER = (2, 60, 0)


def python_with(folder: Path, version: str, name: str = "python3.11") -> Path:
    """A program named like a Python that says it has this Ray; with none it fails."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{f'echo {version}' if version else 'exit 1'}\n")
    program.chmod(0o755)
    return program


def warning(*command: str, path: str = "") -> str:
    return asyncio.run(version_warning(command, {"PATH": path}, CLUSTER))


@pytest.mark.parametrize(
    ("installed", "warned"),
    [("2.60.0", False), ("2.52.1", True), ("2.60.1", True), ("", False), ("garbage", False)],
)
def test_a_python_is_asked_for_its_ray(installed: str, warned: bool, tmp_path: Path) -> None:
    python = python_with(tmp_path, installed)
    said = warning(str(python), "train.py")
    assert bool(said) is warned
    if warned:
        assert said == (
            f"the cluster runs Ray 2.60.0, and {python} has Ray {installed}: "
            "Ray Client needs the same version (pip install ray==2.60.0)"
        )


def test_a_script_is_run_by_the_python_in_its_first_line(tmp_path: Path) -> None:
    python = python_with(tmp_path, "2.52.1")
    ray = tmp_path / "ray"
    ray.write_text(f"#!{python}\n")
    ray.chmod(0o755)
    assert "has Ray 2.52.1" in warning("ray", "job", "submit", path=str(tmp_path))


def test_a_shell_will_use_the_python_on_its_path(tmp_path: Path) -> None:
    python_with(tmp_path, "2.52.1", "python3")
    assert "has Ray 2.52.1" in warning("/bin/sh", path=str(tmp_path))


@pytest.mark.parametrize("command", ["true", "no-such-command", "/etc/passwd"])
def test_nothing_is_said_about_other_programs(command: str) -> None:
    assert warning(command, path="/bin:/usr/bin") == ""


def test_modules_of_the_current_directory_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "importlib").mkdir()
    (tmp_path / "importlib" / "__init__.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    warning(sys.executable)
    assert not (tmp_path / "ran").exists()
