"""Finds test files and parses them; a report has a line for each problem, with its position."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from policies.config import Policy
from policies.documents.untrusted_yaml import Positioned, UntrustedYamlError
from policies.problems import Path as Place
from policies.problems import PolicyError, Problem, problems_in
from webhook.policy.file import load_policy
from webhook.policy.yaml_file import only_document, problem_line, problem_lines, read_bounded
from webhook.policy_tests.cases import PolicyTest
from webhook.policy_tests.sources import TEST_FILES, Sources, UnreadableSourceError
from webhook.settings import SetupError

NAME = TEST_FILES[0]
# Thousands of cases; reading this much takes seconds.
_MAX_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class LoadedTest:
    """A test file, parsed, and its policy. `content` is what was read."""

    file: Path
    content: bytes = field(repr=False)
    document: Positioned = field(repr=False)
    test: PolicyTest
    policy: Policy

    def line(self, place: Place, message: str) -> str:
        """A problem at a place of the file."""
        return problem_lines(self.file, self.document, PolicyError(Problem(place, message)))[0]

    def line_of(self, case: int) -> int:
        """The line on which a case begins."""
        return self.document.place(("cases", case)).line


def find(sources: Sequence[Path]) -> Iterator[Path]:
    """The test files below folders, and files that are named; raises SetupError.

    Hidden folders are left out, and symbolic links to folders are not followed.
    """
    for source in sources:
        if not source.is_dir():
            yield source
            continue
        found = sorted(_below(source))
        if not found:
            raise SetupError(f"{source}: there is no {NAME} in this folder or below it")
        yield from found


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if name.endswith(TEST_FILES))


def parse(file: Path, sources: Sources) -> LoadedTest:
    """The test file with its policy; raises SetupError with a line for each problem."""
    content = read_bounded(file, _MAX_BYTES)
    try:
        document = only_document(content, "test file")
    except UntrustedYamlError as error:
        raise SetupError(problem_line(file, error.place, error.message)) from None
    try:
        test = _test(document.value)
        policy = _policy(file, test.policy, sources)
    except PolicyError as error:
        raise SetupError("\n".join(problem_lines(file, document, error))) from None
    return LoadedTest(file, content, document, test, policy)


def _test(document: Any) -> PolicyTest:
    """The file's model, validated as strictly as its JSON Schema; raises PolicyError."""
    content = json.dumps({} if document is None else document)
    try:
        test = PolicyTest.model_validate_json(content, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise PolicyError(*problems_in(error, PolicyTest.model_json_schema)) from None
    names: set[str] = set()
    problems = []
    for index, case in enumerate(test.cases):
        if case.name in names:
            problems.append(Problem(("cases", index, "name"), "another case has this name"))
        names.add(case.name)
    if problems:
        raise PolicyError(*problems)
    return test


def _policy(file: Path, source: Any, sources: Sources) -> Policy:
    """The policy that a test file names or contains; raises PolicyError and SetupError."""
    if source is None:
        return load_policy(None)
    if isinstance(source, str):
        try:
            path = sources.path(file, source)
        except UnreadableSourceError as error:
            raise PolicyError(Problem(("policy",), str(error))) from None
        return load_policy(path)
    try:
        return Policy.parse(source)
    except PolicyError as error:
        inside = [
            Problem(("policy", *problem.place), problem.message, problem.at_key)
            for problem in error.problems
        ]
        raise PolicyError(*inside) from None
