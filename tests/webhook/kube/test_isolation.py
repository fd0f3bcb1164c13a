"""What the isolation of RayClusters reads of the cache, and which clusters it is told of."""

from typing import Any

from policies.network.isolation import ISOLATION_ANNOTATION
from tests.support.factory import ray_cluster
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import conversation, following, until
from tests.webhook.kube.test_memory import binding, role, stored, watched
from tests.webhook.kube.test_rbac import granted
from webhook.kube.api import KubeApi
from webhook.ports import ClusterKey

KEY = ("ray", "c")


def managed(generation: int = 1, **spec: Any) -> dict[str, Any]:
    document = stored("c", spec={**ray_cluster()["spec"], **spec})
    metadata = {"annotations": {ISOLATION_ANNOTATION: "managed"}, "generation": generation}
    return {**document, "metadata": {**document["metadata"], **metadata}}


def owned(name: str, **pods: str) -> dict[str, Any]:
    """A NetworkPolicy that the RayCluster `c` controls."""
    document = stored(name, spec={"podSelector": {"matchLabels": pods}})
    cluster = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "c", "uid": "uid-c"}
    owner = {**cluster, "controller": True}
    document["metadata"]["ownerReferences"] = [owner]
    return document


@conversation
async def test_each_change_names_its_cluster(fake: FakeKubeApi, api: KubeApi) -> None:
    changes: list[ClusterKey | None] = []

    async def told(key: ClusterKey | None) -> None:
        await until(lambda: key in changes)
        changes.clear()

    async with following(api) as live:
        assert live.isolation.synced and not list(live.isolation.keys())
        live.isolation.on_change(changes.append)
        await watched(fake, "rayclusters", "networkpolicies", "rolebindings", "endpointslices")
        fake.put("rayclusters", managed())
        await told(KEY)
        assert list(live.isolation.keys()) == [KEY] and live.isolation.uid_of(*KEY) == "uid-c"
        fake.put("networkpolicies", stored("raywarden-pods-c"))
        await told(KEY)
        assert len(live.isolation.policies_of(*KEY)) == 1
        fake.delete("networkpolicies", "ray", "raywarden-pods-c")
        await told(KEY)
        fake.put("networkpolicies", owned("theirs"))
        await told(KEY)
        fake.delete("networkpolicies", "ray", "theirs")
        await told(KEY)
        only_binding = granted("ray", ("operators", "kuberay"))
        fake.put("rolebindings", only_binding)
        await told(KEY)
        fake.delete("rolebindings", "ray", only_binding["metadata"]["name"])
        await told(KEY)
        fake.put("endpointslices", slice_of("default", "10.0.0.1"))
        await told(None)
        fake.delete("rayclusters", "ray", "c")
        await told(KEY)
        assert live.isolation.uid_of(*KEY) == "" and live.isolation.managed(*KEY) is None


@conversation
async def test_a_new_status_changes_nothing(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("rayclusters", managed())
    async with following(api) as live:
        before = live.isolation.managed(*KEY)
        changes: list[ClusterKey | None] = []
        live.isolation.on_change(changes.append)
        await watched(fake, "rayclusters")
        for number in range(3):
            fake.put("rayclusters", {**managed(), "status": {"number": number}})
        fake.put("rayclusters", managed(2, networkPolicy={}))
        await until(lambda: bool(changes))
        assert changes == [KEY]
        after = live.isolation.managed(*KEY)
        assert before and after and after.kuberay_isolates and not before.kuberay_isolates


@conversation
async def test_operators_are_those_of_all_namespaces_and_of_this_one(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("clusterroles", role("update"))
    fake.put("clusterrolebindings", binding())
    local = {**role("update"), "metadata": stored("kuberay-operator", "ray")["metadata"]}
    fake.put("roles", local)
    fake.put("rolebindings", granted("ray", ("operators", "kuberay")))
    harmless = granted("other", ("attacker", "x"), role="harmless")
    fake.put("rolebindings", harmless)
    async with following(api) as live:
        assert live.isolation.operators("ray") == ["kuberay-system", "operators"]
        assert live.isolation.operators("other") == ["kuberay-system"]


@conversation
async def test_tenants_cannot_push_out_the_operator_of_all_namespaces(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("clusterroles", role("update"))
    fake.put("clusterrolebindings", binding())
    local = {**role("update"), "metadata": stored("kuberay-operator", "ray")["metadata"]}
    fake.put("roles", local)
    fake.put("rolebindings", granted("ray", *((f"a{number}", "x") for number in range(100))))
    async with following(api) as live:
        operators = live.isolation.operators("ray")
        assert "kuberay-system" in operators and len(operators) == 16


def slice_of(namespace: str, address: str, name: str = "kubernetes") -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": "kubernetes"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    endpoints = [{"addresses": [address, "not an address"]}]
    return {"metadata": metadata, "endpoints": endpoints, "ports": [{"port": 6443}]}


@conversation
async def test_the_api_server_is_where_its_own_slice_says(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("endpointslices", slice_of("ray", "10.9.9.9"))
    fake.put("endpointslices", slice_of("default", "10.9.9.9", "kubernetes-forged"))
    async with following(api) as live:
        assert live.isolation.api_server() == ()
        await watched(fake, "endpointslices")
        fake.put("endpointslices", slice_of("default", "10.0.0.1"))
        await until(lambda: live.isolation.api_server() == (("10.0.0.1", 6443),))
        fake.delete("endpointslices", "default", "kubernetes")
        await until(lambda: live.isolation.api_server() == ())


@conversation
async def test_kuberay_isolates_with_policies_for_every_group(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("rayclusters", managed())
    foreign = stored("foreign", spec={"podSelector": {}})
    fake.put("networkpolicies", foreign)
    head = {"ray.io/cluster": "c", "ray.io/node-type": "head"}
    async with following(api) as live:
        assert not live.isolation.kuberay_isolates(*KEY)
        await watched(fake, "networkpolicies")
        fake.put("networkpolicies", owned("c-head", **head))
        await until(lambda: len(live.state_of("ray").network_policies or ()) == 2)
        assert not live.isolation.kuberay_isolates(*KEY), "its workers are still open"
        fake.put("networkpolicies", owned("c-workers", **{**head, "ray.io/node-type": "worker"}))
        await until(lambda: live.isolation.kuberay_isolates(*KEY))


@conversation
async def test_kuberay_isolates_neither_for_an_earlier_cluster_nor_with_egress_alone(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("rayclusters", managed())
    fake.put("networkpolicies", owned("all", **{"ray.io/cluster": "c"}))
    async with following(api) as live:
        assert live.isolation.kuberay_isolates(*KEY)
        await watched(fake, "networkpolicies")
        earlier = owned("all", **{"ray.io/cluster": "c"})
        earlier["metadata"]["ownerReferences"][0]["uid"] = "earlier"
        fake.put("networkpolicies", earlier)
        await until(lambda: not live.isolation.kuberay_isolates(*KEY))
        egress = owned("all", **{"ray.io/cluster": "c"})
        egress["spec"]["policyTypes"] = ["Egress"]
        fake.put("networkpolicies", egress)
        fake.put("networkpolicies", stored("last"))
        await until(lambda: len(live.state_of("ray").network_policies or ()) == 2)
        assert not live.isolation.kuberay_isolates(*KEY)


@conversation
async def test_without_their_crd_rayclusters_are_unknown(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("rayclusters", managed())
    async with following(api) as live:
        assert live.isolation.knows_clusters and live.isolation.uid_of(*KEY)
        fake.unknown.add("rayclusters")
        fake.forget()
        await until(lambda: not live.isolation.uid_of(*KEY))
        assert not live.isolation.knows_clusters
