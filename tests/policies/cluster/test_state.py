"""The views of live objects, also of objects that are too large to read."""

from typing import Any

import pytest

from policies.cluster.exposure import RAY_PORTS
from policies.cluster.state import (
    LiveCluster,
    LiveService,
    NamespaceState,
)


def service(spec: dict[str, Any], name: str = "s") -> LiveService:
    return LiveService.of({"metadata": {"name": name}, "spec": spec})


def ray_cluster(*groups: Any, **head: Any) -> LiveCluster:
    spec = {"headGroupSpec": head, "workerGroupSpecs": list(groups)}
    return LiveCluster.of({"metadata": {"name": "c", "uid": "uid-1"}, "spec": spec})


def group(name: str, **labels: str) -> dict[str, Any]:
    return {"groupName": name, "template": {"metadata": {"labels": labels}}}


def test_a_cluster_has_the_pods_of_every_group() -> None:
    cluster = ray_cluster(group("gpu", team="a"), group("cpu"))
    assert (cluster.name, cluster.uid, len(cluster.pod_labels)) == ("c", "uid-1", 3)
    assert cluster.has_pods_with({"ray.io/cluster": "c", "ray.io/node-type": "head"})
    assert cluster.has_pods_with({"team": "a", "ray.io/group": "gpu"})
    assert not cluster.has_pods_with({"team": "a", "ray.io/group": "cpu"})
    assert not cluster.has_pods_with({"ray.io/cluster": "d"})
    assert not cluster.has_pods_with({"team": None})


@pytest.mark.parametrize(
    "cluster",
    [ray_cluster(*[group("g")] * 10_000), ray_cluster(group("g", **{"a" * 300_000: "b"}))],
    ids=["groups", "labels"],
)
def test_a_cluster_too_large_to_read_may_have_any_pods(cluster: LiveCluster) -> None:
    assert cluster.too_large and cluster.pod_labels == ({"ray.io/cluster": "c"},)
    assert cluster.has_pods_with({"team": "a"})


def test_a_missing_target_port_is_the_port_itself() -> None:
    ports = [
        {"port": 80, "targetPort": 8265, "name": "dashboard"},
        {"port": 6379},
        {"port": 10001, "targetPort": 0},
        {"port": 8000, "targetPort": "serve", "protocol": "TCP"},
        {"port": 6379, "targetPort": 53, "protocol": "UDP", "name": "dns"},
    ]
    assert service({"ports": ports}).ports == {
        80: 8265,
        "dashboard": 8265,
        6379: 6379,
        10001: 10001,
        8000: "serve",
    }


def test_an_external_name_service_has_no_pods() -> None:
    alias = service(
        {
            "type": "ExternalName",
            "externalName": "c-head-svc.ray.svc.cluster.local.",
            "selector": {"a": "b"},
        }
    )
    assert alias.external_name == "c-head-svc.ray.svc.cluster.local"
    assert (alias.selector, alias.public) == ({}, False)
    assert service({"externalName": "example.com", "selector": {"a": "b"}}).external_name == ""


@pytest.mark.parametrize(
    "spec",
    [
        {"ports": [{"port": 1 + index} for index in range(10_000)]},
        {"selector": {f"a{n}": "b" for n in range(10_000)}},
    ],
    ids=["ports", "selector"],
)
def test_a_service_too_large_to_read_is_public_and_leads_to_ray(spec: dict[str, Any]) -> None:
    large = service(spec)
    assert large.public and len(large.ports) <= 256 + len(RAY_PORTS)
    assert all(large.ports[port] == port for port in RAY_PORTS)
    assert spec.get("selector", {}).items() >= large.selector.items()
    assert len(large.selector) <= 64


def test_everything_is_unknown_by_default() -> None:
    unknown = NamespaceState()
    parts = (
        unknown.metadata,
        unknown.ray_clusters,
        unknown.services,
        unknown.network_policies,
        unknown.quotas,
    )
    assert parts == (None,) * 5 and unknown.labels == {} and not unknown.rbac.complete
