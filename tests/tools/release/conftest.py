"""The files of the repository as a commit has them, in a folder of their own."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.tools.release.build import ReleaseBuild

EPOCH = 1_700_000_000
_IGNORED = shutil.ignore_patterns(".*", "__pycache__", "dist", "fixtures", "golden", "*.pyc")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy that tests may change."""
    return shutil.copytree(REPOSITORY, tmp_path / "source", ignore=_IGNORED)


@pytest.fixture
def build(tmp_path: Path) -> Callable[[Path, str], Path]:
    """Builds what needs no builder of images, from a source into a new folder with this name."""

    def _build(source: Path, name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        release = ReleaseBuild(source, folder, EPOCH, print)
        release.distributions()
        release.chart()
        release.texts()
        release.checksums()
        return folder

    return _build
