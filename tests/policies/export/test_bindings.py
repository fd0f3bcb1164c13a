"""Where an exported rule denies, warns or goes into the audit log."""

from typing import Any

import pytest

from policies.config import Policy
from policies.export.mutation import mutating_policies
from policies.export.table import coverage
from policies.registry import MUTATION_IDS, RULE_IDS
from tests.policies.export.fixtures import exported
from tests.support.factory import Object

_BASELINE, _RESTRICTED = "raywarden-no-host-path", "raywarden-no-root"
_EXISTS = {"key": "raywarden.io/enforce", "operator": "Exists"}


def bindings(name: str, policy: Object | None = None) -> dict[str, list[dict[str, Any]]]:
    """The label expressions of namespaces by action, for one policy."""
    result = {}
    for document in exported(Policy.parse(policy)):
        spec = document["spec"]
        if spec.get("policyName") == name:
            action = "+".join(spec["validationActions"])
            selector = spec.get("matchResources", {}).get("namespaceSelector", {})
            result[action] = selector.get("matchExpressions", [])
    return result


def _enforce(operator: str, *values: str) -> dict[str, Any]:
    return {"key": "raywarden.io/enforce", "operator": operator, "values": list(values)}


def test_what_is_denied_everywhere_does_not_warn() -> None:
    assert bindings(_BASELINE) == {"Deny+Audit": []}


def test_a_namespace_chooses_a_stricter_profile() -> None:
    assert bindings(_RESTRICTED) == {
        "Deny+Audit": [_EXISTS, _enforce("NotIn", "privileged", "baseline")],
        "Warn+Audit": [_enforce("NotIn", "restricted")],
    }


def test_a_namespace_may_choose_a_weaker_profile_where_that_is_allowed() -> None:
    denied = bindings(_BASELINE, {"namespacesMayLoosen": True})["Deny"]
    assert denied == [_enforce("NotIn", "privileged")]


@pytest.mark.parametrize(("mode", "action"), [("warn", "Warn"), ("audit", "Audit")])
def test_a_mode_of_the_rule_takes_precedence(mode: str, action: str) -> None:
    policy = {"rules": {"no-host-path": {"mode": mode}}}
    assert bindings(_BASELINE, policy) == {action: []}


def test_a_rule_that_is_off_is_not_exported() -> None:
    policy = Policy.parse({"rules": {"no-host-path": {"mode": "off"}}})
    assert _BASELINE not in {document["metadata"]["name"] for document in exported(policy)}


def test_every_rule_and_mutation_is_in_the_table() -> None:
    rows = [line.split(" | ")[0].removeprefix("| ") for line in coverage().splitlines()]
    names = [*RULE_IDS, *MUTATION_IDS]
    assert [row for row in rows if row in names] == names
    answers = [line for line in coverage().splitlines() if line.endswith("| yes |")]
    policies = {document["metadata"]["name"] for document in exported(Policy.parse(None))}
    for line in answers:
        assert f"raywarden-{line.split(' | ')[0].removeprefix('| ')}" in policies


@pytest.mark.parametrize(
    ("inject", "names"),
    [
        ({}, ["raywarden-service-type", "raywarden-token-automount"]),
        ({"auth": "kubernetes"}, ["raywarden-service-type"]),
        ({"rayCluster": "marker"}, []),
    ],
)
def test_mutations_are_those_of_the_policy_file(inject: Object, names: list[str]) -> None:
    documents = mutating_policies(Policy.parse({"inject": inject}))
    policies = [document for document in documents if document["kind"] == "MutatingAdmissionPolicy"]
    assert [document["metadata"]["name"] for document in policies] == names
