"""Every place that names a version names the version of the release, and the notes are its own."""

from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.tools.release import ReleaseError
from tests.tools.release.changelog import has_unreleased, notes
from tests.tools.release.versions import require_one_version, version_of
from webhook import __version__

CHANGELOG = """# Changelog

## Unreleased

- Something new ([how](README.md#how), [why](https://why.example)).

## 0.2.0 (2026-12-01)

- Fixed: `list` ([rules](policies/README.md)); see [Ray](https://ray.example).

### More

- More.

## 0.1.0

- First.
"""


def test_the_repository_names_one_version() -> None:
    assert require_one_version(REPOSITORY) == __version__ == version_of(REPOSITORY)
    assert notes((REPOSITORY / "CHANGELOG.md").read_text(), __version__)


@pytest.mark.parametrize(
    ("path", "old", "new", "found"),
    [
        ("webhook/__init__.py", '"0.1.0"', '"0.1.1"', "webhook/__init__.py says 0.1.1"),
        ("Dockerfile", "ARG VERSION=0.1.0", "ARG VERSION=0.2.0", "Dockerfile says 0.2.0"),
        ("Dockerfile", "ARG VERSION=0.1.0", "ARG V=0.1.0", "Dockerfile says nothing"),
        ("deploy/base/kustomization.yaml", "newTag: 0.1.0", "newTag: 0.0.9", "yaml says 0.0.9"),
        ("deploy/base/deployment.yaml", "raywarden:0.1.0-e", "raywarden:0.3.0-e", "says 0.3.0"),
        ("deploy/probe.yaml", "raywarden:0.1.0", "raywarden:0.3.0rc1", "probe.yaml says 0.3.0rc1"),
        ("deploy/ci/gitlab.yaml", "raywarden==0.1.0", "raywarden==1.0.0", "gitlab.yaml says 1.0.0"),
        ("deploy/CI.md", "raywarden-0.1.0-py3", "raywarden-0.1.2-py3", "CI.md says 0.1.2"),
        ("README.md", "raywarden:0.1.0", "raywarden:0.1.5", "README.md says 0.1.5"),
    ],
)
def test_another_version_is_found(source: Path, path: str, old: str, new: str, found: str) -> None:
    file = source / path
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ReleaseError, match=found):
        require_one_version(source)


def test_the_chart_has_the_version_too(source: Path) -> None:
    chart = source / "deploy" / "charts" / "raywarden" / "Chart.yaml"
    chart.parent.mkdir(parents=True, exist_ok=True)
    chart.write_text('version: 0.1.0\nappVersion: "0.1.0"\n')
    assert require_one_version(source) == "0.1.0"
    chart.write_text('version: 0.1.1\nappVersion: "0.1.0"\n')
    with pytest.raises(ReleaseError, match=r"Chart.yaml \(version\) says 0\.1\.1$"):
        require_one_version(source)
    chart.write_text("version: 0.1.0\n")
    with pytest.raises(ReleaseError, match=r"Chart.yaml \(appVersion\) says nothing$"):
        require_one_version(source)


def test_notes_are_the_section_of_the_version() -> None:
    expected = (
        "- Fixed: `list` (rules (policies/README.md)); see [Ray](https://ray.example).\n\n"
        "### More\n\n- More.\n"
    )
    assert notes(CHANGELOG, "0.2.0") == expected
    assert notes(CHANGELOG, "0.1.0") == "- First.\n"


def test_a_version_without_notes_is_refused() -> None:
    with pytest.raises(ReleaseError, match=r"no section for 0\.3\.0: add '## 0\.3\.0'"):
        notes(CHANGELOG, "0.3.0")


def test_unreleased_changes_are_seen() -> None:
    assert has_unreleased(CHANGELOG)
    assert not has_unreleased(
        CHANGELOG.replace("- Something new", "").replace(
            " ([how](README.md#how), [why](https://why.example)).", ""
        )
    )
    assert not has_unreleased("# Changelog\n\n## 0.1.0\n\n- First.\n")
