"""The sizes of JSON values, measured in one walk. The cost of expressions is estimated from them.

The unit of a size is a nanosecond of the slowest operation that the library does once for every
value: 50 for a value, and 1 for each byte of a string.
"""

from dataclasses import dataclass
from typing import Any

VALUE = 50

# The library converts values recursively: deeper ones could overflow its stack.
_MAX_DEPTH = 100
# Many times what an ordinary Ray object has (about 1,000 values and 20 KB).
_MAX_VALUES = 20_000
_MAX_BYTES = 2_000_000
# The integers that CEL has: int and uint.
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1


class TooMuchError(Exception):
    """The value is too large or too deep to be evaluated, or it is not JSON."""


@dataclass(slots=True)
class SizeBounds:
    """Bounds on a group of values, such as all values of one key.

    `each` is the size of the largest value, and `total` that of all together. `text` is the length
    in bytes of the longest string inside any of them. `items` is the length of the longest list or
    map among them, and `members` the number of elements of all together.
    """

    each: int = 0
    total: int = 0
    text: int = 0
    items: int = 0
    members: int = 0

    def add(self, size: int, text: int, items: int) -> None:
        """Add one more value to the group."""
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
    """Measures values. `keys` has the bounds of each key, over all maps that contain it."""

    def __init__(self) -> None:
        self.keys: dict[str, SizeBounds] = {}
        self._left = _MAX_VALUES
        self._bytes_left = _MAX_BYTES

    def take(self, value: Any) -> SizeBounds:
        """Measure one more value.

        Raises TooMuchError if it has more than 100 levels, or if all values together have more than
        20,000 values or 2 MB of strings.
        """
        bounds = SizeBounds()
        bounds.add(*self._take(value, 1))
        return bounds

    def _take(self, value: Any, depth: int) -> tuple[int, int, int]:
        """The value's size, the length of its longest string, and its number of elements."""
        kind = type(value)
        if kind is str:
            length = self._string(value)
            return VALUE + length, length, 0
        if kind is dict:
            return self._map(value, depth)
        if kind is list:
            return self._list(value, depth)
        if value is None or kind is bool or kind is float:
            return VALUE, 0, 0
        if kind is int and _MIN_INTEGER <= value <= _MAX_INTEGER:
            return VALUE, 0, 0
        raise TooMuchError(
            f"a value of type {kind.__name__} is not JSON, or an integer has more than 64 bits"
        )

    def _map(self, value: dict[Any, Any], depth: int) -> tuple[int, int, int]:
        self._enter(len(value), depth)
        size, longest, keys = VALUE, 0, self.keys
        for key, inner in value.items():
            if type(key) is not str:
                raise TooMuchError("a key is not a string")
            length = self._string(key)
            inner_size, text, items = self._take(inner, depth + 1)
            bounds = keys.get(key)
            if bounds is None:
                bounds = keys[key] = SizeBounds()
            bounds.add(inner_size, text, items)
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
        # The library cuts strings at the first NUL, so different strings would be equal.
        if "\0" in value:
            raise TooMuchError("a string contains a NUL character")
        length = len(value) if value.isascii() else 4 * len(value)
        self._bytes_left -= length
        if self._bytes_left < 0:
            raise TooMuchError(f"more than {_MAX_BYTES} bytes of strings")
        return length
