"""Where a file of manifests contains credentials, so that reports can show the lines around them.

What looks like a credential to the rules is covered, and the data of Secrets. In doubt a value is
covered: a report is read by more people than the repository.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from policies.documents.credentials import (
    assigns_credential,
    contains_credential,
    is_credential,
    may_name_credentials,
)
from policies.documents.untrusted_yaml import Position

_SECRET_FIELDS = ("data", "stringData")
# Keys that hold the value of the variable, or the password, that another key names.
_NAMES, _VALUE = ("name", "key"), "value"
# `NAME: value` and `name=value` inside a text, such as a runtime environment. A substitution of a
# shell or a template is no literal. The lookbehind and the bounds keep a search linear.
_PAIR = re.compile(
    r"(?<![\w.-])([A-Za-z_][\w.-]{0,100})[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
    r"(?![$`{%\[])([^\s\"',}]{1,500})"
)
# Kubernetes puts the literal of the variable NAME in place of `$(NAME)`.
_REFERENCE = re.compile(r"\$\((\w{1,250})\)")
# `kubectl apply` keeps the whole object there, also that of a Secret.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Span(NamedTuple):
    """A part of a text, from the first position up to the second."""

    start: Position
    end: Position


# The end of a span that covers the rest of the text.
END = Position(1 << 62, 1)


@dataclass(slots=True)
class _Scalar:
    text: str
    span: Span


@dataclass(slots=True)
class _Collection:
    """A list or mapping that is still being read; `key` is the key of it or of its list."""

    key: str
    start: Position
    is_mapping: bool
    is_suspect: bool
    entries: dict[str, _Scalar] = field(default_factory=dict)
    words: list[_Scalar] = field(default_factory=list)
    # The values of fields that hold a Secret's data, if this is a Secret.
    data: list[Span] = field(default_factory=list)
    next_key: str | None = None


def secret_spans(content: str, suspects: Iterable[Position] = ()) -> Iterator[Span]:
    """The parts of a YAML or JSON text that must not be shown.

    `suspects` are places of values that are credentials for another reason. If the text cannot be
    parsed, everything from the error on is covered.
    """
    reader = _SpanReader(frozenset(suspects))
    try:
        for event in yaml.parse(content, Loader=yaml.CSafeLoader):
            yield from reader.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        start = Position(mark.line + 1, 1) if mark else Position(1, 1)
        yield Span(start, END)


def is_secret_pair(text: str) -> bool:
    """A line such as `password: value` gives a literal to what is named like a credential."""
    return any(is_credential(match[1], match[2]) for match in _PAIR.finditer(text))


class _SpanReader:
    """Reads parser events with a stack of its own; an alias stands for the scalar of its anchor."""

    def __init__(self, suspects: frozenset[Position]) -> None:
        self._suspects = suspects
        self._open: list[_Collection] = []
        self._anchors: dict[str, _Scalar] = {}
        # Of the current document: the literals of each variable, and the variables that are used
        # where a credential belongs.
        self._literals: dict[str, list[Span]] = {}
        self._used: set[str] = set()

    def take(self, event: Any) -> Iterator[Span]:
        """Process one event, and yield the spans that are known to be secret by it."""
        if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
            yield from self._scalar_event(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            start = _position(event.start_mark)
            self._open.append(_Collection(self._key(), start, is_mapping, start in self._suspects))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            yield from self._end(_position(event.end_mark))
        elif isinstance(event, yaml.DocumentEndEvent):
            for name in self._used:
                yield from self._literals.get(name, ())
            self._anchors, self._literals, self._used = {}, {}, set()

    def _scalar_event(self, event: Any) -> Iterator[Span]:
        place = _position(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            scalar = self._anchors.get(event.anchor or "")
        else:
            scalar = _Scalar(event.value, _span(event))
            if event.anchor:
                self._anchors[event.anchor] = scalar
        # An alias of a list or a mapping has no text of its own.
        yield from self._scalar(scalar or _Scalar("", Span(place, place)), place)

    def _scalar(self, scalar: _Scalar, place: Position) -> Iterator[Span]:
        parent = self._open[-1] if self._open else None
        if parent and parent.is_mapping and parent.next_key is None:
            parent.next_key = scalar.text
            return
        key = self._key()
        self._find_used(f"{key}\n{scalar.text}", scalar.text)
        if place in self._suspects or _is_secret(key, scalar.text):
            yield scalar.span
        if parent and parent.is_mapping:
            parent.entries[key] = scalar
            parent.next_key = None
        elif parent:
            parent.words.append(scalar)

    def _end(self, end: Position) -> Iterator[Span]:
        closed = self._open.pop()
        span = Span(closed.start, end)
        if closed.is_suspect:
            yield span
        yield from self._secrets_among(closed)
        parent = self._open[-1] if self._open else None
        if parent and parent.is_mapping:
            if parent.next_key in _SECRET_FIELDS:
                parent.data.append(span)
            parent.next_key = None

    def _secrets_among(self, closed: _Collection) -> Iterator[Span]:
        """The spans that are secret because of the other members of their list or mapping."""
        value = closed.entries.get(_VALUE)
        if value:
            names = [closed.entries[name].text for name in _NAMES if name in closed.entries]
            if any(is_credential(name, value.text) for name in (*names, closed.key)):
                yield value.span
            for name in names:
                self._literals.setdefault(name, []).append(value.span)
                self._find_used(name, value.text)
        kind = closed.entries.get("kind")
        if kind and kind.text == "Secret":
            yield from closed.data
        command = "\n".join(word.text for word in closed.words)
        self._find_used(command, command)
        if len(closed.words) > 1 and assigns_credential(command):
            for word in closed.words:
                yield word.span

    def _find_used(self, names: str, text: str) -> None:
        if "$(" in text and may_name_credentials(names):
            self._used.update(_REFERENCE.findall(text))

    def _key(self) -> str:
        """The key of the value that begins; in a list it is the key of the list."""
        if not self._open:
            return ""
        parent = self._open[-1]
        return (parent.next_key or "") if parent.is_mapping else parent.key


def _is_secret(key: str, text: str) -> bool:
    return (
        key == _LAST_APPLIED
        or is_credential(key, text)
        or contains_credential(text)
        or assigns_credential(text)
        or ("\n" in text and is_secret_pair(text))
    )


def _span(event: Any) -> Span:
    return Span(_position(event.start_mark), _position(event.end_mark))


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)
