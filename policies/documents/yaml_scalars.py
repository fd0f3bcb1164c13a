"""The values of YAML scalars and keys, as `kubectl` reads them (sigs.k8s.io/yaml).

YAML 1.1 booleans and octal numbers, but no dates and no base 60.
"""

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
_OCTAL = re.compile(r"([-+]?)0o?([0-7]{1,4000})")
_HEXADECIMAL = re.compile(r"([-+]?)0x([0-9a-fA-F]{1,4000})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][-+]?[0-9]{1,4})?")


def scalar_value(event: Any) -> Any:
    """The JSON value of a PyYAML ScalarEvent.

    Only a plain scalar without a tag can be anything but a string.
    """
    content: str = event.value
    if not event.implicit[0] or event.style or event.tag:
        return content
    if content in _NULL:
        return None
    if content in _BOOLEANS:
        return _BOOLEANS[content]
    return _number(content) if content[0] in _NUMBER_START else content


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


def _number(content: str) -> int | float | str:
    """The number that `content` spells, or `content` itself if it is no number."""
    plain = content.replace("_", "") if content[-1] != "_" else content
    if _DECIMAL.fullmatch(plain):
        return int(plain)
    for base, pattern in ((8, _OCTAL), (16, _HEXADECIMAL)):
        if match := pattern.fullmatch(plain):
            return int(match[1] + match[2], base)
    return float(plain) if _FLOAT.fullmatch(plain) else content
