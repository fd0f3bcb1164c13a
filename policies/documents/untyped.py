"""Reading JSON values of unknown shape: a value of an unexpected type reads as empty.

Rejecting a wrong type is the job of the API server's schema. A rule only must not crash on it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_EMPTY: dict[str, Any] = {}


def as_dict(value: Any) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty object."""
    return value if isinstance(value, dict) else _EMPTY


def as_str(value: Any) -> str:
    """`value` if it is a string, else the empty string."""
    return value if isinstance(value, str) else ""


def dict_items(value: Any) -> Sequence[tuple[int, Mapping[str, Any]]]:
    """The objects in a list, each with its index; items of other types are skipped."""
    if not isinstance(value, list):
        return ()
    return [item for item in enumerate(value) if isinstance(item[1], dict)]


def str_items(value: Any) -> Sequence[tuple[int, str]]:
    """The strings in a list, each with its index; items of other types are skipped."""
    if not isinstance(value, list):
        return ()
    return [item for item in enumerate(value) if isinstance(item[1], str)]


def list_length(value: Any) -> int:
    """The length of a list; 0 for everything else."""
    return len(value) if isinstance(value, list) else 0


def clipped(text: str, limit: int = 100) -> str:
    """`text` for a message, cut after `limit` characters.

    Users choose how long a name is, and one name can appear in many messages.
    """
    return text if len(text) <= limit else f"{text[:limit]}..."


def one_line(text: str) -> str:
    """`text` with a space in place of every character that is not printable.

    Line breaks and control characters could forge log lines or terminal output.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def printable(text: str, limit: int = 100) -> str:
    """Untrusted `text` as one printable line, cut after `limit` characters."""
    # Cut first: the text can be megabytes long, and the rest is not shown.
    return clipped(one_line(text[: limit + 1]), limit)


def larger(value: Any, limit: int) -> bool:
    """True if `value` holds more than `limit` values and characters together.

    Counting stops at the limit, so the cost is bounded for any input.
    """
    size, waiting = 0, [value]
    while waiting and size + len(waiting) <= limit:
        part = waiting.pop()
        size += 1
        if isinstance(part, str):
            size += len(part)
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            size += sum(len(name) for name in part if isinstance(name, str))
            waiting += part.values()
    return size + len(waiting) > limit
