"""What a message says to write is written, to the letter, and the object sent again: the rule is content."""

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.model import Violation
from policies.registry import RULES
from tests.policies.rules.test_rules import ALL, admitted, load
from tests.support import factory

_DELETE = re.compile(r"delete ([^\s,;]+)(?: from \w+)?(?:$|[,;] )")
_FLOW = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|\[[^\[\]]*\]"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_WRITE = re.compile(
    rf"write (?P<key>[\w./-]+): (?P<value>{_FLOW}|{_QUOTED}|[^\s,;]+)(?:.* in place of (?P<old>\w+))?"
)
# Rules whose every fix leaves the author something to find out: a name, a version, a cluster.
_TAKE_UNDERSTANDING = frozenset(
    [
        "namespace-quota",
        "one-job-one-cluster",
        "operator-made-pods",
        "ray-version-floor",
        "trusted-images",
    ]
)

Way = tuple[str, ...]
# Where to write, and what; None to delete.
Edit = tuple[Way, Any]


def edit(violation: Violation, document: factory.Object) -> Edit | None:
    """What the first words of a fix ask for, as a change of `document`; None where they leave a choice."""
    way = tuple(str(token) for token in violation.pointer)
    if found := _DELETE.match(violation.remediation):
        return _deletion(found[1], way, document)
    if found := _WRITE.match(violation.remediation):
        place = next(
            (
                way[:index]
                for index, token in enumerate(way)
                if token in (found["key"], found["old"])
            ),
            way,
        )
        if found["old"] and read(document, (*place, found["old"])) is None:
            return None
        return (*place, found["key"]), (yaml.safe_load(found["value"]), found["old"])
    return None


def _deletion(name: str, way: Way, document: factory.Object) -> Edit | None:
    there = read(document, way)
    if (
        way[-1:] == (name,)
        or there == name
        or (isinstance(there, dict) and there.get("name") == name)
    ):
        return way, None
    annotated = name in (read(document, ("metadata", "annotations")) or {})
    return (("metadata", "annotations", name), None) if annotated else None


def read(document: Any, way: Sequence[str]) -> Any:
    for token in way:
        if isinstance(document, list):
            document = document[int(token)]
        else:
            document = document.get(token) if isinstance(document, dict) else None
    return document


def edited(document: factory.Object, edits: Sequence[Edit]) -> factory.Object:
    """A copy with all edits made: what is written first, then what is deleted, from the end of each list."""
    result = copy.deepcopy(document)
    for way, written in edits:
        if written is not None:
            value, old = written
            node = make(result, way[:-1])
            node[way[-1]] = value
            node.pop(old, None)
    for way in sorted({way for way, written in edits if written is None}, key=order, reverse=True):
        node = read(result, way[:-1])
        del node[int(way[-1]) if isinstance(node, list) else way[-1]]
    return result


def order(way: Way) -> list[tuple[int, str]]:
    return [(int(token), "") if token.isdigit() else (-1, token) for token in way]


def make(document: Any, way: Sequence[str]) -> Any:
    for token in way:
        document = (
            document[int(token)] if isinstance(document, list) else document.setdefault(token, {})
        )
    return document


def by_the_letter(file: Path) -> list[Violation] | None:
    """What the rule of a fixture says after all it said was done; None where that takes understanding."""
    rule = file.parent.parent.name
    document, admit = admitted(load(file))
    stored, verdict = admit(document)
    said = [violation for violation in verdict.denied if violation.rule == rule]
    edits = [found for violation in said if (found := edit(violation, stored))]
    if len(edits) < len(said):
        return None
    _, verdict = admit(edited(stored, edits))
    return [violation for violation in verdict.denied if violation.rule == rule]


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_what_the_fixes_say_is_enough(rule: str) -> None:
    done = {file.stem: by_the_letter(file) for file in ALL if file.match(f"{rule}/denied/*.yaml")}
    assert {name: left for name, left in done.items() if left} == {}
    assert all(left is None for left in done.values()) is (rule in _TAKE_UNDERSTANDING)
