"""Every row has a test, and SECURITY.md says what there is to say of each."""

import ast
import re
from pathlib import Path

import pytest

from policies.registry import RULES
from tests.support.paths import REPOSITORY

ROWS = range(1, 44)
_NAME = re.compile(r"test_(\d\d)_\w+")
_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def named() -> list[str]:
    """The names of all tests in this folder."""
    trees = (ast.parse(file.read_text()) for file in Path(__file__).parent.glob("test_*.py"))
    return [node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]


def table() -> dict[int, tuple[str, str, str]]:
    """The rows of SECURITY.md: dodge, what catches it, what remains."""
    found = _ROW.findall((REPOSITORY / "SECURITY.md").read_text())
    assert [int(row[0]) for row in found] == list(ROWS)
    return {int(number): (dodge, caught, remains) for number, dodge, caught, remains in found}


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    numbers = {int(found[1]) for name in named() if (found := _NAME.fullmatch(name))}
    assert numbers == set(ROWS)


def test_what_is_shown_to_remain_is_written_down() -> None:
    for name in named():
        if (found := _NAME.fullmatch(name)) and name.endswith(("_remains", "_remain")):
            assert table()[int(found[1])][2] != "-", name


def test_the_rules_named_exist() -> None:
    known = {rule.id for rule in RULES}
    for _, caught, _ in table().values():
        assert set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", caught)) <= known


def test_29_static_pods_are_documented() -> None:
    dodge, caught, remains = table()[29]
    assert "static" in dodge and caught == "nothing" and "node" in remains


def test_38_plain_http_is_documented() -> None:
    dodge, caught, remains = table()[38]
    assert "Serve" in dodge and "`auth-on`" in caught and "plain HTTP" in remains


@pytest.mark.parametrize("file", ["README.md", "ARCHITECTURE.md"])
def test_it_can_be_found(file: str) -> None:
    assert "[SECURITY.md](SECURITY.md)" in (REPOSITORY / file).read_text()
