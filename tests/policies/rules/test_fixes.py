"""Remediations are carried out literally, and the rule then accepts the object.

The grammar is that of `policies.remedies.grammar`. Other remediations leave a choice to the author,
and no test can carry them out.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest

from policies.model import Violation
from policies.registry import RULES
from policies.remedies.edits import Create, Edit, carried_out
from policies.remedies.grammar import remedy_of
from tests.policies.rules.test_rules import ALL, admitted, load
from tests.support import factory

# No remediation of these rules changes the object: they leave a name, a version or a cluster to
# the author, or create another object.
_NOT_LITERAL = frozenset(
    [
        "namespace-quota",
        "one-job-one-cluster",
        "ray-version-floor",
        "trusted-images",
    ]
)


def literal_edits(
    rule: str, violations: Iterable[Violation], stored: factory.Object
) -> list[Edit] | None:
    """The changes of `stored` that the rule asks for; None if one leaves a choice."""
    edits: list[Edit] = []
    for violation in violations:
        if violation.rule != rule:
            continue
        remedy = remedy_of(violation, stored)
        own = [edit for edit in remedy.edits if not isinstance(edit, Create)]
        if not own:
            return None
        edits += own
    return edits


def violations_after_fixes(file: Path) -> list[Violation] | None:
    """What a fixture's rule reports once its remediations are done; None if one is not literal."""
    rule = file.parent.parent.name
    document, admit = admitted(load(file))
    stored, verdict = admit(document)
    edits = literal_edits(rule, verdict.denied, stored)
    if edits is None:
        return None
    _, verdict = admit(carried_out(stored, edits))
    return [violation for violation in verdict.denied if violation.rule == rule]


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_the_remediations_are_enough(rule: str) -> None:
    files = [file for file in ALL if file.match(f"{rule}/denied/*.yaml")]
    remaining = {file.stem: violations_after_fixes(file) for file in files}
    assert {name: violations for name, violations in remaining.items() if violations} == {}
    none_is_literal = all(violations is None for violations in remaining.values())
    assert none_is_literal is (rule in _NOT_LITERAL)
