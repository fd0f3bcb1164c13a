"""YAML from strangers: parsed event by event, so that no nesting, alias or key can hurt the process that reads it.

PyYAML's own C loader composes recursively and crashes the interpreter on deep nesting; its parser does not, so only
the parser is used. Scalars become what `kubectl` makes of them (sigs.k8s.io/yaml): YAML 1.1 booleans and octals, no
dates, no base 60.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import yaml

_MAX_DEPTH = 100
_MAX_NODES = 1_000_000
# A long text counts as several values, or an alias to one would come for nothing.
_CHARACTERS_A_NODE = 100

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    spelling: value
    for value, words in ((True, "true yes on y"), (False, "false no off n"))
    for word in words.split()
    for spelling in (word, word.capitalize(), word.upper())
}
_NUMBER_START = frozenset("+-.0123456789")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,4000})")
_OCTAL = re.compile(r"([-+]?)0o?([0-7]{1,4000})")
_HEXADECIMAL = re.compile(r"([-+]?)0x([0-9a-fA-F]{1,4000})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][-+]?[0-9]{1,4})?")


class Position(NamedTuple):
    """A place in a text; lines and columns are counted from 1."""

    line: int
    column: int


class UntrustedYamlError(Exception):
    """The text is not YAML, or is YAML of a kind no manifest needs; the message says where, if that is known."""

    def __init__(self, message: str, place: Position | None = None) -> None:
        super().__init__(
            f"line {place.line}, column {place.column}: {message}" if place else message
        )
        self.message = message
        self.place = place


@dataclass(frozen=True, slots=True)
class Positioned:
    """A document, and where everything in it stands."""

    value: Any
    start: Position
    # By identity: an alias is its anchor's own list or mapping. `value` keeps them all alive.
    _inside: Mapping[int, Mapping[str | int, tuple[Position, Position]]] = field(repr=False)

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Position:
        """Where the value at `path` begins, or its key; of what is not there, where the part begins that lacks it."""
        place, key_place, value = self.start, self.start, self.value
        for step in path:
            if (found := self._inside.get(id(value), {}).get(step)) is None:
                return place
            (key_place, place), value = found, value[step]
        return key_place if key else place


def load_all(content: str, most_nodes: int = _MAX_NODES) -> Iterator[Any]:
    """The documents in `content` as JSON values, an empty one as None; raises UntrustedYamlError.

    None may have more than `most_nodes` values; a long text counts as several.
    """
    return (reader.document for reader in _read(content, partial(_Reader, most_nodes)))


def load_positioned(content: str) -> Iterator[Positioned]:
    """The same with the place of every value and key, at about twice the cost."""
    return (
        Positioned(reader.document, reader.start, reader.inside)
        for reader in _read(content, _PositionReader)
    )


_AnyReader = TypeVar("_AnyReader", bound="_Reader")


def _read(content: str, new: Callable[[], _AnyReader]) -> Iterator[_AnyReader]:
    """A reader for every document, at its end."""
    reader = new()
    try:
        for event in yaml.parse(content, Loader=yaml.CSafeLoader):
            if reader.take(event):
                yield reader
                reader = new()
    except yaml.reader.ReaderError as error:
        raise UntrustedYamlError(
            error.reason, position_at(content.encode(), error.position)
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = str(getattr(error, "problem", None) or error)
        raise UntrustedYamlError(
            what, Position(mark.line + 1, mark.column + 1) if mark else None
        ) from None


def position_at(content: bytes, offset: int) -> Position:
    """Where in a UTF-8 text the byte at `offset` stands."""
    before = content[:offset].decode(errors="replace")
    return Position(before.count("\n") + 1, len(before) - before.rfind("\n"))


class _Reader:
    """Puts one document together from parser events, on a stack of its own."""

    def __init__(self, most_nodes: int = _MAX_NODES) -> None:
        self.document: Any = None
        self._most_nodes = most_nodes
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0

    def take(self, event: Any) -> bool:
        """Take one event in; True when it ended the document."""
        if isinstance(event, yaml.ScalarEvent):
            self._add(_scalar(event), event, 1 + len(event.value) // _CHARACTERS_A_NODE)
        elif isinstance(event, yaml.MappingStartEvent):
            self._start({}, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start([], event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _error(event, f"the alias {event.anchor} names nothing before it")
            value, nodes = self._anchors[event.anchor]
            self._add(value, event, nodes)
        return isinstance(event, yaml.DocumentEndEvent)

    def _start(self, value: dict[str, Any] | list[Any], event: Any) -> None:
        if len(self._open) >= _MAX_DEPTH:
            raise _error(event, f"nested deeper than {_MAX_DEPTH} levels")
        self._count(1, event)
        self._open.append(_Open(value, event, self._nodes - 1))

    def _end(self) -> None:
        done = self._open.pop()
        done.merge()
        self._place(done.value, done.event)
        if done.event.anchor:
            self._anchors[done.event.anchor] = done.value, self._nodes - done.nodes_before

    def _add(self, value: Any, event: Any, nodes: int) -> None:
        self._count(nodes, event)
        self._place(value, event)
        if isinstance(event, yaml.ScalarEvent) and event.anchor:
            self._anchors[event.anchor] = value, nodes

    def _count(self, nodes: int, event: Any) -> None:
        """Aliases count as often as they are used: that is what whoever walks the result will pay."""
        self._nodes += nodes
        if self._nodes > self._most_nodes:
            raise _error(event, f"more than {self._most_nodes} values")

    def _place(self, value: Any, event: Any) -> None:
        if not self._open:
            self.document = value
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            top.name(value, event)
        else:
            top.put(value, event)


class _PositionReader(_Reader):
    """Remembers where each value, and each key, began."""

    def __init__(self) -> None:
        super().__init__()
        self.start = Position(1, 1)
        self.inside: dict[int, dict[str | int, tuple[Position, Position]]] = {}

    def _start(self, value: dict[str, Any] | list[Any], event: Any) -> None:
        super()._start(value, event)
        # Also in place of what stood here for a merged mapping that is gone, and whose identity is free again.
        self.inside[id(value)] = {}

    def _end(self) -> None:
        done = self._open[-1]
        super()._end()
        for part in done.merged:
            self.inside[id(done.value)] = {**self.inside[id(part)], **self.inside[id(done.value)]}

    def _place(self, value: Any, event: Any) -> None:
        place, top = _place_of(event), self._open[-1] if self._open else None
        if top is None:
            self.start = place
        elif isinstance(top.value, list):
            self.inside[id(top.value)][len(top.value)] = place, place
        elif top.key is None:
            top.key_place = place
        elif top.key != "<<":
            self.inside[id(top.value)][top.key] = top.key_place, place
        super()._place(value, event)


class _Open:
    """A mapping or sequence whose end has not come yet."""

    def __init__(self, value: dict[str, Any] | list[Any], event: Any, nodes_before: int) -> None:
        self.value = value
        self.event = event
        self.nodes_before = nodes_before
        self.key: str | None = None
        self.key_place = Position(1, 1)
        self.merged: list[dict[str, Any]] = []

    def name(self, value: Any, event: Any) -> None:
        """Take in the next key."""
        if isinstance(value, dict | list):
            raise _error(
                event,
                "a key is a list or a mapping (a Helm template is rendered first: helm template)",
            )
        self.key = _key(value)
        if self.key in self.value:
            raise _error(event, f"the key {self.key} stands twice")

    def put(self, value: Any, event: Any) -> None:
        assert isinstance(self.value, dict) and self.key is not None
        key, self.key = self.key, None
        if key == "<<":
            for part in value if isinstance(value, list) else [value]:
                if not isinstance(part, dict):
                    raise _error(event, "a merge key (<<) takes a mapping")
                self.merged.append(part)
        else:
            self.value[key] = value

    def merge(self) -> None:
        """Take in what `<<` named; what the mapping says itself goes before, and earlier mappings before later ones."""
        for part in self.merged:
            for name, item in part.items():
                self.value.setdefault(name, item)  # type: ignore[union-attr]  # only mappings have merge keys


def _key(value: Any) -> str:
    """Keys are strings in JSON; `true:` and `1:` become "true" and "1", as kubectl makes them."""
    if isinstance(value, str):
        return value
    # In this order: True is also 1 to Python.
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def _scalar(event: Any) -> Any:
    """The value of a scalar: only a plain one without a tag can be anything but a string."""
    content: str = event.value
    if not event.implicit[0] or event.style or event.tag:
        return content
    if content in _NULL:
        return None
    if content in _BOOLEANS:
        return _BOOLEANS[content]
    return _number(content) if content[0] in _NUMBER_START else content


def _number(content: str) -> int | float | str:
    plain = content.replace("_", "") if content[-1] != "_" else content
    if _DECIMAL.fullmatch(plain):
        return int(plain)
    for base, pattern in ((8, _OCTAL), (16, _HEXADECIMAL)):
        if found := pattern.fullmatch(plain):
            return int(found[1] + found[2], base)
    return float(plain) if _FLOAT.fullmatch(plain) else content


def _place_of(event: Any) -> Position:
    mark = event.start_mark
    return Position(mark.line + 1, mark.column + 1)


def _error(event: Any, message: str) -> UntrustedYamlError:
    return UntrustedYamlError(message, _place_of(event))
