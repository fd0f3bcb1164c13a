"""The values of YAML scalars and keys, as `kubectl` reads them (sigs.k8s.io/yaml).

YAML 1.1 booleans and octal numbers, but no dates and no base 60.
Source: `resolve` and `scalar` of go.yaml.in/yaml/v2, which sigs.k8s.io/yaml wraps; compared with
what kubectl 1.32 reads.
"""

import base64
import math
import re
from typing import Any

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    spelling: value
    for value, words in ((True, ("true", "yes", "on", "y")), (False, ("false", "no", "off", "n")))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_NUMBER_START = frozenset("+-.0123456789")
# Every repetition is bounded: Python converts long digit strings to int in quadratic time and
# refuses more than 4300 digits.
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,4000})")
_OTHER_BASES = (
    (8, re.compile(r"([-+]?)0[oO]?([0-7]{1,4000})")),
    (16, re.compile(r"([-+]?)0[xX]([0-9a-fA-F]{1,4000})")),
    (2, re.compile(r"([-+]?)0[bB]([01]{1,4000})")),
)
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][-+]?[0-9]{1,4})?")
_INTEGER = re.compile(r"[-+]?(?:0[bBoO])?[0-9_]{1,4000}|[-+]?0[xX][0-9a-fA-F_]{1,4000}")
# JSON has one type of number; Go writes a float without a fraction below this as an integer.
_INTEGRAL = 1e21

_TAGS = "tag:yaml.org,2002:"
MERGE_TAG = f"{_TAGS}merge"
_BINARY = f"{_TAGS}binary"
_INT = f"{_TAGS}int"
# What a scalar with an explicit tag may be; with any other tag it is a string.
_TYPES: dict[str, tuple[type, ...]] = {
    f"{_TAGS}bool": (bool,),
    f"{_TAGS}float": (int, float),
    _INT: (int,),
    f"{_TAGS}null": (type(None),),
    f"{_TAGS}timestamp": (str,),
}


def scalar_value(event: Any) -> Any:
    """The JSON value of a PyYAML ScalarEvent.

    Only a plain scalar, or one with a tag such as `!!bool`, can be anything but a string. Raises
    ValueError for a value that its tag does not allow.
    """
    content: str = event.value
    if event.tag in _TYPES or event.tag == _BINARY:
        return _tagged_value(content, event.tag)
    if not event.implicit[0] or event.style or event.tag:
        return content
    return _plain_value(content)


def whole(number: float) -> int | float:
    """A number as it is after Go wrote it as JSON: `8265.0` becomes 8265."""
    return int(number) if number.is_integer() and abs(number) < _INTEGRAL else number


def key_text(value: Any) -> str:
    """A mapping key as the string it is in JSON: `true:` and `1:` become "true" and "1"."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    # Not left to `str`, which writes "True".
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _tagged_value(content: str, tag: str) -> Any:
    """The value of a scalar with an explicit tag, quoted or not."""
    if tag == _BINARY:
        return _decoded(content)
    value = _plain_value(content)
    # `1.0` is a float, although JSON has the integer 1 for it.
    is_float = tag == _INT and not _INTEGER.fullmatch(content)
    if is_float or type(value) not in _TYPES[tag]:
        raise ValueError(f"{content[:40]!r} is not a {tag.removeprefix(_TAGS)}")
    return value


def _decoded(content: str) -> str:
    try:
        data = base64.b64decode(content.replace("\n", "").replace("\r", ""), validate=True)
    except ValueError:
        raise ValueError("a !!binary value is not valid base64") from None
    return data.decode(errors="replace")


def _plain_value(content: str) -> Any:
    if content in _NULL:
        return None
    if content in _BOOLEANS:
        return _BOOLEANS[content]
    return _number(content) if content[0] in _NUMBER_START else content


def _number(content: str) -> int | float | str:
    """The number that `content` spells, or `content` itself if it is no number."""
    plain = content.replace("_", "")
    if _DECIMAL.fullmatch(plain):
        return int(plain)
    for base, pattern in _OTHER_BASES:
        if match := pattern.fullmatch(plain):
            return int(match[1] + match[2], base)
    if not _FLOAT.fullmatch(plain):
        return content
    number = float(plain)
    if math.isinf(number):
        return content
    return whole(number)
