"""The fixtures of every rule as the cases of test files: the runner decides as the webhook does.

`tests/policies/rules/test_rules.py` stays beside it, because its harness also admits objects that
other tests derive from the fixtures, and checks that the API server would send them.
"""

from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from policies.config import Policy
from policies.registry import RULES
from tests.policies.rules.test_rules import ALL, BASES, ONLY_WARNING, Fixture, admitted, load
from tests.support import factory
from webhook.admission.reviewer import Reviewer
from webhook.policy_tests.files import NAME, parse
from webhook.policy_tests.run import Runner
from webhook.policy_tests.sources import Sources
from webhook.ports import NamespaceStates


def new_reviewer(policy: Policy, states: NamespaceStates, today: date | None) -> Reviewer:
    return Reviewer(lambda: policy, lambda: factory.SIGNER, states, lambda: today or date.max)


def shared(fixture: Fixture) -> dict[str, Any]:
    """What all cases of one test file have in common."""
    known = {"cluster": factory.namespace_objects(), "clusterIsComplete": True}
    return {
        "kind": "PolicyTest",
        "policy": {"profiles": {"enforce": fixture.enforce}, **fixture.policy},
        "today": factory.TODAY,
        **({} if fixture.unknown_cluster else known),
    }


def case_of(file: Path, fixture: Fixture) -> dict[str, Any]:
    rule, kind = file.parent.parent.name, file.parent.name
    document = factory.changed(BASES[fixture.base](), fixture.change)
    user = factory.request(document, user=fixture.user).user_info.username
    case = {
        "name": f"{kind}/{file.stem}",
        "objects": [document],
        "user": user,
        "groups": list(fixture.groups),
        "namespace": "team-a",
        "derived": False,
        "cluster": list(fixture.related_objects),
    }
    if fixture.before is not None:
        case["oldObjects"] = [factory.changed(BASES[fixture.base](), fixture.before)]
        # The stored object has RayWarden's defaults, and so has the one that replaces it.
        case["objects"] = [admitted(fixture)[0]]
    return {**case, "expect": expectation(rule, kind, fixture)}


def expectation(rule: str, kind: str, fixture: Fixture) -> dict[str, Any]:
    if kind == "allowed":
        # Some have nothing to do with Ray: their verdict is `ignored`.
        expected: dict[str, Any] = {"denies": []}
        if fixture.warns:
            return {**expected, "messages": [fixture.warns]}
        return {**expected, "warns": []}
    messages = [fixture.message]
    if rule in ONLY_WARNING:
        denies = sorted(fixture.also_denied_by)
        return {"denies": denies, "contains": {"warns": [rule]}, "messages": messages}
    denies = sorted({rule, *fixture.also_denied_by})
    return {"verdict": "denied", "denies": denies, "messages": messages}


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_the_fixtures_of_a_rule_pass(rule: str, tmp_path: Path) -> None:
    tests: dict[bytes, list[dict[str, Any]]] = defaultdict(list)
    for file in ALL:
        if file.parent.parent.name == rule:
            fixture = load(file)
            tests[orjson.dumps(shared(fixture))].append(case_of(file, fixture))
    sources = Sources(tmp_path)
    runner = Runner(new_reviewer, sources)
    wrong: list[tuple[str, tuple[str, ...], str]] = []
    for number, (content, cases) in enumerate(tests.items()):
        path = tmp_path / f"{number}-{NAME}"
        path.write_bytes(orjson.dumps({**orjson.loads(content), "cases": cases}))
        for case in runner.run(parse(path, sources)):
            if case.result.status != "passed":
                wrong.append((case.result.name, case.result.diff, case.result.problem))
    assert wrong == []
