"""The version of the project, and every place that repeats it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.tools.release import ReleaseError

_NUMBER = r"(\d+\.\d+\.\d+(?:(?:a|b|rc|\.dev|\.post)\d+)?)"
# Where a file names RayWarden's own version: its images, the files of a release, a requirement.
_NAMED = re.compile(rf"\braywarden(?:-enroll)?(?::|==|-){_NUMBER}")
_PLACES = {
    "webhook/__init__.py": re.compile(rf'^__version__ = "{_NUMBER}"$', re.MULTILINE),
    "Dockerfile": re.compile(rf"^ARG VERSION={_NUMBER}$", re.MULTILINE),
    "deploy/base/kustomization.yaml": re.compile(rf"\bnewTag: {_NUMBER}$", re.MULTILINE),
}
_CHART = "deploy/charts/raywarden/Chart.yaml"
_CHART_VERSIONS = ("version", "appVersion")


def version_of(source: Path) -> str:
    """The version in `pyproject.toml`."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    version: str = project["version"]
    return version


def require_one_version(source: Path) -> str:
    """The version that all files agree on. Raises ReleaseError, which names those that do not."""
    version = version_of(source)
    problems = [
        f"{place} says {found or 'nothing'}" for place, found in _places(source) if found != version
    ]
    if problems:
        # A file can repeat a version.
        named = ", ".join(dict.fromkeys(problems))
        raise ReleaseError(f"pyproject.toml says version {version}, but {named}")
    return version


def _places(source: Path) -> Iterator[tuple[str, str]]:
    """Each place that names a version, and the version; empty if it is missing where it must be."""
    for path, pattern in _PLACES.items():
        found = pattern.findall((source / path).read_text())
        yield from ((path, version) for version in found or [""])
    if (source / _CHART).exists():
        yield from _chart_versions((source / _CHART).read_text())
    for file in [source / "README.md", *sorted((source / "deploy").rglob("*"))]:
        if file.suffix in (".md", ".yaml"):
            path = file.relative_to(source).as_posix()
            yield from ((path, version) for version in _NAMED.findall(file.read_text()))


def _chart_versions(chart: str) -> Iterator[tuple[str, str]]:
    for name in _CHART_VERSIONS:
        found = re.search(rf'^{name}: "?{_NUMBER}"?$', chart, re.MULTILINE)
        yield f"{_CHART} ({name})", found[1] if found else ""
