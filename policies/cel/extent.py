"""How much there is in a JSON value, found in one walk: the sizes an estimate of work is made from.

A size is in nanoseconds of the slowest simple thing the library does with every value once: 50 for a value, 1 for a
byte of a string.
"""

from dataclasses import dataclass
from typing import Any

VALUE = 50

_MAX_DEPTH = 100
_MAX_VALUES = 20_000
_MAX_BYTES = 2_000_000
_LEAST, _MOST = -(2**63), 2**64 - 1


class TooMuchError(Exception):
    """The value is larger or deeper than anything that is evaluated, or it is not JSON."""


@dataclass(slots=True)
class SizeBounds:
    """Bounds on the values at one kind of place.

    `each` and `total` are sizes, of the largest one and of all together; `text` is the longest string in any of them,
    in bytes; `items` and `members` count elements, of the longest list or map and of all together.
    """

    each: int = 0
    total: int = 0
    text: int = 0
    items: int = 0
    members: int = 0

    def add(self, size: int, text: int, items: int) -> None:
        """Take one more value at such a place into account."""
        # Comparisons rather than max(): this is called for every value of every object.
        self.total += size
        if size > self.each:
            self.each = size
        if text > self.text:
            self.text = text
        if items:
            self.members += items
            if items > self.items:
                self.items = items


class SizeMeter:
    """What is in some values together: an Extent for every key, over all the maps it stands in."""

    def __init__(self) -> None:
        self.keys: dict[str, SizeBounds] = {}
        self._left = _MAX_VALUES
        self._bytes_left = _MAX_BYTES

    def take(self, value: Any) -> SizeBounds:
        """Measure one more value. Raises TooMuchError past 100 levels, 20,000 values or 2 MB of strings in all."""
        extent = SizeBounds()
        extent.add(*self._take(value, 1))
        return extent

    def _take(self, value: Any, depth: int) -> tuple[int, int, int]:
        """Its size, its longest string, its number of elements."""
        kind = type(value)
        if kind is str:
            length = self._string(value)
            return VALUE + length, length, 0
        if kind is dict:
            return self._map(value, depth)
        if kind is list:
            return self._list(value, depth)
        if not (
            value is None
            or kind is bool
            or kind is float
            or (kind is int and _LEAST <= value <= _MOST)
        ):
            raise TooMuchError(
                f"a value of type {kind.__name__} is not JSON, or an integer has more than 64 bits"
            )
        return VALUE, 0, 0

    def _map(self, value: dict[Any, Any], depth: int) -> tuple[int, int, int]:
        self._enter(len(value), depth)
        size, longest, keys = VALUE, 0, self.keys
        for key, inner in value.items():
            if type(key) is not str:
                raise TooMuchError("a key is not a string")
            length = self._string(key)
            inner_size, text, items = self._take(inner, depth + 1)
            extent = keys.get(key)
            if extent is None:
                extent = keys[key] = SizeBounds()
            extent.add(inner_size, text, items)
            size += inner_size + VALUE + length
            longest = max(longest, length, text)
        return size, longest, len(value)

    def _list(self, value: list[Any], depth: int) -> tuple[int, int, int]:
        self._enter(len(value), depth)
        size, longest = VALUE, 0
        for element in value:
            element_size, text, _ = self._take(element, depth + 1)
            size += element_size
            if text > longest:
                longest = text
        return size, longest, len(value)

    def _enter(self, items: int, depth: int) -> None:
        self._left -= items
        if depth > _MAX_DEPTH:
            raise TooMuchError(f"nested deeper than {_MAX_DEPTH} levels")
        if self._left < 0:
            raise TooMuchError(f"more than {_MAX_VALUES} values")

    def _string(self, value: str) -> int:
        # The library ends strings at the first NUL: two that differ would be equal to it.
        if "\0" in value:
            raise TooMuchError("a string has a NUL character in it")
        length = len(value) if value.isascii() else 4 * len(value)
        self._bytes_left -= length
        if self._bytes_left < 0:
            raise TooMuchError(f"more than {_MAX_BYTES} bytes of strings")
        return length
