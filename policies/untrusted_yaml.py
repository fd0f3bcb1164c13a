"""YAML from strangers: parsed event by event, so that no nesting, alias or key can hurt the process that reads it.

PyYAML's own C loader composes recursively and crashes the interpreter on deep nesting; its parser does not, so only
the parser is used. Scalars become what `kubectl` makes of them (sigs.k8s.io/yaml): YAML 1.1 booleans and octals, no
dates, no base 60.
"""

import re
from collections.abc import Iterator
from typing import Any

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


class UntrustedYamlError(Exception):
    """The text is not YAML, or is YAML of a kind no manifest needs; the message says where."""


def load_all(content: str) -> Iterator[Any]:
    """The documents in `content` as JSON values, an empty one as None; raises UntrustedYamlError."""
    reader = _Reader()
    try:
        for event in yaml.parse(content, Loader=yaml.CSafeLoader):
            if reader.take(event):
                yield reader.document
                reader = _Reader()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UntrustedYamlError(place + str(getattr(error, "problem", None) or error)) from None


class _Reader:
    """Puts one document together from parser events, on a stack of its own."""

    def __init__(self) -> None:
        self.document: Any = None
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
            done = self._open.pop()
            done.merge()
            self._place(done.value, event)
            if done.anchor:
                self._anchors[done.anchor] = done.value, self._nodes - done.nodes_before
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
        self._open.append(_Open(value, event.anchor, self._nodes - 1))

    def _add(self, value: Any, event: Any, nodes: int) -> None:
        self._count(nodes, event)
        self._place(value, event)
        if isinstance(event, yaml.ScalarEvent) and event.anchor:
            self._anchors[event.anchor] = value, nodes

    def _count(self, nodes: int, event: Any) -> None:
        """Aliases count as often as they are used: that is what whoever walks the result will pay."""
        self._nodes += nodes
        if self._nodes > _MAX_NODES:
            raise _error(event, f"more than {_MAX_NODES} values")

    def _place(self, value: Any, event: Any) -> None:
        if not self._open:
            self.document = value
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            if isinstance(value, dict | list):
                raise _error(event, "a key is a list or a mapping (a Helm template is rendered first: helm template)")
            top.key = _key(value)
        else:
            top.put(value, event)


class _Open:
    """A mapping or sequence whose end has not come yet."""

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None, nodes_before: int) -> None:
        self.value = value
        self.anchor = anchor
        self.nodes_before = nodes_before
        self.key: str | None = None
        self._merged: list[dict[str, Any]] = []

    def put(self, value: Any, event: Any) -> None:
        assert isinstance(self.value, dict) and self.key is not None
        key, self.key = self.key, None
        if key == "<<":
            for part in value if isinstance(value, list) else [value]:
                if not isinstance(part, dict):
                    raise _error(event, "a merge key (<<) takes a mapping")
                self._merged.append(part)
        elif key in self.value:
            raise _error(event, f"the key {key} stands twice")
        else:
            self.value[key] = value

    def merge(self) -> None:
        """Take in what `<<` named; what the mapping says itself goes before, and earlier mappings before later ones."""
        for part in self._merged:
            for name, item in part.items():
                self.value.setdefault(name, item)  # type: ignore[union-attr]  # only mappings have merge keys


def _key(value: Any) -> str:
    """Keys are strings in JSON; `true:` and `1:` become "true" and "1", as kubectl makes them."""
    if isinstance(value, str):
        return value
    # In this order: True is also 1 to Python.
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


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


def _error(event: Any, what: str) -> UntrustedYamlError:
    mark = event.start_mark
    return UntrustedYamlError(f"line {mark.line + 1}, column {mark.column + 1}: {what}")
