"""Problems in a policy file: where each one is, and what is wrong in the terms of the file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from policies.documents.untyped import printable

Path = tuple[str | int, ...]

# Suggestions are computed for this many unknown names. A file with more of them does not contain
# misspellings, and each suggestion takes time.
_MAX_SUGGESTIONS = 50
# Long enough for every name a policy file can have, and short enough for a message.
_MAX_NAME = 60

# Pydantic's error types, in the terms of the file's author.
_MESSAGES = {
    "model_type": "write a mapping",
    "model_attributes_type": "write a mapping",
    "dict_type": "write a mapping",
    "mapping_type": "write a mapping",
    "tuple_type": "write a list",
    "string_type": "write a string (numbers and booleans need quotes)",
    "bool_type": "write true or false",
    "int_type": "write a whole number",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a policy file.

    `place` is the path of keys and list positions (from 0) to it. With `at_key` the last key itself
    is wrong, not its value.
    """

    place: Path
    message: str
    at_key: bool = False

    def __str__(self) -> str:
        if not self.place:
            return self.message
        path = ".".join(shown(step) for step in self.place)
        return f"{path}: {self.message}"


class PolicyError(Exception):
    """The policy file cannot be used. The message has one line for each problem."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def problems_in(
    error: ValidationError, schema: Callable[[], Mapping[str, Any]]
) -> tuple[Problem, ...]:
    """The problems in pydantic's `error`.

    `schema` returns the JSON Schema of the whole file. It is called only when a name is unknown, to
    suggest known ones.
    """
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    unknown = [entry["loc"] for entry in errors if entry["type"] == "extra_forbidden"]
    unknown = unknown[:_MAX_SUGGESTIONS]
    file_schema = schema() if unknown else {}
    known_names = {place: _names_at(file_schema, place[:-1]) for place in unknown}
    problems = []
    for entry in errors:
        place = entry["loc"]
        if entry["type"] == "extra_forbidden":
            message = _unknown_name(place, known_names.get(place, ()))
            problems.append(Problem(place, message, at_key=True))
        else:
            default = entry["msg"].removeprefix("Value error, ")
            problems.append(Problem(place, _MESSAGES.get(entry["type"], default)))
    return tuple(problems)


def unknown_rule(name: str, known: Sequence[str]) -> str:
    """The message for an unknown rule id, with the id that was probably meant, or else all ids."""
    message = f"no rule is called {shown(name)}"
    return message + (suggestion(name, known) or f"; rules are {', '.join(sorted(known))}")


def shown(step: str | int) -> str:
    """A name that is safe in a message: printable, on one line, and clipped."""
    return printable(str(step), _MAX_NAME)


def _unknown_name(place: Path, known: Sequence[str]) -> str:
    name = str(place[-1])
    if place[:-1] == ("rules",):
        return unknown_rule(name, known)
    return "there is no such field" + suggestion(name, known)


def suggestion(name: str, known: Sequence[str]) -> str:
    """`; did you mean NAME?` for the nearest known name; empty if none is near."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _names_at(schema: Mapping[str, Any], place: Path) -> Sequence[str]:
    """The fields of the mapping at `place`."""
    part = schema
    for step in place:
        if isinstance(step, int):
            part = part.get("items", {})
        else:
            part = part.get("properties", {}).get(step, {})
        if "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return tuple(part.get("properties", ()))
