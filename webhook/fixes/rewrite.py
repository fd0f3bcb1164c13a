"""The splices that carry out the changes of one collection."""

from collections.abc import Collection as Names
from collections.abc import Iterable, Iterator
from typing import Any

from webhook.fixes.nodes import Collection, Mapping, Scalar, Sequence, TextNode
from webhook.fixes.plan import CannotMendError, Changes
from webhook.fixes.render import Style, block, inline, members
from webhook.fixes.splice import Lines, Splice


class Rewriter:
    """Writes changes of one document's collections into its text."""

    def __init__(self, text: str, style: Style, emptied: frozenset[int]) -> None:
        self._text = text
        self._lines = Lines(text)
        self._style = style
        # Collections of which nothing is left; what holds them writes `{}` or `[]`.
        self._emptied = emptied

    def splices(self, changes: Changes) -> Iterator[Splice]:
        """Raises CannotMendError."""
        place = changes.place
        for name, value in changes.sets.items():
            yield from self._set(place, name, value)
        if isinstance(place, Mapping):
            yield from self._renamed(place, changes)
        if place.is_flow and changes.removals:
            yield from self._remove_from_flow(place, changes.removals)
        elif id(place) not in self._emptied:
            for name in changes.removals:
                yield self._remove(place, name)
        if changes.additions and isinstance(place, Mapping):
            yield self._add(place, changes.additions)
        if changes.appended and isinstance(place, Sequence):
            yield self._append(place, changes.appended)

    def emptied(self, parent: Collection, name: str | int) -> Iterator[Splice]:
        """Write an empty collection in place of the member or item `name`."""
        place, indicator = self._value(parent, name), self._indicator(parent, name)
        if not isinstance(place, Mapping | Sequence):
            raise CannotMendError("an alias stands in its place")
        empty: Any = {} if isinstance(place, Mapping) else []
        first = self._lines.after_blanks(indicator)
        if place.anchor or not self._lines.is_first(first):
            yield from self._replace_block(place, indicator, empty)
            return
        # Line by line, so that comments between the members stay.
        yield Splice(indicator, indicator, text=f" {inline(empty, self._style)}")
        names = place.members if isinstance(place, Mapping) else range(len(place.items))
        for each in names:
            yield self._remove(place, each)

    def _column(self, place: Collection) -> int:
        """The column of a block collection that is not empty."""
        if isinstance(place, Sequence):
            return self._lines.column(self._dash(place, 0))
        return self._lines.column(place.first.start if place.first else place.start)

    def _value(self, place: Collection, name: str | int) -> TextNode:
        if isinstance(place, Mapping):
            return place.members[str(name)].value
        return place.items[int(name)]

    def _indicator(self, place: Collection, name: str | int) -> int:
        """The end of the `:` or `-` that introduces a value of a block collection."""
        if isinstance(place, Mapping):
            return self._lines.after_blanks(place.members[str(name)].key.end) + 1
        return self._dash(place, int(name)) + 1

    def _dash(self, place: Sequence, index: int) -> int:
        before = place.items[index - 1].end if index else place.start
        if not index and place.anchor:
            before += len(place.anchor) + 1
        return self._lines.after_blanks(before)

    # Replacing

    def _set(self, place: Collection, name: str | int, new: Any) -> Iterator[Splice]:
        value, indicator = self._value(place, name), self._indicator(place, name)
        is_null = isinstance(value, Scalar) and value.is_empty and not value.anchor
        is_member = isinstance(place, Mapping) and not place.is_flow
        if is_null and is_member and isinstance(new, dict | list) and new:
            column = self._column(place) + self._style.step
            lines = block(new, column, self._style)
            yield self._lines.insertion(indicator, lines, self._style.eol, column)
        else:
            yield from self._replace(value, indicator, new)

    def _replace(self, value: TextNode, indicator: int, new: Any) -> Iterator[Splice]:
        if isinstance(value, Mapping | Sequence) and not value.is_flow:
            yield from self._replace_block(value, indicator, new)
            return
        quote = value.style if isinstance(value, Scalar) else ""
        text = inline(new, self._style, quote)
        if isinstance(value, Scalar) and value.is_empty:
            lines = self._text[indicator : value.end]
            if lines.strip():
                raise CannotMendError("an anchor or tag has no value")
            yield Splice(indicator, indicator, text=f" {text}")
        elif value.anchor:
            yield Splice(value.start, value.end, text=f"&{value.anchor} {text}")
        else:
            yield Splice(value.start, value.end, text=text)

    def _replace_block(self, value: Collection, indicator: int, new: Any) -> Iterator[Splice]:
        first = self._lines.after_blanks(indicator)
        text = inline(new, self._style)
        if self._text[first] in "&!":
            raise CannotMendError("it has an anchor or a tag")
        if self._lines.start(first) == self._lines.start(indicator):
            yield Splice(first, value.end, text=text)
        else:
            yield Splice(indicator, indicator, text=f" {text}")
            yield self._lines.removal(first, value.end)

    def _renamed(self, place: Mapping, changes: Changes) -> Iterator[Splice]:
        for old, (name, value) in changes.replaced.items():
            yield self._replace_member(place, old, name, value)
        for old, name in changes.renames.items():
            yield self._rename(place, old, name)

    def _rename(self, place: Mapping, old: str, name: str) -> Splice:
        key = place.members[old].key
        if key.anchor:
            raise CannotMendError("its name has an anchor")
        return Splice(key.start, key.end, text=inline(name, self._style, key.style))

    def _replace_member(self, place: Mapping, old: str, name: str, value: Any) -> Splice:
        member = place.members[old]
        quoted = member.key.style == '"'
        text = members({name: value}, "", self._style, quoted=quoted)
        return Splice(member.key.start, member.value.end, text=text)

    # Removing

    def _remove(self, place: Collection, name: str | int) -> Splice:
        value = self._value(place, name)
        if isinstance(place, Mapping):
            start = place.members[str(name)].key.start
        else:
            start = self._dash(place, int(name))
        if self._lines.is_first(start):
            return self._lines.removal(start, value.end)
        # After the dash of a list: the next member or item moves there.
        following = self._lines.after_blanks(value.end)
        if following == len(self._text):
            raise CannotMendError("the layout of the list is unusual")
        if "#" in self._text[value.end : following]:
            line_end = self._lines.next(value.end) - len(self._style.eol)
            return Splice(len(self._text[:start].rstrip(" ")), line_end)
        return Splice(start, following)

    def _remove_from_flow(self, place: Collection, names: Names[str | int]) -> Iterator[Splice]:
        starts, values = self._entries(place)
        if len(names) == len(starts):
            yield self._between(place, "", self._text[starts[0] : values[-1].end])
            return
        if isinstance(place, Mapping):
            removed = {starts.index(place.members[str(name)].key.start) for name in names}
        else:
            removed = {int(name) for name in names}
        for first, last in _runs(removed):
            if last + 1 < len(starts):
                part = Splice(starts[first], starts[last + 1])
            else:
                part = Splice(values[first - 1].end, values[last].end)
            if "#" in self._text[part.start : part.end]:
                raise CannotMendError("a comment may stand between the braces")
            yield part

    def _entries(self, place: Collection) -> tuple[list[int], list[TextNode]]:
        """Where the members or items of a flow collection begin, and their values."""
        if isinstance(place, Sequence):
            return [item.start for item in place.items], place.items
        found = list(place.members.values())
        return [member.key.start for member in found], [member.value for member in found]

    # Adding

    def _add(self, place: Mapping, values: dict[str, Any]) -> Splice:
        if place.first is None or place.last is None:
            return self._fill(place, values)
        if not place.is_flow:
            column = self._column(place)
            lines = block(values, column, self._style)
            return self._lines.insertion(place.last.end, lines, self._style.eol, column)
        last = max((member.key for member in place.members.values()), key=lambda key: key.start)
        separator = self._separator(last.start)
        text = members(values, separator, self._style, quoted=last.style == '"')
        return Splice(place.last.end, place.last.end, text=separator + text)

    def _fill(self, place: Mapping, values: dict[str, Any]) -> Splice:
        """Write the members of an object that is empty, which is always in flow style."""
        text = members(values, ", ", self._style, quoted=self._style.is_json)
        return self._between(place, text)

    def _between(self, place: Collection, text: str, before: str = "") -> Splice:
        """Replace what is between the braces, which is `before` and blanks."""
        opening = "{" if isinstance(place, Mapping) else "["
        start = self._text.index(opening, place.start) + 1
        if self._text[start : place.end - 1].strip() not in (before, f"{before},"):
            raise CannotMendError("a comment stands between the braces")
        return Splice(start, place.end - 1, text=text)

    def _append(self, place: Sequence, values: list[Any]) -> Splice:
        texts = [inline(value, self._style) for value in values]
        if not place.items:
            return self._between(place, ", ".join(texts))
        last = place.items[-1]
        if place.is_flow:
            separator = self._separator(last.start)
            return Splice(last.end, last.end, text=separator + separator.join(texts))
        column = self._column(place)
        lines = block(values, column, self._style)
        return self._lines.insertion(last.end, lines, self._style.eol, column)

    def _separator(self, start: int) -> str:
        """What stands between two members: a line break if each has a line of its own."""
        if not self._lines.is_first(start):
            return ", "
        indentation = " " * self._lines.column(start)
        return f",{self._style.eol}{indentation}"


def _runs(indexes: Iterable[int]) -> list[tuple[int, int]]:
    """Consecutive indexes, as the first and last of each run."""
    runs: list[tuple[int, int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1] = runs[-1][0], index
        else:
            runs.append((index, index))
    return runs
