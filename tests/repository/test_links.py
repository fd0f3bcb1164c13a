"""Every relative link in the documentation leads to an existing file and heading."""

import re
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY


def _is_hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(REPOSITORY).parts)


FILES = sorted(file for file in REPOSITORY.rglob("*.md") if not _is_hidden(file))
_LINK = re.compile(r"\[[^\]\n]+(?:\n[^\]\n]+)?\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def headings(file: Path) -> set[str]:
    """The anchors of a file's headings, as GitHub generates them."""
    titles = re.findall(r"^#+ (.*)$", _CODE.sub("", file.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_links_lead_to_existing_files_and_headings(file: Path) -> None:
    links = _LINK.findall(_CODE.sub("", file.read_text()))
    broken = []
    for link in (link for link in links if "://" not in link):
        path, _, anchor = link.partition("#")
        target = (file.parent / path) if path else file
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    assert broken == []
