"""Changes as replacements of parts of a text, so that all other characters stay as they are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from webhook.fixes.plan import CannotMendError


@dataclass(frozen=True, slots=True, order=True)
class Splice:
    """Replace the text from `start` to `end`. Of several at one place, the deepest comes first."""

    start: int
    end: int
    depth: int = 0
    text: str = ""


class Lines:
    """Where lines of a text begin and end."""

    def __init__(self, text: str) -> None:
        self.text = text

    def start(self, offset: int) -> int:
        return self.text.rfind("\n", 0, offset) + 1

    def next(self, offset: int) -> int:
        """Where the line after that of `offset` begins; the end of the text if it is the last."""
        end = self.text.find("\n", offset)
        return len(self.text) if end < 0 else end + 1

    def column(self, offset: int) -> int:
        return offset - self.start(offset)

    def indentation(self, offset: int) -> int:
        line = self.text[self.start(offset) : self.next(offset)]
        return len(line) - len(line.lstrip(" "))

    def is_first(self, offset: int) -> bool:
        """Only blanks are before it in its line."""
        return not self.text[self.start(offset) : offset].strip(" ")

    def after_blanks(self, offset: int) -> int:
        """The next character that is neither blank nor in a comment."""
        text = self.text
        while offset < len(text):
            if text[offset] == "#":
                offset = self.next(offset)
            elif text[offset].isspace():
                offset += 1
            else:
                break
        return offset

    def removal(self, first: int, last: int) -> Splice:
        """Remove the lines from that of `first` to that of `last`.

        `last` is where a value ends, which may be at a line end.
        """
        start, end = self.start(first), self.next(last)
        if end == len(self.text) and not self.text.endswith("\n") and start:
            # The text still ends without a line end.
            start -= 2 if self.text[start - 2 : start] == "\r\n" else 1
        return Splice(start, end)

    def insertion(self, offset: int, lines: str, eol: str, depth: int) -> Splice:
        """Insert whole lines after the line of `offset`."""
        place = self.next(offset)
        if place == len(self.text) and not self.text.endswith("\n"):
            lines = eol + lines.removesuffix(eol)
        return Splice(place, place, -depth, lines)


def spliced(text: str, splices: Iterable[Splice]) -> str:
    """`text` with all replacements made; those inside a removed part are left out.

    Raises CannotMendError if two contradict each other.
    """
    parts: list[str] = []
    position = 0
    for splice in _outermost(sorted(set(splices))):
        if splice.start < position:
            raise CannotMendError("two remedies change the same lines")
        parts += text[position : splice.start], splice.text
        position = splice.end
    return "".join([*parts, text[position:]])


def _outermost(splices: Sequence[Splice]) -> list[Splice]:
    removed_until = -1
    result = []
    for splice in sorted(splices, key=lambda part: (part.start, -part.end)):
        if splice.end <= removed_until and splice.start < removed_until:
            continue
        result.append(splice)
        if splice.end > splice.start:
            removed_until = max(removed_until, splice.end)
    return sorted(result)
