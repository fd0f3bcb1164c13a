"""Whatever the layout of a text, an edit changes its own lines, and all comments stay."""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untrusted_yaml import load_all
from policies.remedies.edits import Remove, SetMember, carried_out
from policies.remedies.emptied import DocumentEdit
from webhook.fixes.text import DocumentFix, FixableText

_SCALARS = st.one_of(
    st.booleans(),
    st.none(),
    st.integers(-9, 9999),
    st.sampled_from(["a", "x y", "no", "", "1", "it's", 'a "b"', "é", "- a", "a: b", "#", "~"]),
)
_NAMES = st.sampled_from(["name", "spec", "a.b/c", "env", "image", "yes", "1", "k"])


def _collections(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4)


VALUES = st.recursive(_SCALARS, _collections, max_leaves=14)
OBJECTS = st.dictionaries(_NAMES, VALUES, min_size=1, max_size=4)


@dataclass
class Writer:
    """Writes a value as YAML with a layout that `draw` chooses, and a comment wherever one fits."""

    draw: Any
    comments: int = 0

    def comment(self) -> str:
        self.comments += 1
        return f"# c{self.comments}."

    def some(self) -> bool:
        return bool(self.draw(st.booleans()))

    def own_lines(self, column: int) -> Iterator[str]:
        if self.some():
            yield " " * column + self.comment()
        elif self.some():
            yield ""

    def trailing(self) -> str:
        return f"{' ' * self.draw(st.integers(1, 3))}{self.comment()}" if self.some() else ""

    def scalar(self, value: Any) -> str:
        if isinstance(value, str):
            plain = next(load_all(f"k: {value}"), None) if re.fullmatch(r"[\w. ]+", value) else None
            if plain == {"k": value} and self.some():
                return value
            single = "'" + value.replace("'", "''") + "'"
            return single if self.some() else json.dumps(value)
        return json.dumps(value)

    def flow(self, value: Any) -> str:
        if isinstance(value, dict):
            inside = ", ".join(f"{self.scalar(k)}: {self.flow(v)}" for k, v in value.items())
            return f"{{{inside}}}"
        if isinstance(value, list):
            return f"[{', '.join(map(self.flow, value))}]"
        return self.scalar(value)

    def block(self, value: Any, column: int) -> Iterator[str]:
        """The lines of a collection that is not empty, from `column`."""
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from self.own_lines(column)
            key = f"{self.scalar(name)}:" if isinstance(value, dict) else "-"
            yield from self.entry(" " * column + key, item, column, isinstance(value, dict))
        yield from self.own_lines(column)

    def entry(self, start: str, item: Any, column: int, is_member: bool) -> Iterator[str]:
        nested = isinstance(item, dict | list) and item
        if not nested or self.draw(st.integers(0, 3)) == 0:
            yield f"{start} {self.flow(item)}{self.trailing()}"
            return
        least = 0 if is_member and isinstance(item, list) else 1
        step = self.draw(st.integers(least, 4))
        if not is_member and isinstance(item, dict) and self.some():
            lines = [line for line in self.block(item, column + step + 1)]
            index = next(i for i, line in enumerate(lines) if line.strip()[:1] not in ("", "#"))
            first = start + " " * step + lines[index].strip()
            yield from lines[:index]
            yield first
            yield from lines[index + 1 :]
        else:
            yield f"{start}{self.trailing()}"
            yield from self.block(item, column + step)


@st.composite
def texts(draw: Any) -> tuple[str, Any]:
    """A text with comments, and its value."""
    value = draw(OBJECTS)
    writer = Writer(draw)
    lines = list(writer.block(value, draw(st.integers(0, 3))))
    eol = draw(st.sampled_from(["\n", "\r\n"]))
    ending = eol if draw(st.booleans()) else ""
    return eol.join(lines) + ending, value


def places(value: Any, pointer: Pointer = ROOT) -> Iterator[Pointer]:
    for name, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield pointer / name
        if isinstance(item, dict | list):
            yield from places(item, pointer / name)


@st.composite
def edits_of(draw: Any, value: Any) -> DocumentEdit:
    pointer = draw(st.sampled_from(list(places(value))))
    if draw(st.booleans()):
        return Remove(pointer)
    if isinstance(pointer.read(value), dict) and draw(st.booleans()):
        pointer = pointer / draw(st.sampled_from(["new", "spec"]))
    return SetMember(pointer, draw(VALUES))


def comments(text: str) -> list[str]:
    return re.findall(r"# c\d+\.", text)


def removed_lines(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line[2:] for line in lines if line.startswith("- ")]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_object_changes_and_comments_stay(data: st.DataObject) -> None:
    text, value = data.draw(texts())
    assert list(load_all(text)) == [value]
    edits = data.draw(st.lists(edits_of(value), min_size=1, max_size=3))
    fixes = [DocumentFix(0, (edit,)) for edit in edits]
    result = FixableText(text).mended(fixes)
    made = [edit for index, edit in enumerate(edits) if index not in result.left]
    assert list(load_all(result.text)) == [carried_out(value, made)]
    # The lines of the edits alone are gone, and with them only the comments in these lines.
    gone = removed_lines(text, result.text)
    kept = set(comments(text)) - set(comments("\n".join(gone)))
    assert kept <= set(comments(result.text))
    if not made:
        assert result.text == text


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_setting_a_scalar_or_adding_keeps_every_comment(data: st.DataObject) -> None:
    text, value = data.draw(texts())
    scalars = [place for place in places(value) if not isinstance(place.read(value), dict | list)]
    mappings = [place for place in places(value) if isinstance(place.read(value), dict)]
    edits = [SetMember(ROOT / "added", {"b": [1]})]
    edits += [SetMember(place, "new") for place in scalars[:2]]
    edits += [SetMember(place / "added", True) for place in mappings[:2]]
    result = FixableText(text).mended([DocumentFix(0, (edit,)) for edit in edits])
    assert result.left == {}
    assert comments(result.text) == comments(text)
    assert list(load_all(result.text)) == [carried_out(value, edits)]
    assert len(removed_lines(text, result.text)) <= 4


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_removing_one_entry_removes_its_lines_alone(data: st.DataObject) -> None:
    text, value = data.draw(texts())
    place = data.draw(st.sampled_from(list(places(value))))
    result = FixableText(text).mended([DocumentFix(0, (Remove(place),))])
    if result.left:
        return
    own = removed_lines(text, result.text)
    inside = (
        len(list(places(place.read(value)))) if isinstance(place.read(value), dict | list) else 0
    )
    entries = [line for line in own if line.strip() and not line.strip().startswith("#")]
    # Its own line, those inside, and the line that holds it or follows it.
    assert len(entries) <= inside + 3
