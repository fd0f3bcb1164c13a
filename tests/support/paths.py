"""Paths in the repository."""

from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FIXTURES = REPOSITORY / "tests" / "fixtures"
GOLDEN = REPOSITORY / "tests" / "golden"
DEPLOY = REPOSITORY / "deploy"
EXAMPLES = DEPLOY / "examples"

_FOLDERS = (".ci", "certs", "deploy", "policies", "tests", "webhook")


def repository_files() -> Iterator[Path]:
    """Every file that belongs to the repository, found without asking git: an archive has none."""
    for folder in _FOLDERS:
        for file in sorted((REPOSITORY / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file
    yield from (file for file in sorted(REPOSITORY.iterdir()) if file.is_file())
