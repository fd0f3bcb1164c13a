"""Pieces of CEL text: literals, patterns, and what CEL has no function for.

CEL on Kubernetes 1.30 can neither flatten a list nor name a value. So findings are lines of a text,
and a value gets a name by a list of one element.
"""

import json
import re
from collections.abc import Iterable, Sequence

# A class such as [a-z] or [!a-z] in a pattern of the policy file.
_CLASS = re.compile(r"\[(!?)(\]?[^]]*)\]")
# A dollar can also be the end of a regular expression.
_PIECE = re.compile(r"\$(?:([a-z_]+)|\{([a-z_]+)\})")
_OBJECT = re.compile(r"\bobject\b")
# A use of a variable of an admission policy, and its name.
VARIABLE = re.compile(r"\bvariables\.(\w+)")
_ONE_LINE = (
    '[string($text).replace("\\n", " ")]'
    '.map(t, t.size() > 100 ? t.substring(0, 100) + "..." : t)[0]'
)
# Where the last part of the path `i` begins. In Kubernetes 1.30, "".lastIndexOf("x") is an error.
_LAST_START = '("/" + i).lastIndexOf("/")'
_LAST_PART = f"i.substring({_LAST_START})"
_WITHOUT_HOST = '[$image].map(i, i.startsWith("$host") ? i.substring($length) : i)[0]'


def cel(template: str, **pieces: str) -> str:
    """CEL text on one line, with each `$name` replaced by a piece."""
    filled = _PIECE.sub(lambda found: pieces.get(found[1] or found[2], found[0]), template)
    return " ".join(filled.split())


def of_stored_object(expression: str) -> str:
    """An expression over `object` and its variables as one over `oldObject` and its variables."""
    return VARIABLE.sub(r"variables.\1Before", _OBJECT.sub("oldObject", expression))


def literal(value: str) -> str:
    """A string literal."""
    return json.dumps(value, ensure_ascii=False)


def listed(values: Iterable[str]) -> str:
    """A list of string literals; a list without elements equals nothing."""
    return f"[{', '.join(map(literal, values))}]"


def one_line(text: str) -> str:
    """Text of the object for a finding: one line, cut like `clipped`."""
    return cel(_ONE_LINE, text=text)


def matches(text: str, expression: str) -> str:
    """`text` contains a match of a regular expression (RE2)."""
    return f"{text}.matches({literal(expression)})"


def matches_any(text: str, patterns: Sequence[str]) -> str:
    """`text` matches one of the patterns of the policy file, in which `*` matches anything."""
    if not patterns:
        return "false"
    if "*" in patterns:
        return "true"
    return matches(text, f"^(?:{'|'.join(map(_expression, patterns))})$")


def _expression(pattern: str) -> str:
    """A pattern (`fnmatch`) as a regular expression."""
    parts: list[str] = []
    place = 0
    while place < len(pattern):
        character = pattern[place]
        found = _CLASS.match(pattern, place) if character == "[" else None
        if found:
            members = re.sub(r"([\\\[\]^])", r"\\\1", found[2])
            parts.append(f"[{'^' if found[1] else ''}{members}]")
            place = found.end()
            continue
        parts.append({"*": "(?s:.*)", "?": "(?s:.)"}.get(character, re.escape(character)))
        place += 1
    return "".join(parts)


def repository(image: str) -> str:
    """An image reference without tag, digest and Docker Hub's own name (`repository_of`)."""
    name = _without_digest(image)
    for host in ("index.docker.io/", "docker.io/"):
        name = cel(_WITHOUT_HOST, image=name, host=host, length=str(len(host)))
    path = f"i.substring(0, {_LAST_START})"
    return f'[{name}].map(i, {path} + {_LAST_PART}.split(":")[0])[0]'


def tag(image: str) -> str:
    """The tag of an image reference; empty if there is none (`tag_of`)."""
    after = f'{_LAST_PART}.substring({_LAST_PART}.indexOf(":") + 1)'
    return f'[{_without_digest(image)}].map(i, {_LAST_PART}.contains(":") ? {after} : "")[0]'


def _without_digest(image: str) -> str:
    return f'string({image}).split("@")[0]'
