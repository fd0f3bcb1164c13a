"""JSON from the API server, which may be nested deeper than any parser of ours goes."""

import re
from typing import Any

import orjson

# The API server stores up to 10,000 levels (in `managedFields`, whose content is of the author's choosing); orjson
# stops at 1,024. Nothing that any decision looks at lies deeper than some thirty.
_DEPTH = 500
# The closing quote may be missing: a string without end must not be looked for again at every quote in it.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def loads(content: bytes | bytearray) -> Any:
    """The value in a JSON text; what is nested deeper than 500 levels is null. Raises ValueError (RFC 8259)."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if "depth limit" not in str(error):
            raise
        return orjson.loads(_pruned(bytes(content)))


def _pruned(content: bytes) -> bytes:
    parts, depth, kept, begin = [], 0, 0, 0
    for token in _TOKEN.finditer(content):
        match token[0]:
            case b"{" | b"[":
                depth += 1
                if depth == _DEPTH + 1:
                    begin = token.start()
            case b"}" | b"]":
                if depth == _DEPTH + 1:
                    parts += [content[kept:begin], b"null"]
                    kept = token.end()
                depth -= 1
    return b"".join((*parts, content[kept:]))
