"""The quota that `--fix=all` writes has room for the objects of its namespace."""

from typing import Any

import pytest

from policies.remedies.quota import missing_limits, needs, with_room
from tests.support import factory

HARD = {"cpu": "64", "memory": "256Gi", "pods": "100", "requests.nvidia.com/gpu": "8"}


def quota(**fields: Any) -> dict[str, Any]:
    return {"kind": "ResourceQuota", "spec": {"hard": HARD, **fields}}


def room_for(resources: Any, **group: Any) -> dict[str, str]:
    place = "/spec/workerGroupSpecs/0"
    changes = {f"{place}/{name}": value for name, value in group.items()}
    changes[f"{place}/template/spec/containers/0/resources"] = resources
    document = factory.changed(factory.ray_cluster(), changes)
    hard: dict[str, str] = with_room(quota(), needs([document]))["spec"]["hard"]
    return hard


def test_a_quota_that_has_room_stays() -> None:
    assert room_for({"limits": {"cpu": "1", "nvidia.com/gpu": 1}}, maxReplicas=2) == HARD


def test_every_limit_is_raised_to_what_all_replicas_ask_for() -> None:
    limits = {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "2"}
    hard = room_for({"limits": limits, "requests": {"cpu": "1500m"}}, maxReplicas=60, numOfHosts=2)
    head = factory.ray_cluster()["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    cpu, memory = head["resources"]["limits"]["cpu"], head["resources"]["limits"]["memory"]
    assert hard["cpu"] == str(180 + int(cpu))
    assert hard["memory"] == f"{64 * 120 + int(memory.removesuffix('Gi'))}Gi"
    assert (hard["pods"], hard["requests.nvidia.com/gpu"]) == ("121", "240")


@pytest.mark.parametrize("value", ["x", None, {}, "9" * 1000, True, -1, 1e300, "1e400"])
def test_strange_values_count_as_nothing(value: Any) -> None:
    assert room_for({"limits": {"cpu": value}}, maxReplicas=value, numOfHosts=value) == HARD


def test_only_what_the_quota_does_not_limit_is_added() -> None:
    existing = {"spec": {"hard": {"limits.memory": "1Ti"}}}
    assert missing_limits(existing, quota()) == {"requests.nvidia.com/gpu": "8"}
    assert missing_limits({}, quota()) == {"memory": "256Gi", "requests.nvidia.com/gpu": "8"}
    scoped = {"spec": {"scopes": ["BestEffort"], "hard": {}}}
    assert missing_limits(scoped, quota()) == {}
