"""The files of a commit, which a release is built from: never those of the working tree."""

import io
import subprocess
import tarfile
from pathlib import Path

from tests.support.paths import REPOSITORY
from tests.tools.release import ReleaseError


def export(commit: str, folder: Path) -> None:
    """Write all files of a commit into a folder."""
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit))) as archive:
        archive.extractall(folder, filter="data")


def commit_time(commit: str) -> int:
    """The time of a commit, in seconds since 1970: the time of everything in the release."""
    return int(_git("log", "-1", "--format=%ct", commit))


def has_changes() -> bool:
    """Whether the working tree differs from its commit."""
    return bool(_git("status", "--porcelain"))


def _git(*arguments: str) -> bytes:
    ended = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, check=False)
    if ended.returncode != 0:
        raise ReleaseError(f"git {arguments[0]} failed: {ended.stderr.decode().strip()}")
    return ended.stdout
