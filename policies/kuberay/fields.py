"""What the API server refuses or drops by KubeRay's CustomResourceDefinitions, in a manifest.

Source: `k8s.io/apiextensions-apiserver/pkg/apiserver`, its packages `schema/pruning`,
`schema/defaulting`, `schema/listtype` and `validation`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from policies.documents.pointer import Pointer
from policies.documents.untyped import printable
from policies.kuberay.near import Names
from policies.kuberay.problem import NotAccepted, title_of
from policies.kuberay.schema import RANGES, Node, Schemas
from policies.kuberay.values import is_placeholder

# Deeper than any schema; documents may be nested deeper below fields that take any value.
_MAX_DEPTH = 60
# Longer than every value that has a pattern.
_MAX_MATCHED = 1_000
_MAX_SHOWN = 10**18
_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "int-or-string": (int, str),
}
# More than anyone reads, and more than a rule reports.
_MAX_REFUSALS = 1_000
_TITLES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "int-or-string": "a whole number or a string",
}


class FieldReview:
    """Reads one document next to the schema of its kind, from the top down.

    `names` finds the field that the author of an unknown one meant.
    """

    def __init__(self, schemas: Schemas, names: Names) -> None:
        self._schemas = schemas
        self._names = names
        # The way to the value that is read. Only a refusal needs a pointer, and few values have
        # one.
        self._path: list[str | int] = []
        self._refusals: list[NotAccepted] = []

    def refusals(self, root: Node, document: Mapping[str, Any]) -> list[NotAccepted]:
        """Everything that is wrong with the document, in its order; at most a bounded number."""
        self._read(root, document)
        return self._refusals

    @property
    def _place(self) -> Pointer:
        return Pointer(self._path)

    def _add(self, message: str, remediation: str) -> None:
        self._refusals.append(NotAccepted(message, self._place, remediation))

    def _read(self, node: Node, value: Any) -> None:
        if len(self._path) > _MAX_DEPTH or len(self._refusals) > _MAX_REFUSALS:
            return
        if not _fits(node, value):
            if not is_placeholder(value):
                self._refusals.append(_wrong_type(node, value, self._place))
        elif isinstance(value, dict):
            self._read_object(node, value)
        elif isinstance(value, list):
            self._read_list(node, value)
        elif node.is_limited and not is_placeholder(value):
            self._refusals += _scalar(node, value, self._place)

    def _read_object(self, node: Node, value: Mapping[Any, Any]) -> None:
        for name in node.required:
            if value.get(name) is None and self._schemas.node(node.fields[name]).default is None:
                title = title_of(self._place)
                self._add(
                    f"the API server refuses {title} without {name}", f"add {name} to {title}"
                )
        path, known, others = self._path, node.fields, node.values
        for name, part in value.items():
            number = known.get(name, others)
            if number is not None:
                child = self._schemas.node(number)
                if type(part) in child.plain:
                    continue
                # The API server removes null, or writes the default in its place.
                if part is not None:
                    path.append(name)
                    self._read(child, part)
                    path.pop()
            elif node.is_closed and len(self._refusals) <= _MAX_REFUSALS:
                self._refusals.append(self._names.unknown(node, value, str(name), self._place))

    def _read_list(self, node: Node, value: Sequence[Any]) -> None:
        if node.min_items is not None and len(value) < node.min_items:
            self._add(
                f"the API server refuses {title_of(self._place)} without entries", "add an entry"
            )
        if node.items is None:
            return
        child = self._schemas.node(node.items)
        for index, item in enumerate(value):
            self._path.append(index)
            self._read(child, item)
            self._path.pop()
        if node.keys or node.is_set:
            self._find_repeated(node, child, value)

    def _find_repeated(self, node: Node, child: Node, value: Sequence[Any]) -> None:
        """Find entries of a list that the API server takes for the same one."""
        seen: set[Any] = set()
        for index, item in enumerate(value):
            identity = self._identity(node, child, item)
            if identity is not None and identity in seen:
                self._refusals.append(_repetition(node, identity, self._place / index))
            seen.add(identity)

    def _identity(self, node: Node, child: Node, item: Any) -> tuple[Any, ...] | None:
        if not isinstance(item, dict):
            return (item,) if node.is_set and isinstance(item, str) else None
        values = []
        for key in node.keys:
            value = item.get(key)
            if value is None and key in child.fields:
                value = self._schemas.node(child.fields[key]).default
            if isinstance(value, dict | list):
                return None
            values.append(value)
        return tuple(values)


def _fits(node: Node, value: Any) -> bool:
    """True if the value has the type of the node."""
    if value is None:
        return node.nullable
    # A number such as 2.0 is whole for the API server, too.
    if isinstance(value, float) and node.type == "integer":
        return value.is_integer()
    return type(value) in _PYTHON_TYPES.get(node.type, ())


def _wrong_type(node: Node, value: Any, place: Pointer) -> NotAccepted:
    title, wanted = title_of(place), _TITLES.get(node.type, "another type")
    message = f"the API server refuses {title}: it must be {wanted}, not {_kind(value)}"
    return NotAccepted(message, place, _as(node, value, place))


def _as(node: Node, value: Any, place: Pointer) -> str:
    """How to write the value with the type of the node, if that is certain."""
    name = place[-1] if place else ""
    if isinstance(name, str) and name:
        if node.type == "string" and isinstance(value, bool):
            return f'set {name}: "{str(value).lower()}"'
        # A value that is called `value` may be a password, such as that of a variable.
        if node.type == "string" and isinstance(value, int) and name != "value":
            return f'set {name}: "{value}"' if abs(value) < _MAX_SHOWN else "write a string"
        if node.type in ("integer", "number") and _spells_a_number(value):
            return f"set {name}: {int(value)}"
        if node.type == "boolean" and value in ("true", "false", "True", "False"):
            return f"set {name}: {value.lower()}"
    if node.type == "string" and isinstance(value, int | float):
        return f"put the value of {title_of(place)} in quotes"
    return f"write {_TITLES.get(node.type, 'another type')} for {title_of(place)}"


def _scalar(node: Node, value: Any, place: Pointer) -> Iterator[NotAccepted]:
    title = title_of(place)
    if node.enum and value not in node.enum:
        choices = ", ".join(map(str, node.enum))
        yield NotAccepted(
            f"the API server refuses {title} that is none of {choices}",
            place,
            f"write one of {choices}",
        )
    problem = _text_problem(node, value) or _number_problem(node, value)
    if problem:
        yield NotAccepted(f"the API server refuses {title}: {problem}", place, f"correct {title}")


def _spells_a_number(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value) is not None


def _text_problem(node: Node, value: Any) -> str:
    if not isinstance(value, str):
        return ""
    if node.max_length is not None and len(value) > node.max_length:
        return f"it is longer than {node.max_length} characters"
    if node.min_length is not None and len(value) < node.min_length:
        return "it is empty"
    if node.pattern and len(value) <= _MAX_MATCHED and not _matches(node.pattern, value):
        return "it is not a quantity" if "KMGTPE" in node.pattern else "it has a wrong form"
    return ""


def _number_problem(node: Node, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if node.minimum is not None and value < node.minimum:
        return f"it is less than {node.minimum:g}"
    limit = RANGES.get(node.format)
    if limit is not None and not -limit <= value < limit:
        return f"it is not an {node.format} number"
    return ""


@lru_cache(maxsize=64)
def _expression(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        # Go knows expressions that Python does not.
        return None


def _matches(pattern: str, value: str) -> bool:
    expression = _expression(pattern)
    return expression is None or expression.search(value) is not None


def _repetition(node: Node, identity: tuple[Any, ...], place: Pointer) -> NotAccepted:
    shown = printable(", ".join(str(part) for part in identity), 60)
    title = title_of(place)
    message = f"the API server refuses two entries of {title} with the same "
    message += f"{' and '.join(node.keys)} ({shown})" if node.keys else f"value ({shown})"
    return NotAccepted(message, place, "remove one of the two entries")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return "a date"
