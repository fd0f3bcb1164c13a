"""A YAML text as nodes that know where they begin and end, for edits of the text itself."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from policies.documents.untrusted_yaml import is_merge_key
from policies.documents.yaml_scalars import key_text, scalar_value


@dataclass(slots=True, eq=False)
class TextNode:
    """A value of a document. `start` and `end` are offsets in the text.

    A block collection ends with its last value, not at the next one, so that comments are outside.
    """

    start: int
    end: int
    anchor: str = ""


@dataclass(slots=True, eq=False)
class Scalar(TextNode):
    """A text, number, boolean or null; `style` is its quote, `|`, `>` or empty.

    A null `is_empty` if nothing is written for it.
    """

    style: str = ""
    is_null: bool = False
    is_empty: bool = False


@dataclass(slots=True, eq=False)
class Alias(TextNode):
    """A reference to `target`, which has an anchor."""

    target: TextNode = field(default_factory=lambda: TextNode(0, 0))


@dataclass(slots=True, eq=False)
class Member:
    """A key of a mapping and its value."""

    key: Scalar
    value: TextNode


@dataclass(slots=True, eq=False)
class Mapping(TextNode):
    """An object. `merged` are the values of its merge keys (`<<`)."""

    is_flow: bool = False
    members: dict[str, Member] = field(default_factory=dict)
    merged: list[TextNode] = field(default_factory=list)
    # How many members it shows in the text, merge keys included.
    entries: int = 0
    first: TextNode | None = None
    last: TextNode | None = None


@dataclass(slots=True, eq=False)
class Sequence(TextNode):
    """A list."""

    is_flow: bool = False
    items: list[TextNode] = field(default_factory=list)


Collection = Mapping | Sequence


def documents(text: str) -> Iterator[TextNode]:
    """The root of each document of `text`, which `load_all` must have accepted before.

    Depth and size are bounded by that. Raises yaml.YAMLError.
    """
    events = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            yield _Composer(events, text).node(next(events))


class _Composer:
    """Composes one document; an anchor is valid until the next document."""

    def __init__(self, events: Iterator[Any], text: str) -> None:
        self._events = events
        self._text = text
        self._anchors: dict[str, TextNode] = {}

    def node(self, event: Any) -> TextNode:
        start, end = event.start_mark.index, event.end_mark.index
        anchor: str = event.anchor or ""
        if isinstance(event, yaml.AliasEvent):
            return Alias(start, end, target=self._anchors[anchor])
        node: TextNode
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, start, end, anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(Mapping(start, end, anchor, is_flow=bool(event.flow_style)))
        else:
            node = self._sequence(Sequence(start, end, anchor, is_flow=bool(event.flow_style)))
        if anchor:
            self._anchors[anchor] = node
        return node

    def _scalar(self, event: Any, start: int, end: int, anchor: str) -> Scalar:
        if event.style in ("|", ">"):
            # The blank lines after a block scalar belong to what follows it, unless it keeps them.
            content = self._text[start:end]
            keeps = "+" in content.partition("\n")[0]
            end = start + len(content.removesuffix("\n") if keeps else content.rstrip())
        is_null = scalar_value(event) is None
        return Scalar(start, end, anchor, event.style or "", is_null, is_null and not event.value)

    def _mapping(self, mapping: Mapping) -> Mapping:
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self.node(event)
            value = self.node(next(self._events))
            mapping.entries += 1
            mapping.first = mapping.first or key
            mapping.last = value
            if is_merge_key(event):
                mapping.merged.append(value)
            elif isinstance(key, Scalar):
                mapping.members[key_text(scalar_value(event))] = Member(key, value)
        mapping.end = event.end_mark.index
        if not mapping.is_flow and mapping.last is not None:
            mapping.end = mapping.last.end
        return mapping

    def _sequence(self, sequence: Sequence) -> Sequence:
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            sequence.items.append(self.node(event))
        sequence.end = event.end_mark.index
        if not sequence.is_flow and sequence.items:
            sequence.end = sequence.items[-1].end
        return sequence


def target_of(node: TextNode) -> TextNode:
    """The node itself, or the one an alias refers to."""
    while isinstance(node, Alias):
        node = node.target
    return node
