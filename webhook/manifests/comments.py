"""The comments of a YAML text, found by its structure: a `#` in a value begins no comment."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

# The first line of a block scalar: what follows its indicators is a comment.
_BLOCK_HEADER = re.compile(r"[|>][-+0-9]*\s+(?=#)")
_SPACE = re.compile(r"[ \t]*(?=#)")
_OUTSIDE = (yaml.StreamStartToken, yaml.StreamEndToken, yaml.DirectiveToken, yaml.BlockEndToken)


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment; `text` is what follows the `#`. Lines and columns are counted from 1.

    `document` is the document it stands in, counted from 0. With `is_above`, it stands before the
    first value of that document. With `is_alone`, nothing else is on its line.
    """

    text: str
    line: int
    column: int
    document: int
    is_above: bool
    is_alone: bool


def comments_with(word: str, content: bytes) -> Iterator[Comment]:
    """The comments on lines with a word, in order; none from where the text is not YAML on.

    A text without the word is not parsed.
    """
    if word.encode() not in content:
        return
    # A byte order mark is no character to the parser.
    text = content.decode(errors="replace").removeprefix("\ufeff")
    lines = text.splitlines()
    wanted = {number for number, line in enumerate(lines) if word in line}
    scan = _Scan(lines, wanted)
    try:
        for token in yaml.scan(text, Loader=yaml.CSafeLoader):
            yield from scan.until(token)
    except yaml.YAMLError:
        return


class _Scan:
    """Looks for comments between each two tokens of a text."""

    def __init__(self, lines: list[str], wanted: set[int]) -> None:
        self._lines = lines
        self._wanted = wanted
        self._end = (0, 0)
        self._document = -1
        self._is_open = False
        self._is_above = True

    def until(self, token: Any) -> Iterator[Comment]:
        """The comments between the last token and this one."""
        start = token.start_mark
        first, column = self._end
        end = (start.line, start.column)
        for number in range(first, min(start.line + 1, len(self._lines))):
            if number in self._wanted:
                yield from self._comment(number, column if number == first else 0, end)
        self._take(token)
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            yield from self._in_header(start.line, start.column)
        self._end = (token.end_mark.line, token.end_mark.column)

    def _take(self, token: Any) -> None:
        if isinstance(token, yaml.DocumentStartToken):
            self._document += 1
            self._is_open = self._is_above = True
        elif isinstance(token, yaml.DocumentEndToken):
            self._is_open = self._is_above = False
        elif not isinstance(token, _OUTSIDE):
            self._document += not self._is_open
            self._is_open, self._is_above = True, False

    def _comment(
        self, number: int, column: int, end: tuple[int, int] | None = None
    ) -> Iterator[Comment]:
        """The comment in a line behind a token and before `end`; before it there is only space."""
        line = self._lines[number]
        space = _SPACE.match(line, column)
        if space is None or (end is not None and (number, space.end()) >= end):
            return
        yield Comment(
            text=line[space.end() + 1 :].strip(),
            line=number + 1,
            column=space.end() + 1,
            document=self._document + (not self._is_open),
            is_above=self._is_above,
            is_alone=column == 0,
        )

    def _in_header(self, number: int, column: int) -> Iterator[Comment]:
        header = _BLOCK_HEADER.match(self._lines[number], column)
        if header and number in self._wanted:
            yield from self._comment(number, header.end())
