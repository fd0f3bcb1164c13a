"""An object that is too large to be checked in time is refused, at almost no cost."""

from typing import Any

import pytest

from policies.cluster.size import (
    MAX_CHARACTERS,
    MAX_CONTAINERS,
    MAX_GROUPS,
    MAX_RELATED_VALUES,
    MAX_VALUES,
)
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, request

_HEAD = "/spec/headGroupSpec/template/spec"


def with_groups(number: int) -> Object:
    group = factory.cluster_spec()["workerGroupSpecs"][0]
    return factory.ray_cluster(
        workerGroupSpecs=[{**group, "groupName": f"g{index}"} for index in range(number)]
    )


def with_containers(number: int) -> Object:
    return changed(factory.ray_cluster(), {f"{_HEAD}/initContainers": [{} for _ in range(number)]})


def with_variables(number: int) -> Object:
    env = [{"name": f"NAME_{index}", "value": "a"} for index in range(number)]
    return changed(factory.ray_cluster(), {f"{_HEAD}/containers/0/env": env})


def with_start_params(number: int) -> Object:
    return changed(
        factory.ray_cluster(),
        {"/spec/headGroupSpec/rayStartParams": {f"a{index}": "b" for index in range(number)}},
    )


def with_paths(number: int) -> Object:
    backend = {"backend": {"service": {"name": "demo-head-svc", "port": {"number": 8265}}}}
    return changed(related_objects.ingress(), {"/spec/rules/0/http/paths": [backend] * number})


def with_policy_groups(number: int) -> Object:
    return factory.ray_cluster(
        networkPolicy={"mode": "DenyAll", "workerGroups": [{} for _ in range(number)]}
    )


LARGE = {
    "worker groups": with_groups(MAX_GROUPS + 1),
    "containers": with_containers(MAX_CONTAINERS + 1),
    "values": with_variables(MAX_VALUES),
    "characters": changed(
        factory.ray_cluster(), {f"{_HEAD}/containers/0/name": "a" * MAX_CHARACTERS}
    ),
}


def test_groups_of_a_network_policy_count_as_worker_groups() -> None:
    document = with_policy_groups(MAX_GROUPS + 1)
    assert factory.reviewer().mutated(request(document)).operations == []
    assert (
        "too many worker groups" in factory.reviewer().validate(request(document)).response.message
    )


def test_long_names_are_clipped_in_messages() -> None:
    document = with_variables(0)
    ray = document["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    ray |= {
        "name": "a" * 1_000_000,
        "env": [{"name": f"RAYWARDEN_{index}", "value": "a"} for index in range(400)],
    }
    verdict = factory.reviewer().verdict(request(document))
    assert len(verdict.denied) > 400
    assert max(len(violation.message) for violation in verdict.denied) < 500


@pytest.mark.parametrize("too_many", sorted(LARGE))
def test_it_is_refused_in_any_profile(too_many: str) -> None:
    subject = factory.reviewer(
        {"profiles": {"enforce": "privileged", "warn": "privileged", "audit": "privileged"}}
    )
    document = LARGE[too_many]
    assert subject.mutated(request(document)).operations == []
    decision = subject.validate(request(document))
    assert not decision.response.allowed
    assert decision.response.message.startswith(
        f"size: the object has too many {too_many} to be checked. Fix: split the object"
    )


def test_the_author_is_warned_that_nothing_was_injected() -> None:
    decision = factory.reviewer().mutate(request(LARGE["worker groups"]))
    assert decision.response.warnings == [
        "RayWarden left this unchanged: it has too many worker groups"
    ]


def test_related_objects_may_be_larger() -> None:
    """These need not have anything to do with Ray, so a low limit would hurt other workloads."""
    decision = factory.reviewer().validate(request(with_paths(MAX_RELATED_VALUES // 5)))
    assert f"{MAX_RELATED_VALUES} values" in decision.response.message
    networks = [
        {"ipBlock": {"cidr": f"10.{index >> 8 & 255}.{index & 255}.0/24"}}
        for index in range(20_000)
    ]
    policy = changed(
        related_objects.network_policy(), {"/spec/podSelector": {"matchLabels": {"app": "web"}}}
    )
    assert (
        factory.reviewer()
        .validate(request(changed(policy, {"/spec/ingress/0/from": networks})))
        .response.allowed
    )


@pytest.mark.parametrize(
    "document",
    [
        with_groups(MAX_GROUPS),
        with_variables(MAX_VALUES // 4),
        with_start_params(1000),
        with_paths(500),
    ],
)
def test_objects_at_the_limits_are_checked(document: Any) -> None:
    subject = factory.reviewer()
    stored = dict(subject.mutated(request(document)).document)
    verdict = subject.verdict(request(stored))
    assert verdict.failed == () and "size" not in [violation.rule for violation in verdict.denied]


def test_a_stored_object_that_is_too_large_can_be_made_smaller() -> None:
    small = dict(factory.reviewer().mutated(request(factory.ray_cluster())).document)
    large = changed(
        small, {"/spec/workerGroupSpecs": with_groups(MAX_GROUPS + 1)["spec"]["workerGroupSpecs"]}
    )
    update = request(small, "UPDATE", large)
    assert factory.reviewer().verdict(update).denied == ()
