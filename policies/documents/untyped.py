"""Reading documents whose shape nobody has promised: a value of another type reads as empty, never as an error.

The API server's schema judges types; here a wrong one must not become a crash.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_EMPTY: dict[str, Any] = {}


def as_dict(value: Any) -> Mapping[str, Any]:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else _EMPTY


def dict_items(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects in a list, each with its index; anything that is not an object is passed over."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                yield index, item


def str_items(value: Any) -> Iterator[tuple[int, str]]:
    """The strings in a list, each with its index."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, str):
                yield index, item


def clipped(words: str, most: int = 100) -> str:
    """`words` for a message: those of strangers can be of any length, and are said many times."""
    return words if len(words) <= most else f"{words[:most]}..."


def as_str(value: Any) -> str:
    """`value` where it is a string, else the empty one."""
    return value if isinstance(value, str) else ""


def larger(value: Any, most: int) -> bool:
    """`value` holds more than `most` values and characters; it is not gone through any further than that."""
    size, waiting = 0, [value]
    while waiting and size + len(waiting) <= most:
        part = waiting.pop()
        size += 1
        if isinstance(part, str):
            size += len(part)
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            size += sum(len(name) for name in part if isinstance(name, str))
            waiting += part.values()
    return size + len(waiting) > most
