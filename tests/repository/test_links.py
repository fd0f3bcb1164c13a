"""Every link of the documentation to a file of ours, and to a heading in it, leads there."""

import re
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

FILES = sorted(
    file
    for file in REPOSITORY.rglob("*.md")
    if not any(part.startswith(".") for part in file.relative_to(REPOSITORY).parts)
)
_LINK = re.compile(r"\[[^\]\n]+(?:\n[^\]\n]+)?\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def headings(file: Path) -> set[str]:
    """The anchors of a file's headings, as GitHub makes them."""
    listed = re.findall(r"^#+ (.*)$", _CODE.sub("", file.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in listed}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_links_lead_somewhere(file: Path) -> None:
    found = [link for link in _LINK.findall(_CODE.sub("", file.read_text())) if "://" not in link]
    broken = []
    for link in found:
        place, _, anchor = link.partition("#")
        target = (file.parent / place) if place else file
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    assert broken == []
