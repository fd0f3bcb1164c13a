"""Code stays readable: one thought a statement, small files, few modules in one folder."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY, repository_files

PACKAGES = ("certs", "policies", "webhook")
SOURCES = [file for package in PACKAGES for file in sorted((REPOSITORY / package).rglob("*.py"))]
PYTHON = SOURCES + sorted((REPOSITORY / "tests").rglob("*.py"))
# Past half a dozen screens a module holds more than one idea.
MAX_LINES = 300
# How many modules a reader takes in at one glance.
MAX_MODULES = {"webhook": 8, "policies": 10}
# Words of version 0.1 that have a standard term, which CHANGELOG names. The brackets keep this line
# itself out of a search for them.
OLD_WORDS = r"\b(enro[l](?!l)\w*|neighbou?r\w*|upkee[p]|rehears\w+|whoever)\b"

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SIMPLE_STATEMENTS = (
    ast.Assign,
    ast.AnnAssign,
    ast.AugAssign,
    ast.Expr,
    ast.Return,
    ast.Raise,
    ast.Assert,
)


def _name(file: Path) -> str:
    return str(file.relative_to(REPOSITORY))


def _dense_places(file: Path) -> Iterator[str]:
    """Where one statement holds too many thoughts, as `line: what`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, _COMPREHENSIONS):
            inner = list(ast.walk(node))[1:]
            if any(isinstance(part, _COMPREHENSIONS) for part in inner):
                yield f"{node.lineno}: a comprehension inside a comprehension"
            if any(isinstance(part, ast.NamedExpr) for part in inner):
                yield f"{node.lineno}: a walrus inside a comprehension"
        if isinstance(node, _SIMPLE_STATEMENTS):
            ternaries = [part for part in ast.walk(node) if isinstance(part, ast.IfExp)]
            if len(ternaries) > 1:
                yield f"{node.lineno}: {len(ternaries)} conditional expressions in one statement"


def test_a_statement_holds_one_thought() -> None:
    places = [f"{_name(file)}:{place}" for file in PYTHON for place in _dense_places(file)]
    assert places == []


def test_the_check_for_dense_code_finds_it(tmp_path: Path) -> None:
    file = tmp_path / "dense.py"
    file.write_text(
        "a = [[y for y in x] for x in z]\n"
        "b = [w for x in z if (w := x)]\n"
        "c = 1 if a else 2 if b else 3\n"
        "d = [x for x in z]\n"
        "e = 1 if a else 2\n"
    )
    assert sorted(place[:2] for place in _dense_places(file)) == ["1:", "2:", "3:"]


def test_a_file_holds_one_idea() -> None:
    lengths = {_name(file): len(file.read_text().splitlines()) for file in PYTHON}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


@pytest.mark.parametrize("package", MAX_MODULES)
def test_a_package_shows_few_modules_directly(package: str) -> None:
    assert len(list((REPOSITORY / package).glob("*.py"))) <= MAX_MODULES[package]


def test_no_two_public_classes_share_a_name() -> None:
    names = Counter(
        node.name
        for file in SOURCES
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_old_words_are_gone() -> None:
    spared = {REPOSITORY / "CHANGELOG.md", Path(__file__)}
    files = [file for file in repository_files() if file not in spared]
    assert len(files) > 100
    occurrences = [
        f"{_name(file)}: {match[0]}"
        for file in files
        for match in re.finditer(OLD_WORDS, file.read_text(errors="replace"), re.IGNORECASE)
    ]
    assert occurrences == []
