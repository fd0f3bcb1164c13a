"""Remediations are carried out literally, and the rule then accepts the object.

Their grammar is `set NAME: VALUE`, `set NAME: VALUE instead of OLD`, `remove NAME` and `remove NAME
from LIST`.
Other remediations leave a choice to the author, and no test can carry them out.
"""

import copy
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.model import Violation
from policies.registry import RULES
from tests.policies.rules.test_rules import ALL, admitted, load
from tests.support import factory

_REMOVE = re.compile(r"remove ([^\s,;]+)(?: from \w+)?(?:$|[,;] )")
_FLOW = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|\[[^\[\]]*\]"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_SET = re.compile(
    rf"set (?P<name>[\w./-]+): (?P<value>{_FLOW}|{_QUOTED}|[^\s,;]+)"
    r"(?:.* instead of (?P<old>\w+))?"
)
# All remediations of these rules leave a choice to the author: a name, a version or a cluster.
_NOT_LITERAL = frozenset(
    [
        "namespace-quota",
        "one-job-one-cluster",
        "ray-version-floor",
        "trusted-images",
    ]
)

Tokens = tuple[str, ...]
# Where to change the document, and the new value with the member it replaces; None to remove.
Edit = tuple[Tokens, tuple[Any, str | None] | None]


def parse_edit(violation: Violation, document: factory.Object) -> Edit | None:
    """The change of `document` that a remediation asks for; None if it leaves a choice."""
    path = tuple(str(token) for token in violation.pointer)
    if removal := _REMOVE.match(violation.remediation):
        return _removal(removal[1], path, document)
    if setting := _SET.match(violation.remediation):
        name, old = setting["name"], setting["old"]
        parent = _parent_of(path, name, old)
        if old and read(document, (*parent, old)) is None:
            return None
        return (*parent, name), (yaml.safe_load(setting["value"]), old)
    return None


def _parent_of(path: Tokens, name: str, old: str | None) -> Tokens:
    """The place of the object to change: the one on the path that has the member, or the path."""
    for index, token in enumerate(path):
        if token in (name, old):
            return path[:index]
    return path


def _removal(name: str, path: Tokens, document: factory.Object) -> Edit | None:
    existing = read(document, path)
    is_entry = isinstance(existing, dict) and existing.get("name") == name
    if path[-1:] == (name,) or existing == name or is_entry:
        return path, None
    annotations = read(document, ("metadata", "annotations")) or {}
    return (("metadata", "annotations", name), None) if name in annotations else None


def read(document: Any, path: Sequence[str]) -> Any:
    for token in path:
        if isinstance(document, list):
            document = document[int(token)]
        else:
            document = document.get(token) if isinstance(document, dict) else None
    return document


def edited(document: factory.Object, edits: Sequence[Edit]) -> factory.Object:
    """A copy with all edits made: first the new values, then the removals from the end of lists."""
    result = copy.deepcopy(document)
    for path, setting in edits:
        if setting is not None:
            value, old = setting
            node = make(result, path[:-1])
            node[path[-1]] = value
            node.pop(old, None)
    removals = {path for path, setting in edits if setting is None}
    for path in sorted(removals, key=order, reverse=True):
        node = read(result, path[:-1])
        del node[int(path[-1]) if isinstance(node, list) else path[-1]]
    return result


def order(path: Tokens) -> list[tuple[int, str]]:
    return [(int(token), "") if token.isdigit() else (-1, token) for token in path]


def make(document: Any, path: Sequence[str]) -> Any:
    for token in path:
        if isinstance(document, list):
            document = document[int(token)]
        else:
            document = document.setdefault(token, {})
    return document


def literal_edits(
    rule: str, violations: Iterable[Violation], stored: factory.Object
) -> list[Edit] | None:
    """The changes of `stored` that the rule asks for; None if one leaves a choice."""
    own = [violation for violation in violations if violation.rule == rule]
    edits = [parse_edit(violation, stored) for violation in own]
    literal = [edit for edit in edits if edit is not None]
    return None if len(literal) < len(own) else literal


def violations_after_fixes(file: Path) -> list[Violation] | None:
    """What a fixture's rule reports once its remediations are done; None if one is not literal."""
    rule = file.parent.parent.name
    document, admit = admitted(load(file))
    stored, verdict = admit(document)
    edits = literal_edits(rule, verdict.denied, stored)
    if edits is None:
        return None
    _, verdict = admit(edited(stored, edits))
    return [violation for violation in verdict.denied if violation.rule == rule]


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_the_remediations_are_enough(rule: str) -> None:
    files = [file for file in ALL if file.match(f"{rule}/denied/*.yaml")]
    remaining = {file.stem: violations_after_fixes(file) for file in files}
    assert {name: violations for name, violations in remaining.items() if violations} == {}
    none_is_literal = all(violations is None for violations in remaining.values())
    assert none_is_literal is (rule in _NOT_LITERAL)
