"""The text of a file of manifests, and where each value of its documents stands."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from policies.documents.untrusted_yaml import (
    Position,
    Positioned,
    UntrustedYamlError,
    load_all,
    load_positioned,
)

# `helm template` writes this comment above each document.
_HELM_SOURCE = re.compile(r"#\s*Source:\s*(\S+)\s*$")
_START = Position(1, 1)
# The positions of a longer text are not kept, because they take several times its memory.
_MAX_KEPT = 256 * 1024


class SourceText:
    """The content of one file; `name` is its name in reports.

    The positions of a short text are kept when its documents are read. Those of others are read
    when the first is asked for, and kept for one document at a time: ask in the order of the
    documents.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content
        self._kept: list[Positioned] = []
        self._documents: Iterator[Positioned] = iter(())
        self._number = -1
        self._current: Positioned | None = None
        self._templates: dict[int, str] = {}

    @cached_property
    def lines(self) -> list[str]:
        return self.content.decode(errors="replace").splitlines()

    def documents(self) -> Iterator[Any]:
        """The values of the YAML documents; raises UntrustedYamlError and UnicodeDecodeError."""
        text = self.content.decode()
        if len(self.content) > _MAX_KEPT:
            yield from load_all(text)
            return
        for positioned in load_positioned(text):
            self._kept.append(positioned)
            yield positioned.value

    def position(self, document: int, path: Sequence[str | int], *, key: bool = False) -> Position:
        """Where the value at `path` begins in a document, which is counted from 0.

        With `key` it is where the key of that value begins. If the value does not exist, it is
        where the key of its nearest parent begins.
        """
        positioned = self._document(document)
        if positioned is None:
            return _START
        deepest = _existing(positioned.value, path)
        is_missing = len(deepest) < len(path)
        return positioned.place(deepest, key=key or is_missing)

    def template(self, document: int) -> str:
        """The Helm template that the comment above a document names; usually empty."""
        if document not in self._templates:
            positioned = self._document(document)
            self._templates[document] = self._template_above(positioned) if positioned else ""
        return self._templates[document]

    def _template_above(self, positioned: Positioned) -> str:
        for number in range(min(positioned.start.line - 1, len(self.lines)), 0, -1):
            line = self.lines[number - 1]
            if match := _HELM_SOURCE.match(line.strip()):
                return match[1]
            if line.strip() and not line.startswith(("#", "---")):
                return ""
        return ""

    def _document(self, number: int) -> Positioned | None:
        if number < len(self._kept):
            return self._kept[number]
        if number < self._number:
            self._number = -1
        if self._number == -1:
            self._documents = load_positioned(self.content.decode(errors="replace"))
        try:
            while self._number < number:
                self._current = next(self._documents, None)
                self._number += 1
        except UntrustedYamlError:
            self._current, self._number = None, number
        return self._current


def _existing(value: Any, path: Sequence[str | int]) -> Sequence[str | int]:
    """The longest part of `path` that exists in `value`."""
    for depth, step in enumerate(path):
        is_member = isinstance(value, dict) and step in value
        is_item = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if not is_member and not is_item:
            return path[:depth]
        value = value[step]
    return path
