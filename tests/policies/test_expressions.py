"""Rules of the administrator's own: CEL in the policy file, held like any other rule."""

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
    "message": "no team is named",
    "remediation": "write metadata.labels.team",
}
NAMED = {"/metadata/labels": {"team": "vision"}}


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


def said(found: Any) -> list[str]:
    assert found.failed == ()
    return [
        f"{violation.rule}: {violation.message}"
        for violation in found.denied
        if violation.rule.startswith("own-")
    ]


def test_it_is_refused_like_any_other_rule() -> None:
    bare = factory.ray_cluster()
    found = verdict(bare, policy(TEAM))
    assert "own-team: no team is named. Fix: write metadata.labels.team" in map(str, found.denied)
    assert said(verdict(changed(bare, NAMED), policy(TEAM))) == []


def test_only_for_the_kinds_it_names() -> None:
    assert said(verdict(factory.ray_job(), policy(TEAM))) == []
    everywhere = {**TEAM, "kinds": []}
    for make in (
        factory.ray_job,
        factory.head_pod,
        related_objects.service,
        related_objects.ingress,
    ):
        assert said(
            verdict(changed(make(), {"/metadata/labels/team": None}), policy(everywhere))
        ) == ["own-team: no team is named"]


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({}, "denied"),
        ({"mode": "warn"}, "warned"),
        ({"mode": "audit"}, "audited"),
        ({"mode": "off"}, ""),
        ({"mode": False}, ""),
        ({"profile": "restricted"}, "warned"),
    ],
)
def test_profile_and_mode(settings: Object, where: str) -> None:
    found = verdict(factory.ray_cluster(), policy({**TEAM, **settings}))
    places = [
        name
        for name in ("denied", "warned", "audited")
        for one in getattr(found, name)
        if one.rule == "own-team"
    ]
    assert places[:1] == ([where] if where else [])


def test_what_was_so_already_is_only_warned_about() -> None:
    old = factory.ray_cluster()
    scaled = changed(old, {"/spec/workerGroupSpecs/0/replicas": 3})
    found = verdict(scaled, policy(TEAM), "UPDATE", old)
    assert said(found) == [] and "own-team" in [violation.rule for violation in found.warned]
    assert said(verdict(old, policy(TEAM), "UPDATE", changed(old, NAMED))) == [
        "own-team: no team is named"
    ]


def test_a_rule_about_the_change_is_held_whatever_was_stored() -> None:
    frozen = {
        **TEAM,
        "expression": "oldObject == null || object.spec.rayVersion == oldObject.spec.rayVersion",
    }
    old = factory.ray_cluster()
    assert said(verdict(old, policy(frozen))) == []
    assert said(
        verdict(changed(old, {"/spec/rayVersion": "2.56.0"}), policy(frozen), "UPDATE", old)
    ) == ["own-team: no team is named"]


def test_the_request_and_the_namespace_can_be_asked() -> None:
    of_team = {
        **TEAM,
        "expression": "request.userInfo.groups.exists(g, g == 'team-' + namespaceObject.metadata.labels['team'])",
    }
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "team-a", "labels": {"team": "vision"}},
    }
    asked = factory.reviewer(policy(of_team), namespace)
    for groups, expected in (
        (["team-vision"], []),
        (["team-audio"], ["own-team: no team is named"]),
    ):
        assert said(asked.verdict(request(factory.ray_cluster(), groups=groups))) == expected


def test_without_an_answer_it_refuses_and_says_why() -> None:
    careless = {**TEAM, "expression": "object.metadata.labels.team == 'vision'"}
    (found,) = said(verdict(factory.ray_job(), policy({**careless, "kinds": []})))
    assert found.startswith("own-team: no team is named (the expression has no answer: ")


def test_a_message_of_the_objects_own() -> None:
    speaking = {**TEAM, "messageExpression": "'cluster ' + object.metadata.name + ' names no team'"}
    assert said(verdict(factory.ray_cluster(), policy(speaking))) == [
        "own-team: cluster demo names no team"
    ]
    mute = {**TEAM, "messageExpression": "string(object.metadata.nothing)"}
    assert said(verdict(factory.ray_cluster(), policy(mute))) == ["own-team: no team is named"]


def test_exemptions_cover_it() -> None:
    exempt = {"rules": ["own-team"], "namespaces": ["team-a"], "reason": "being renamed"}
    assert said(verdict(factory.ray_cluster(), policy(TEAM, exemptions=[exempt]))) == []


def test_long_texts_are_not_searched_for_long_texts() -> None:
    image = "object.spec.headGroupSpec.template.spec.containers[0].image"
    search = {**TEAM, "expression": f"!{image}.contains(object.spec.rayVersion)"}
    ray = "/spec/headGroupSpec/template/spec/containers/0/image"
    long = changed(
        factory.ray_cluster(), {ray: "a" * 600_000, "/spec/rayVersion": "a" * 300_000 + "b"}
    )
    (found,) = said(verdict(long, policy(search)))
    assert "over the cost bound" in found


def test_a_huge_object_is_refused_and_costs_little() -> None:
    every = {**TEAM, "expression": "object.spec.list.all(a, object.spec.list.all(b, a != b + 1))"}
    huge = factory.ray_cluster(list=list(range(40_000)))
    (found,) = said(verdict(huge, policy(every)))
    assert "over the cost bound" in found


@pytest.mark.parametrize(
    ("change", "place", "says"),
    [
        ({"id": "team"}, "expressions.0.id", "pattern"),
        (
            {"expression": "object.spec.("},
            "expressions.0.expression",
            "not CEL that can be used: line 1, column",
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
def test_a_wrong_one_is_refused_with_its_place(change: Object, place: str, says: str) -> None:
    with pytest.raises(PolicyError) as refused:
        Policy.parse(policy({**TEAM, **change}))
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{place}: ") and says in line


def test_ids_are_unique_and_exemptions_name_what_is_there() -> None:
    with pytest.raises(PolicyError) as refused:
        Policy.parse(policy(TEAM, TEAM, exemptions=[{"rules": ["own-taem"], "reason": "a"}]))
    assert str(refused.value).splitlines() == [
        "expressions.1.id: own-team stands twice",
        "exemptions.0.rules.0: no rule is called own-taem; did you mean own-team?",
    ]
