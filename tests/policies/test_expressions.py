"""The administrator's own rules: CEL in the policy file, enforced like any other rule."""

from typing import Any

import pytest

from policies.config import Policy
from policies.problems import PolicyError
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, request

TEAM: Object = {
    "id": "own-team",
    "kinds": ["RayCluster"],
    "expression": "has(object.metadata.labels) && 'team' in object.metadata.labels",
    "message": "the object has no team label",
    "remediation": "set metadata.labels.team",
}
LABELED = {"/metadata/labels": {"team": "vision"}}


def policy(*rules: Object, **parts: Any) -> Object:
    return {"expressions": list(rules), **parts}


def verdict(
    document: Object,
    rules: Object,
    operation: str = "CREATE",
    old: Object | None = None,
    **fields: Any,
) -> Any:
    return factory.reviewer(rules).verdict(request(document, operation, old, **fields))


def denials(result: Any) -> list[str]:
    assert result.failed == ()
    return [
        f"{violation.rule}: {violation.message}"
        for violation in result.denied
        if violation.rule.startswith("own-")
    ]


def test_it_is_refused_like_any_other_rule() -> None:
    bare = factory.ray_cluster()
    denied = map(str, verdict(bare, policy(TEAM)).denied)
    message = "own-team: the object has no team label. Fix: set metadata.labels.team"
    assert message in denied
    assert denials(verdict(changed(bare, LABELED), policy(TEAM))) == []


def test_it_checks_only_the_kinds_it_names() -> None:
    assert denials(verdict(factory.ray_job(), policy(TEAM))) == []
    everywhere = {**TEAM, "kinds": []}
    for make in (
        factory.ray_job,
        factory.head_pod,
        related_objects.service,
        related_objects.ingress,
    ):
        document = changed(make(), {"/metadata/labels/team": None})
        expected = ["own-team: the object has no team label"]
        assert denials(verdict(document, policy(everywhere))) == expected


@pytest.mark.parametrize(
    ("settings", "effect"),
    [
        ({}, "denied"),
        ({"mode": "warn"}, "warned"),
        ({"mode": "audit"}, "audited"),
        ({"mode": "off"}, ""),
        ({"mode": False}, ""),
        ({"profile": "restricted"}, "warned"),
    ],
)
def test_profile_and_mode(settings: Object, effect: str) -> None:
    result = verdict(factory.ray_cluster(), policy({**TEAM, **settings}))
    effects = [
        name
        for name in ("denied", "warned", "audited")
        for violation in getattr(result, name)
        if violation.rule == "own-team"
    ]
    assert effects[:1] == ([effect] if effect else [])


def test_a_stored_violation_only_warns() -> None:
    old = factory.ray_cluster()
    scaled = changed(old, {"/spec/workerGroupSpecs/0/replicas": 3})
    result = verdict(scaled, policy(TEAM), "UPDATE", old)
    assert denials(result) == []
    assert "own-team" in [violation.rule for violation in result.warned]
    label_removed = verdict(old, policy(TEAM), "UPDATE", changed(old, LABELED))
    assert denials(label_removed) == ["own-team: the object has no team label"]


def test_a_rule_about_the_change_can_deny_an_update() -> None:
    frozen = {
        **TEAM,
        "expression": "oldObject == null || object.spec.rayVersion == oldObject.spec.rayVersion",
    }
    old = factory.ray_cluster()
    assert denials(verdict(old, policy(frozen))) == []
    new = changed(old, {"/spec/rayVersion": "2.56.0"})
    update = verdict(new, policy(frozen), "UPDATE", old)
    assert denials(update) == ["own-team: the object has no team label"]


def test_it_can_read_the_request_and_the_namespace() -> None:
    of_team = {
        **TEAM,
        "expression": "request.userInfo.groups.exists("
        "g, g == 'team-' + namespaceObject.metadata.labels['team'])",
    }
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "team-a", "labels": {"team": "vision"}},
    }
    reviewer = factory.reviewer(policy(of_team), namespace)
    for groups, expected in (
        (["team-vision"], []),
        (["team-audio"], ["own-team: the object has no team label"]),
    ):
        assert denials(reviewer.verdict(request(factory.ray_cluster(), groups=groups))) == expected


def test_it_denies_if_the_expression_fails_and_says_why() -> None:
    careless = {**TEAM, "expression": "object.metadata.labels.team == 'vision'"}
    (denial,) = denials(verdict(factory.ray_job(), policy({**careless, "kinds": []})))
    assert denial.startswith(
        "own-team: the object has no team label (the expression could not be evaluated: "
    )


def test_an_expression_can_give_the_message() -> None:
    speaking = {**TEAM, "messageExpression": "'cluster ' + object.metadata.name + ' has no team'"}
    assert denials(verdict(factory.ray_cluster(), policy(speaking))) == [
        "own-team: cluster demo has no team"
    ]
    failing = {**TEAM, "messageExpression": "string(object.metadata.nothing)"}
    assert denials(verdict(factory.ray_cluster(), policy(failing))) == [
        "own-team: the object has no team label"
    ]


def test_exemptions_apply_to_it() -> None:
    exempt = {"rules": ["own-team"], "namespaces": ["team-a"], "reason": "being renamed"}
    assert denials(verdict(factory.ray_cluster(), policy(TEAM, exemptions=[exempt]))) == []


def test_it_does_not_search_long_strings_for_long_strings() -> None:
    image = "object.spec.headGroupSpec.template.spec.containers[0].image"
    search = {**TEAM, "expression": f"!{image}.contains(object.spec.rayVersion)"}
    ray = "/spec/headGroupSpec/template/spec/containers/0/image"
    long = changed(
        factory.ray_cluster(), {ray: "a" * 600_000, "/spec/rayVersion": "a" * 300_000 + "b"}
    )
    (denial,) = denials(verdict(long, policy(search)))
    assert "over the cost bound" in denial


def test_a_huge_object_is_refused_at_little_cost() -> None:
    every = {**TEAM, "expression": "object.spec.list.all(a, object.spec.list.all(b, a != b + 1))"}
    huge = factory.ray_cluster(list=list(range(40_000)))
    (denial,) = denials(verdict(huge, policy(every)))
    assert "over the cost bound" in denial


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ({"id": "team"}, "expressions.0.id", "pattern"),
        (
            {"expression": "object.spec.("},
            "expressions.0.expression",
            "not a valid CEL expression: line 1, column",
        ),
        ({"expression": "'yes'"}, "expressions.0.expression", "must be of type BOOL"),
        (
            {"messageExpression": "true"},
            "expressions.0.messageExpression",
            "must be of type STRING",
        ),
        ({"message": ""}, "expressions.0.message", "at least 1 character"),
        ({"profile": "strict"}, "expressions.0.profile", "Input should be"),
    ],
)
def test_an_invalid_rule_is_refused_with_its_place(
    change: Object, place: str, message: str
) -> None:
    with pytest.raises(PolicyError) as refused:
        Policy.parse(policy({**TEAM, **change}))
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{place}: ") and message in line


def test_ids_are_unique_and_exemptions_name_existing_rules() -> None:
    with pytest.raises(PolicyError) as refused:
        Policy.parse(policy(TEAM, TEAM, exemptions=[{"rules": ["own-taem"], "reason": "a"}]))
    assert str(refused.value).splitlines() == [
        "expressions.1.id: own-team is defined twice",
        "exemptions.0.rules.0: no rule is called own-taem; did you mean own-team?",
    ]
