"""The notes of a release: the section of its version in CHANGELOG.md."""

import re

from tests.tools.release import ReleaseError

_HEADING = re.compile(r"^## (\S+).*$", re.MULTILINE)
_UNRELEASED = "Unreleased"
# Links to files of the repository lead nowhere from the page of a release.
_FILE_LINK = re.compile(r"\[([^\]]+)\]\((?![a-z]+://)([^)\s]+)\)")


def notes(changelog: str, version: str) -> str:
    """The section of a version, without its heading, which can be read outside the repository.

    Raises ReleaseError if there is none.
    """
    section = _sections(changelog).get(version, "")
    if not section:
        raise ReleaseError(f"CHANGELOG.md has no section for {version}: add '## {version}'")
    return _FILE_LINK.sub(r"\1 (\2)", section) + "\n"


def has_unreleased(changelog: str) -> bool:
    """Whether changes are listed that belong to no version yet."""
    return bool(_sections(changelog).get(_UNRELEASED))


def _sections(changelog: str) -> dict[str, str]:
    _, *parts = _HEADING.split(changelog)
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
