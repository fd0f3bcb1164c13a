"""Each exported rule gives the verdict of RayWarden, with its words, on all fixtures of all rules.

The API server's own evaluation is compared in `tests/apiserver/test_policy_export.py`.
"""

from pathlib import Path

import pytest

from policies.config import Policy
from policies.model import Profile
from tests.policies.export.fixtures import UNKNOWN, Judged, judging
from tests.policies.rules.test_rules import ALL
from tests.support.admission_policies import Evaluator

RULES = sorted({rule for rule, _, _ in judging(Policy.parse(None))})


@pytest.mark.parametrize("file", ALL, ids=lambda file: f"{file.parent.parent.name}/{file.stem}")
def test_cel_says_what_the_rules_say(file: Path) -> None:
    judged = Judged.of(file)
    evaluator = Evaluator(judged.variables)
    ours: dict[tuple[str, Profile], set[str]] = {}
    theirs: dict[tuple[str, Profile], set[str]] = {}
    for rule, level, document in judging(judged.policy):
        ours[rule, level] = judged.refused(rule, level)
        theirs[rule, level] = set(evaluator.added(document))
    if f"{file.parent.parent.name}/{file.stem}" in UNKNOWN:
        assert not any(theirs.values())
        assert any(ours.values())
    else:
        assert theirs == ours


def test_at_least_fifteen_rules_are_exported() -> None:
    assert len(RULES) >= 15
