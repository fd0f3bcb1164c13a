"""JSON from the API server, which may be nested deeper than any parser of ours goes."""

import re
from typing import Any

import orjson

# The API server stores up to 10,000 levels (in `managedFields`, whose content is of the author's choosing); orjson
# stops at 1,024. Nothing that any decision looks at lies deeper than some thirty.
_DEPTH = 500
# Up to the next bracket that is in no string. The closing quote, and the bracket at the very end, may be missing: what
# has none must not be looked for again from every place in between.
_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+"?)*+([\[\]{}]|\Z)', re.DOTALL)
# So many of the characters, outside of strings, that begin a container or part two values, in one go. Of 1.5 MiB, all
# that etcd stores of an object, one in three is such a character where it is densest (managedFields, `"f:a":{},`), and
# two objects come in a review. That makes 2**20: what is stored, and updated by KubeRay, does not come near.
_BLOCK = re.compile(rb'(?:(?:[^"{\[,:]++|"(?:[^"\\]++|\\.)*+"?)*+[{\[,:]){1024}', re.DOTALL)
_MOST_BLOCKS = 1024
MOST_PARTS = 1024 * _MOST_BLOCKS


def crowded(content: bytes | bytearray) -> bool:
    """Whether a JSON text has 2**20 parts or more: more than any object, and each may take 120 bytes of memory.

    8 MiB that are made for it would be 400 MB of values, and a third of a second. To find out takes hundredths of one,
    and where there is less than 1 MiB, nothing.
    """
    if (
        len(content) < MOST_PARTS
        or len(content) - len(content.translate(None, b"{[,:")) < MOST_PARTS
    ):
        return False
    # Text may have as many of these characters as it likes.
    place = blocks = 0
    while blocks < _MOST_BLOCKS and (found := _BLOCK.match(content, place)):
        place, blocks = found.end(), blocks + 1
    return blocks == _MOST_BLOCKS


def loads(content: bytes | bytearray) -> Any:
    """The value in a JSON text; what is nested deeper than 500 levels is null. Raises ValueError (RFC 8259)."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if "depth limit" not in str(error):
            raise
        return orjson.loads(_pruned(bytes(content)))


def _pruned(content: bytes) -> bytearray:
    pruned, depth, kept, begin = bytearray(), 0, 0, 0
    for found in _BRACKET.finditer(content):
        match found[1]:
            case b"{" | b"[":
                depth += 1
                if depth == _DEPTH + 1:
                    begin = found.start(1)
            case b"}" | b"]":
                if depth == _DEPTH + 1:
                    pruned += content[kept:begin] + b"null"
                    kept = found.end()
                depth -= 1
                if depth <= 0:
                    break
    return pruned + content[kept:]
