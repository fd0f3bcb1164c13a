"""The Dockerfile and `.dockerignore`, read as a builder reads them."""

import io
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Template

from dockerfile_parse import DockerfileParser

from tests.support.paths import REPOSITORY


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction and all that stands after it, on one line."""

    instruction: str
    value: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.value)

    def pairs(self, known: Mapping[str, str]) -> dict[str, str]:
        """The `NAME=VALUE` of an ENV, ARG or LABEL; `$NAME` in them as `known` has it."""
        halves = (word.partition("=") for word in self.words)
        return {name: Template(value).safe_substitute(known) for name, _, value in halves}


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    steps: tuple[Step, ...]

    def all(self, instruction: str) -> list[Step]:
        return [step for step in self.steps if step.instruction == instruction]

    def last(self, instruction: str) -> Step:
        """The one that holds; raises IndexError where there is none."""
        return self.all(instruction)[-1]


def stages() -> list[Stage]:
    """The stages of our Dockerfile, in its order."""
    parser = DockerfileParser(fileobj=io.BytesIO((REPOSITORY / "Dockerfile").read_bytes()))
    steps = [
        Step(one["instruction"], one["value"])
        for one in parser.structure
        if one["instruction"] != "COMMENT"
    ]
    begins = [number for number, step in enumerate(steps) if step.instruction == "FROM"]
    return [
        _stage(steps[begin:end])
        for begin, end in zip(begins, [*begins[1:], len(steps)], strict=True)
    ]


def context() -> Iterator[str]:
    """The path of every file a builder gets to see; of the lines of `.dockerignore` that fit, the last decides."""
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line]
    patterns = [(line.startswith("!"), _pattern(line.removeprefix("!"))) for line in lines]
    for folder, folders, files in os.walk(REPOSITORY):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (os.path.relpath(os.path.join(folder, name), REPOSITORY) for name in sorted(files))
        yield from (
            path
            for path in paths
            if [True, *(seen for seen, one in patterns if one.fullmatch(path))][-1]
        )


def _pattern(text: str) -> re.Pattern[str]:
    """What a pattern fits: itself, from the top of the repository, and all that is below."""
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", ".": r"\."}
    return re.compile(re.sub(r"\*\*/|\*\*|[*?.]", lambda found: wild[found[0]], text) + "(?:/.*)?")


def _stage(steps: list[Step]) -> Stage:
    base, *alias = steps[0].words
    return Stage(base, alias[1] if alias else "", tuple(steps[1:]))
