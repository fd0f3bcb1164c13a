"""JSON from the API server, which may be nested deeper than a JSON parser accepts."""

import re
from typing import Any

import orjson

# The API server stores up to 10,000 levels (in `managedFields`, whose content the author of an
# object chooses); orjson stops at 1,024. No decision looks deeper than about thirty levels.
_MAX_DEPTH = 500
# Matches up to the next bracket outside of strings. A string may lack its closing quote, and the
# text may lack its last bracket: without these alternatives, the search would start again from
# every position in between, which takes quadratic time.
_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+"?)*+([\[\]{}]|\Z)', re.DOTALL)
# Matches 1024 of the characters, outside of strings, that begin a container or separate two values.
# etcd stores at most 1.5 MiB of an object. In the densest real content (managedFields, `"f:a":{},`)
# every third byte is such a character, and a review carries two objects: about 2**20 together.
# Objects that are stored, and that KubeRay updates, stay far below.
_BLOCK = re.compile(rb'(?:(?:[^"{\[,:]++|"(?:[^"\\]++|\\.)*+"?)*+[{\[,:]){1024}', re.DOTALL)
_MAX_BLOCKS = 1024
MAX_PARTS = 1024 * _MAX_BLOCKS


def has_too_many_parts(content: bytes | bytearray) -> bool:
    """Whether a JSON text has 2**20 parts or more, which is more than any stored object has.

    Each part may take 120 bytes of memory: an attacker could turn 8 MiB of text into 400 MB of
    values and a third of a second of parsing. This check takes hundredths of a second, and no time
    for a text under 1 MiB.
    """
    if len(content) < MAX_PARTS:
        return False
    candidates = len(content) - len(content.translate(None, b"{[,:"))
    if candidates < MAX_PARTS:
        return False
    # Some of them may stand in strings, where they are harmless: count those outside.
    position = 0
    for _ in range(_MAX_BLOCKS):
        block = _BLOCK.match(content, position)
        if block is None:
            return False
        position = block.end()
    return True


def loads(content: bytes | bytearray) -> Any:
    """The value of a JSON text (RFC 8259), with null in place of anything below 500 levels.

    Raises ValueError for a text that is not JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if "depth limit" not in str(error):
            raise
        return orjson.loads(_with_deep_values_nulled(bytes(content)))


def _with_deep_values_nulled(content: bytes) -> bytearray:
    pruned = bytearray()
    depth = copied_until = deep_value_start = 0
    for bracket in _BRACKET.finditer(content):
        match bracket[1]:
            case b"{" | b"[":
                depth += 1
                if depth == _MAX_DEPTH + 1:
                    deep_value_start = bracket.start(1)
            case b"}" | b"]":
                if depth == _MAX_DEPTH + 1:
                    pruned += content[copied_until:deep_value_start] + b"null"
                    copied_until = bracket.end()
                depth -= 1
                # The document has ended. Stop here: what follows must not cost time or memory.
                if depth <= 0:
                    break
    return pruned + content[copied_until:]
