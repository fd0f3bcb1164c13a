"""A JSON document in pieces, so that a large report is never in memory as a whole."""

import json
from collections.abc import Iterator
from typing import Any

import orjson

_INDENTATION = "  "


def json_pieces(document: Any) -> Iterator[str]:
    """The text of `document`, indented by two spaces.

    An iterator is written as a list, item by item; it may be the document or a member of it.
    """
    yield from _pieces(document, "\n")
    yield "\n"


def _pieces(value: Any, line: str) -> Iterator[str]:
    """`line` is the line break with the indentation of the value."""
    inside = line + _INDENTATION
    if isinstance(value, Iterator):
        items = (_pieces(item, inside) for item in value)
        yield from _collection("[", items, "]", line)
    elif isinstance(value, dict) and any(isinstance(part, Iterator) for part in value.values()):
        members = (_member(name, part, inside) for name, part in value.items())
        yield from _collection("{", members, "}", line)
    else:
        yield _dumped(value).replace("\n", line)


def _member(name: str, value: Any, line: str) -> Iterator[str]:
    yield f"{_dumped(name)}: "
    yield from _pieces(value, line)


def _collection(
    opening: str, parts: Iterator[Iterator[str]], closing: str, line: str
) -> Iterator[str]:
    yield opening
    separator = ""
    for part in parts:
        yield f"{separator}{line}{_INDENTATION}"
        yield from part
        separator = ","
    yield f"{line}{closing}" if separator else closing


def _dumped(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONEncodeError:
        # The name of a file is not UTF-8.
        return json.dumps(value, indent=len(_INDENTATION), ensure_ascii=False)
