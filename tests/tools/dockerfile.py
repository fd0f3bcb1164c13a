"""Reads the Dockerfile and `.dockerignore` as a builder does."""

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
    """An instruction and its arguments, on one line."""

    instruction: str
    value: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.value)

    def pairs(self, known: Mapping[str, str]) -> dict[str, str]:
        """The `NAME=VALUE` pairs of an ENV, ARG or LABEL; `known` replaces `$NAME` in values."""
        halves = (word.partition("=") for word in self.words)
        return {name: Template(value).safe_substitute(known) for name, _, value in halves}


@dataclass(frozen=True, slots=True)
class Stage:
    """A build stage: from one FROM to the next."""

    base: str
    name: str
    steps: tuple[Step, ...]

    def all(self, instruction: str) -> list[Step]:
        return [step for step in self.steps if step.instruction == instruction]

    def last(self, instruction: str) -> Step:
        """The last step with this instruction, which overrides earlier ones; or IndexError."""
        return self.all(instruction)[-1]


def stages() -> list[Stage]:
    """The stages of the Dockerfile, in order."""
    parser = DockerfileParser(fileobj=io.BytesIO((REPOSITORY / "Dockerfile").read_bytes()))
    steps = [
        Step(parsed["instruction"], parsed["value"])
        for parsed in parser.structure
        if parsed["instruction"] != "COMMENT"
    ]
    starts = [number for number, step in enumerate(steps) if step.instruction == "FROM"]
    ends = [*starts[1:], len(steps)]
    return [_stage(steps[start:end]) for start, end in zip(starts, ends, strict=True)]


def context() -> Iterator[str]:
    """The path of every file that `.dockerignore` leaves in the build context."""
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line]
    patterns = [(line.startswith("!"), _pattern(line.removeprefix("!"))) for line in lines]
    for folder, folders, files in os.walk(REPOSITORY):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (os.path.relpath(os.path.join(folder, name), REPOSITORY) for name in sorted(files))
        yield from (path for path in paths if _is_included(path, patterns))


def _is_included(path: str, patterns: list[tuple[bool, re.Pattern[str]]]) -> bool:
    """Whether a path is in the build context: of the patterns that match, the last one decides."""
    included = True
    for includes, pattern in patterns:
        if pattern.fullmatch(path):
            included = includes
    return included


def _pattern(text: str) -> re.Pattern[str]:
    """A line of `.dockerignore` matches a path from the top of the repository and all below it."""
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", ".": r"\."}
    expression = re.sub(r"\*\*/|\*\*|[*?.]", lambda match: wild[match[0]], text)
    return re.compile(expression + "(?:/.*)?")


def _stage(steps: list[Step]) -> Stage:
    base, *alias = steps[0].words
    return Stage(base, alias[1] if alias else "", tuple(steps[1:]))
