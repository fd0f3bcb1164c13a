"""What is wrong in a policy file, as data: where, and in the words of who wrote it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from policies.documents.untyped import printable

Path = tuple[str | int, ...]

# A name is looked for among the known ones in this many problems; a file with more of them is no misspelt one.
_MOST_LOOKED_FOR = 50
_LONGEST_NAME = 60

# What pydantic says in its own terms, in the terms of who wrote the file.
_SAID = {
    "model_type": "write a mapping",
    "model_attributes_type": "write a mapping",
    "dict_type": "write a mapping",
    "mapping_type": "write a mapping",
    "tuple_type": "write a list",
    "string_type": "write a text (a number or a boolean needs quotes)",
    "bool_type": "write true or false",
    "int_type": "write a whole number",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: keys and list positions (from 0) that lead there, and whether the last key itself is."""

    place: Path
    message: str
    at_key: bool = False

    def __str__(self) -> str:
        return (
            f"{'.'.join(shown(step) for step in self.place)}: {self.message}"
            if self.place
            else self.message
        )


class PolicyError(Exception):
    """The policy file cannot be used; the message names every place and what is wrong there."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def problems_in(
    error: ValidationError, schema: Callable[[], Mapping[str, Any]]
) -> tuple[Problem, ...]:
    """What pydantic found wrong; `schema`, the JSON Schema of the whole, is asked which names there are."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    unknown = [problem for problem in found if problem["type"] == "extra_forbidden"][
        :_MOST_LOOKED_FOR
    ]
    whole = schema() if unknown else {}
    known = {problem["loc"]: _names_at(whole, problem["loc"][:-1]) for problem in unknown}
    return tuple(
        Problem(
            problem["loc"], _unknown(problem["loc"], known.get(problem["loc"], ())), at_key=True
        )
        if problem["type"] == "extra_forbidden"
        else Problem(
            problem["loc"], _SAID.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        )
        for problem in found
    )


def unknown_rule(name: str, known: Sequence[str]) -> str:
    """That there is no rule of this name, and the one that was meant, or else all there are."""
    return f"no rule is called {shown(name)}" + (
        meant(name, known) or f"; rules are {', '.join(sorted(known))}"
    )


def shown(step: str | int) -> str:
    """A name as it may stand in a message: on one line, and not long."""
    return printable(str(step), _LONGEST_NAME)


def _unknown(place: Path, known: Sequence[str]) -> str:
    name = str(place[-1])
    if place[:-1] == ("rules",):
        return unknown_rule(name, known)
    return "there is no such field" + meant(name, known)


def meant(name: str, known: Sequence[str]) -> str:
    """The known name that is nearest, as the end of a sentence; empty where none is near."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _names_at(schema: Mapping[str, Any], place: Path) -> Sequence[str]:
    """The fields there are in the mapping at `place`."""
    part = schema
    for step in place:
        part = (
            part.get("items", {})
            if isinstance(step, int)
            else part.get("properties", {}).get(step, {})
        )
        if "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return tuple(part.get("properties", ()))
