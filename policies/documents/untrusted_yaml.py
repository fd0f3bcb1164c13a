"""Untrusted YAML, parsed so that deep nesting, aliases and odd keys cannot harm the process.

PyYAML's C loader composes documents recursively, and deep nesting crashes the interpreter. Its
parser does not, so only the parser is used, event by event. `yaml_scalars` gives the values.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import yaml

from policies.documents.yaml_scalars import MERGE_TAG, key_text, scalar_value

# Far deeper than any manifest; what reads the result may recurse this far.
_MAX_DEPTH = 100
# Far more than any manifest; an alias counts as often as it is used (a "billion laughs" bomb).
_MAX_NODES = 1_000_000
# A long string counts as several values; otherwise aliases to one could multiply it for free.
_CHARACTERS_PER_NODE = 100


class Position(NamedTuple):
    """A place in a text; lines and columns are counted from 1."""

    line: int
    column: int


class UntrustedYamlError(Exception):
    """The text is not YAML, or it is YAML that no manifest needs.

    The message begins with the place, if it is known.
    """

    def __init__(self, message: str, place: Position | None = None) -> None:
        prefix = f"line {place.line}, column {place.column}: " if place else ""
        super().__init__(f"{prefix}{message}")
        self.message = message
        self.place = place


@dataclass(frozen=True, slots=True)
class Positioned:
    """A document, and the position of every value in it."""

    value: Any
    start: Position
    # The marks of the key and the value of each member, by the id of the list or mapping. An alias
    # is the same object as its anchor. `value` keeps them all alive, so no id is reused.
    _inside: Mapping[int, Mapping[str | int, tuple[Any, Any]]] = field(repr=False)

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Position:
        """Where the value at `path` begins, or its key.

        If it does not exist, where its nearest existing parent begins.
        """
        marks, value = None, self.value
        for step in path:
            inside = self._inside.get(id(value), {}).get(step)
            if inside is None:
                key = False
                break
            marks, value = inside, value[step]
        if marks is None:
            return self.start
        key_mark, mark = marks
        return _position(key_mark if key else mark)


def load_all(content: str, most_nodes: int = _MAX_NODES) -> Iterator[Any]:
    """The documents in `content` as JSON values; an empty document is None.

    Raises UntrustedYamlError, also for a document with more than `most_nodes` values; a long
    string counts as several.
    """
    return (reader.document for reader in _read(content, partial(_Reader, most_nodes)))


def load_positioned(content: str) -> Iterator[Positioned]:
    """Like `load_all`, with the position of every value and key.

    It takes a third more time, and as much memory again as the values.
    """
    return (
        Positioned(reader.document, reader.start, reader.inside)
        for reader in _read(content, _PositionReader)
    )


_AnyReader = TypeVar("_AnyReader", bound="_Reader")


def _read(content: str, new_reader: Callable[[], _AnyReader]) -> Iterator[_AnyReader]:
    """One reader for each document, yielded when it has read the whole document."""
    reader = new_reader()
    try:
        for event in yaml.parse(content, Loader=yaml.CSafeLoader):
            if reader.take(event):
                yield reader
                reader = new_reader()
    except yaml.reader.ReaderError as error:
        place = position_at(content.encode(), error.position)
        raise UntrustedYamlError(error.reason, place) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", None) or error)
        raise UntrustedYamlError(problem, _position(mark) if mark else None) from None


def position_at(content: bytes, offset: int) -> Position:
    """The position of the byte at `offset` in a UTF-8 text."""
    before = content[:offset].decode(errors="replace")
    return Position(before.count("\n") + 1, len(before) - before.rfind("\n"))


class _Reader:
    """Builds one document from parser events, with a stack of its own instead of recursion."""

    def __init__(self, most_nodes: int = _MAX_NODES) -> None:
        self.document: Any = None
        self._most_nodes = most_nodes
        self._open: list[_Open] = []
        # Each anchor's value, and how many nodes an alias to it counts as.
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0

    def take(self, event: Any) -> bool:
        """Process one event; True if it ended the document."""
        if isinstance(event, yaml.ScalarEvent):
            nodes = 1 + len(event.value) // _CHARACTERS_PER_NODE
            try:
                self._add(scalar_value(event), event, nodes)
            except ValueError as error:
                raise _error(event, str(error)) from None
        elif isinstance(event, yaml.MappingStartEvent):
            self._start({}, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start([], event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _error(event, f"the alias {event.anchor} has no anchor before it")
            value, nodes = self._anchors[event.anchor]
            self._add(value, event, nodes)
        return isinstance(event, yaml.DocumentEndEvent)

    def _start(self, value: dict[str, Any] | list[Any], event: Any) -> None:
        if len(self._open) >= _MAX_DEPTH:
            raise _error(event, f"nested deeper than {_MAX_DEPTH} levels")
        self._count(1, event)
        self._open.append(_Open(value, event, self._nodes - 1))

    def _end(self) -> None:
        closed = self._open.pop()
        closed.merge()
        self._place(closed.value, closed.event)
        if closed.event.anchor:
            nodes = self._nodes - closed.nodes_before
            self._anchors[closed.event.anchor] = closed.value, nodes

    def _add(self, value: Any, event: Any, nodes: int) -> None:
        self._count(nodes, event)
        self._place(value, event)
        if isinstance(event, yaml.ScalarEvent) and event.anchor:
            self._anchors[event.anchor] = value, nodes

    def _count(self, nodes: int, event: Any) -> None:
        """Count `nodes` more; an alias counts again each time, as walking the result will cost."""
        self._nodes += nodes
        if self._nodes > self._most_nodes:
            raise _error(event, f"more than {self._most_nodes} values")

    def _place(self, value: Any, event: Any) -> None:
        """Attach a complete value to the innermost open list or mapping."""
        if not self._open:
            self.document = value
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            top.set_key(value, event)
        else:
            top.put(value, event)


class _PositionReader(_Reader):
    """Also records where each value and each key begins."""

    def __init__(self) -> None:
        super().__init__()
        self.start = Position(1, 1)
        # The parser's own marks: most of them are never asked for.
        self.inside: dict[int, dict[str | int, tuple[Any, Any]]] = {}

    def _start(self, value: dict[str, Any] | list[Any], event: Any) -> None:
        super()._start(value, event)
        # May overwrite the entry of a merged mapping that no longer exists and whose id is reused.
        self.inside[id(value)] = {}

    def _end(self) -> None:
        closed = self._open[-1]
        super()._end()
        for part in closed.merged:
            own_positions = self.inside[id(closed.value)]
            self.inside[id(closed.value)] = {**self.inside[id(part)], **own_positions}

    def _place(self, value: Any, event: Any) -> None:
        mark = event.start_mark
        top = self._open[-1] if self._open else None
        if top is None:
            self.start = _position(mark)
        elif isinstance(top.value, list):
            self.inside[id(top.value)][len(top.value)] = mark, mark
        elif top.key is None:
            top.key_mark = mark
        elif not top.is_merge:
            self.inside[id(top.value)][top.key] = top.key_mark, mark
        super()._place(value, event)


class _Open:
    """A mapping or sequence that is still being read."""

    def __init__(self, value: dict[str, Any] | list[Any], event: Any, nodes_before: int) -> None:
        self.value = value
        self.event = event
        self.nodes_before = nodes_before
        self.key: str | None = None
        self.is_merge = False
        self.key_mark: Any = event.start_mark
        self.merged: list[dict[str, Any]] = []

    def set_key(self, value: Any, event: Any) -> None:
        """Take `value` as the next key."""
        if isinstance(value, dict | list):
            message = (
                "a key is a list or a mapping (render Helm templates first, with `helm template`)"
            )
            raise _error(event, message)
        self.key = key_text(value)
        self.is_merge = is_merge_key(event)
        if self.key in self.value:
            raise _error(event, f"duplicate key {self.key}")

    def put(self, value: Any, event: Any) -> None:
        """Add `value` under the current key, or remember it for `merge` if that is its key."""
        assert isinstance(self.value, dict) and self.key is not None
        key, self.key = self.key, None
        if not self.is_merge:
            self.value[key] = value
            return
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, dict):
                raise _error(event, "a merge key (<<) needs a mapping")
            self.merged.append(part)

    def merge(self) -> None:
        """Add the members of the mappings that `<<` named.

        The mapping's own members take precedence, then earlier mappings over later ones.
        """
        for part in self.merged:
            for name, item in part.items():
                # Only mappings have merge keys.
                self.value.setdefault(name, item)  # type: ignore[union-attr]  # a mapping


def is_merge_key(event: Any) -> bool:
    """True for a plain `<<`; with quotes it is the name of a field (go-yaml `isMerge`)."""
    if not isinstance(event, yaml.ScalarEvent) or event.value != "<<":
        return False
    return event.implicit[0] if event.tag is None else event.tag == MERGE_TAG


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _error(event: Any, message: str) -> UntrustedYamlError:
    return UntrustedYamlError(message, _position(event.start_mark))
