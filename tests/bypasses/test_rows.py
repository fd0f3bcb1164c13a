"""Every row of SECURITY.md has a test, and every numbered test has a row."""

import ast
import re
from pathlib import Path

import pytest

from policies.registry import RULES
from tests.support.paths import REPOSITORY

ROWS = range(1, 84)
_NAME = re.compile(r"test_(\d\d)_\w+")
_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def names_of_tests() -> list[str]:
    """The names of all functions in the test modules of this folder."""
    names: list[str] = []
    for file in Path(__file__).parent.glob("test_*.py"):
        body = ast.parse(file.read_text()).body
        names += [node.name for node in body if isinstance(node, ast.FunctionDef)]
    return names


def row_of(name: str) -> int | None:
    """The number of the row that a test belongs to; None for a test without a number."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def table() -> dict[int, tuple[str, str, str]]:
    """The rows of SECURITY.md: the bypass, what catches it, and what remains."""
    rows = _ROW.findall((REPOSITORY / "SECURITY.md").read_text())
    assert sorted(int(row[0]) for row in rows) == list(ROWS)
    return {int(number): (bypass, caught, remains) for number, bypass, caught, remains in rows}


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    assert {row_of(name) for name in names_of_tests()} - {None} == set(ROWS)


def test_security_md_documents_what_remains() -> None:
    for name in names_of_tests():
        row = row_of(name)
        if row is not None and name.endswith(("_remains", "_remain")):
            assert table()[row][2] != "-", name


def test_the_rules_named_exist() -> None:
    known = {rule.id for rule in RULES}
    for _, caught, _ in table().values():
        assert set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", caught)) <= known


def test_29_static_pods_are_documented() -> None:
    bypass, caught, remains = table()[29]
    assert "static" in bypass and caught == "nothing" and "node" in remains


def test_38_plain_http_is_documented() -> None:
    bypass, caught, remains = table()[38]
    assert "Serve" in bypass and "`auth-on`" in caught and "plain HTTP" in remains


@pytest.mark.parametrize("file", ["README.md", "ARCHITECTURE.md"])
def test_other_documents_link_to_security_md(file: str) -> None:
    assert "[SECURITY.md](SECURITY.md)" in (REPOSITORY / file).read_text()
