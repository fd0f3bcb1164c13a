"""Which namespaces and resources a quota limits."""

from typing import Any

import pytest

from policies.cluster.quota import LiveQuota, quotas_in


def quota(kind: str = "ResourceQuota", namespace: str = "ray", **spec: Any) -> dict[str, LiveQuota]:
    metadata = {"name": "q", "namespace": namespace}
    return quotas_in({"kind": kind, "metadata": metadata, "spec": spec})


def tree(namespace: str = "kube-system", **root: Any) -> dict[str, set[str]]:
    quotas = quota("ElasticQuotaTree", namespace, root=root)
    return {limited: set(part.resources) for limited, part in quotas.items()}


def test_a_quota_limits_its_own_namespace_and_a_tree_those_of_its_leaves() -> None:
    for kind in ("ResourceQuota", "ElasticQuota", ""):
        assert quota(kind) == {"ray": LiveQuota("q")}
    leaves = [
        {"namespaces": ["a", "b"]},
        {"children": [{"namespaces": ["c", 7]}], "namespaces": ["not a leaf"]},
    ]
    assert set(tree(children=leaves)) == {"a", "b", "c"}
    assert tree() == {}
    assert tree("a", namespaces=["a"]) == {}, "ACK does not read it there"


@pytest.mark.parametrize(
    ("hard", "resources"),
    [
        ({"memory": "1Gi"}, {"memory"}),
        ({"requests.memory": "1Gi"}, {"memory"}),
        ({"limits.memory": "1Gi", "limits.cpu": 1}, {"memory"}),
        ({"requests.nvidia.com/gpu": 4}, {"nvidia.com/gpu"}),
        ({"requests.nvidia.com/mig-1g.5gb": 4}, {"nvidia.com/mig-1g.5gb"}),
        ({"pods": 10, "count/pods": 10, "requests.storage": "1Ti"}, set()),
    ],
)
def test_the_resources_of_a_resource_quota(hard: dict[str, Any], resources: set[str]) -> None:
    assert quota(hard=hard)["ray"].resources == resources


@pytest.mark.parametrize(
    ("scopes", "counts"),
    [
        ({"scopes": ["NotTerminating"]}, True),
        ({"scopes": ["NotBestEffort", "NotTerminating"]}, True),
        ({"scopes": ["Terminating"]}, False),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass"}]}}, False),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "NotTerminating"}]}}, True),
    ],
)
def test_a_quota_for_some_of_the_pods_does_not_count(scopes: dict[str, Any], counts: bool) -> None:
    assert bool(quota(hard={"memory": 1}, **scopes)["ray"].resources) is counts


def test_elastic_quotas_limit_by_max() -> None:
    limits = {"memory": "1Gi", "nvidia.com/gpu": 1}
    assert quota("ElasticQuota", max=limits)["ray"].resources == limits.keys()
    assert quota("ElasticQuota", min=limits)["ray"].resources == set()


def test_limits_above_a_leaf_hold_for_it() -> None:
    leaf = {"namespaces": ["a"], "max": {"nvidia.com/gpu": 1}}
    children = [leaf, {"namespaces": ["b"]}]
    assert tree(max={"memory": "1Ti"}, children=children) == {
        "a": {"memory", "nvidia.com/gpu"},
        "b": {"memory"},
    }


def test_what_stays_in_memory_is_bounded() -> None:
    many = {f"requests.nvidia.com/mig-{number}g": 1 for number in range(10_000)}
    assert len(quota(hard=many)["ray"].resources) == 64


@pytest.mark.parametrize("wrong", [7, "x", [1], None])
def test_wrong_types_limit_nothing(wrong: Any) -> None:
    spec = {"hard": wrong, "max": wrong, "scopes": wrong, "scopeSelector": wrong}
    assert quota(**spec) == {"ray": LiveQuota("q")}
    assert tree(max=wrong, children=wrong, namespaces=wrong) == {}
