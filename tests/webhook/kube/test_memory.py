"""RayWarden's cache, kept up to date with an API server on a real socket."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from policies.cluster.rbac import RbacGrants
from policies.network.policy import Direction
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import (
    conversation,
    following,
    free_port,
    kubeconfig_for,
    listening,
    talk,
    until,
)
from tests.support.related_objects import quota_names
from webhook.kube.api import KubeApi
from webhook.kube.live import KubeLive
from webhook.kube.memory import WATCHED, KubeMemory
from webhook.ports import NamespaceStates

CREATED = "2026-11-20T08:00:00Z"
RBAC = "rbac.authorization.k8s.io"
OPERATOR = "system:serviceaccount:kuberay-system:kuberay-operator"
TREE = "scheduling.sigs.k8s.io/v1beta1"
PLUGINS = "scheduling.x-k8s.io/v1alpha1"
OPTIONAL = {"rayclusters", "elasticquotatrees", "elasticquotas"}


def stored(name: str, namespace: str = "ray", spec: Any = None, **more: Any) -> dict[str, Any]:
    """An object as the API server stores it."""
    metadata = {"name": name, "uid": f"uid-{name}", "creationTimestamp": CREATED}
    scope = {"namespace": namespace} if namespace else {}
    return {"metadata": {**metadata, **scope}, "spec": spec or {}, **more}


def tree(*namespaces: str) -> dict[str, Any]:
    root = {"children": [{"namespaces": list(namespaces)}]}
    return stored("tree", "kube-system", {"root": root}, apiVersion=TREE, kind="ElasticQuotaTree")


def role(*verbs: str) -> dict[str, Any]:
    rules = [
        {"apiGroups": ["ray.io"], "resources": ["rayclusters/status"], "verbs": list(verbs)},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
    ]
    return stored("kuberay-operator", "", rules=rules)


def binding() -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "name": "kuberay-operator", "namespace": "kuberay-system"}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "kuberay-operator"}
    return stored("kuberay-operator", "", roleRef=reference, subjects=[subject])


async def watched(fake: FakeKubeApi, *plurals: str) -> None:
    """Wait until the resources are watched, so that later changes arrive as events."""
    await until(lambda: all(map(fake.watches, plurals)))


@conversation
async def test_state_is_unknown_before_the_first_list_and_empty_after(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    not_running: NamespaceStates = KubeLive(api)
    state = not_running.state_of("ray")
    assert (state.metadata, state.ray_clusters, state.services, state.public_services) == (
        None,
    ) * 4
    assert (state.network_policies, state.quotas, state.rbac) == (None, None, RbacGrants())
    assert state.endpoints is None
    fake.unknown = OPTIONAL
    async with following(api) as live:
        state = live.state_of("ray")
        assert state.metadata is None, "a namespace that does not exist has no known labels"
        assert (state.ray_clusters, state.services) == ({}, {})
        assert state.quotas == []
        for part in (state.public_services, state.network_policies):
            assert part is not None and len(part) == 0
        assert state.rbac == RbacGrants(complete=True)


@conversation
async def test_state_is_known_by_namespace(fake: FakeKubeApi, api: KubeApi) -> None:
    labels, annotations = {"raywarden.io/enforce": "baseline"}, {"owner": "jane"}
    namespace = stored("ray", "")
    namespace["metadata"] |= {
        "labels": labels,
        "annotations": annotations,
        "managedFields": [{}],
        "finalizers": ["x"],
    }
    fake.put("namespaces", namespace)
    fake.put("rayclusters", stored("c", spec={"headGroupSpec": {}}))
    fake.put(
        "services",
        stored("inner", spec={"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": 8265}]}),
    )
    fake.put("services", stored("outer", spec={"type": "NodePort"}))
    fake.put("networkpolicies", stored("closed"))
    fake.put("resourcequotas", stored("compute"))
    async with following(api) as live:
        state = live.state_of("ray")
        known = {"name": "ray", "uid": "uid-ray", "creationTimestamp": CREATED}
        assert state.metadata == {**known, "labels": labels, "annotations": annotations}
        assert state.labels == labels
        assert state.ray_clusters and state.ray_clusters["c"].uid == "uid-c"
        assert state.ray_clusters["c"].has_pods_with({"ray.io/cluster": "c"})
        assert state.services and len(state.services) == 2
        assert state.services["inner"].ports == {80: 8265}
        assert [service.name for service in state.public_services or ()] == ["outer"]
        assert [policy.name for policy in state.network_policies or ()] == ["closed"]
        assert quota_names(state.quotas) == ["compute"]
        other = live.state_of("other")
        assert (other.ray_clusters, other.services, quota_names(other.quotas)) == ({}, {}, [])
        assert [cluster.name for cluster in live.ray_clusters()] == ["c"]
    for plural in ("services", "rayclusters"):
        assert len(fake.requests("GET", plural)) <= 2, "a list and a watch"


@conversation
async def test_a_service_becomes_public_and_private_again(fake: FakeKubeApi, api: KubeApi) -> None:
    async with following(api) as live:

        def public() -> list[str]:
            return [service.name for service in live.state_of("ray").public_services or ()]

        await watched(fake, "services")
        fake.put("services", stored("s"))
        await until(lambda: "s" in (live.state_of("ray").services or {}))
        assert public() == []
        for _ in range(2):
            fake.put("services", stored("s", spec={"type": "NodePort"}))
            await until(lambda: public() == ["s"])
            fake.put("services", stored("s", spec={"type": "ClusterIP"}))
            await until(lambda: public() == [])
        fake.put("services", stored("s", spec={"type": "LoadBalancer"}))
        await until(lambda: public() == ["s"])
        fake.delete("services", "ray", "s")
        await until(lambda: public() == [] and live.state_of("ray").services == {})


@conversation
async def test_deleted_policies_and_clusters_are_forgotten(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("networkpolicies", stored("closed", spec={"podSelector": {}}))
    fake.put("rayclusters", stored("c"))
    async with following(api) as live:
        (policy,) = live.state_of("ray").network_policies or ()
        assert policy.isolates(Direction.INGRESS) and policy.selects({"any": "pod"})
        await watched(fake, "networkpolicies", "rayclusters")
        fake.delete("networkpolicies", "ray", "closed")
        fake.delete("rayclusters", "ray", "c")
        await until(
            lambda: (
                not live.state_of("ray").network_policies
                and live.state_of("ray").ray_clusters == {}
            )
        )


@conversation
async def test_a_quota_tree_limits_many_namespaces_and_may_change(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("elasticquotatrees", tree("a", "b"))
    fake.put("resourcequotas", stored("compute", "b"))
    async with following(api) as live:

        def quotas(*namespaces: str) -> list[list[str]]:
            return [quota_names(live.state_of(namespace).quotas) for namespace in namespaces]

        assert quotas("a", "b", "c", "kube-system") == [["tree"], ["compute", "tree"], [], []]
        await watched(fake, "elasticquotatrees")
        fake.put("elasticquotatrees", tree("b", "c"))
        await until(lambda: quotas("a", "b", "c") == [[], ["compute", "tree"], ["tree"]])
        fake.delete("elasticquotatrees", "kube-system", "tree")
        await until(lambda: quotas("a", "b", "c") == [[], ["compute"], []])


@conversation
async def test_quota_crds_may_be_installed_and_removed_later(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.unknown = OPTIONAL
    fake.put("elasticquotas", stored("theirs", apiVersion=PLUGINS, kind="ElasticQuota"))
    fake.put("elasticquotas", stored("acks", apiVersion=TREE, kind="ElasticQuota"))
    async with following(api) as live:
        assert live.state_of("ray").quotas == []
        fake.unknown = set()
        await until(lambda: quota_names(live.state_of("ray").quotas) == ["acks", "theirs"])
        fake.unknown = OPTIONAL
        fake.forget()
        await until(lambda: live.state_of("ray").quotas == [])


@conversation
async def test_kuberay_operators_are_found_from_roles_and_bindings(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("clusterroles", role("get"))
    fake.put("clusterrolebindings", binding())
    async with following(api) as live:

        def operators() -> frozenset[str]:
            return live.state_of("ray").rbac.operators

        assert live.state_of("ray").rbac == RbacGrants(complete=True)
        assert live.state_of("ray").rbac is live.state_of("other").rbac, "computed once"
        await watched(fake, "clusterroles", "clusterrolebindings")
        fake.put("clusterroles", role("get", "update"))
        await until(lambda: operators() == {OPERATOR})
        fake.delete("clusterrolebindings", "", "kuberay-operator")
        await until(lambda: operators() == frozenset())
        fake.put("clusterrolebindings", binding())
        await until(lambda: operators() == {OPERATOR})
        fake.delete("clusterroles", "", "kuberay-operator")
        await until(lambda: operators() == frozenset())


@conversation
async def test_a_missing_permission_leaves_its_resource_unknown_and_named(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.forbidden = {
        ("list", "networkpolicies"),
        ("list", "elasticquotatrees"),
        ("list", "clusterroles"),
        ("list", "rolebindings"),
    }
    fake.put("networkpolicies", stored("closed"))
    fake.put("clusterrolebindings", binding())
    live = KubeLive(api, retry_seconds=0.05)
    missing = set(live.resources)
    tasks = [asyncio.create_task(live.run()), asyncio.create_task(live.wait_synced(missing.remove))]
    try:
        await until(lambda: len(missing) == 4)
        await until(lambda: len(fake.requests("GET", "networkpolicies")) > 3)
        assert missing == {
            "networkpolicies.networking.k8s.io",
            "elasticquotatrees.scheduling.sigs.k8s.io",
            "clusterroles.rbac.authorization.k8s.io",
            "rolebindings.rbac.authorization.k8s.io",
        }
        stale = {name for name, up_to_date in live.up_to_date().items() if not up_to_date}
        assert stale == missing
        state = live.state_of("ray")
        assert (state.network_policies, state.quotas, state.rbac) == (None, None, RbacGrants())
        assert state.namespace_rbac is None
        assert (state.services, state.ray_clusters) == ({}, {})
        fake.forbidden = set()
        await asyncio.wait_for(tasks[1], 10)
        state = live.state_of("ray")
        assert not missing and state.rbac.complete and len(state.network_policies or ()) == 1
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


def test_the_last_known_state_stays_while_the_api_server_is_unavailable(tmp_path: Path) -> None:
    async def main() -> None:
        fake = FakeKubeApi(free_port())
        fake.put("services", stored("s", spec={"type": "NodePort"}))
        fake.put("elasticquotatrees", tree("ray"))
        fake.put("clusterroles", role("update"))
        fake.put("clusterrolebindings", binding())
        async with await KubeApi.connect(kubeconfig_for(fake, tmp_path)) as api:
            served = listening(fake)
            await served.__aenter__()
            async with following(api) as live:
                await served.__aexit__(None, None, None)
                await until(lambda: not any(live.up_to_date().values()))
                state = live.state_of("ray")
                assert [service.name for service in state.public_services or ()] == ["s"]
                assert quota_names(state.quotas) == ["tree"] and state.rbac.operators == {OPERATOR}

    talk(main())


@conversation
async def test_states_share_the_cache_without_copies(fake: FakeKubeApi, api: KubeApi) -> None:
    for index in range(120):
        fake.put("rayclusters", stored(f"c{index}"))
        fake.put("services", stored(f"s{index}"))
    async with following(api) as live:
        first, second = live.state_of("ray"), live.state_of("ray")
        assert first.ray_clusters is second.ray_clusters and len(first.ray_clusters or ()) == 120
        assert first.services is second.services and len(first.services or ()) == 120


def test_the_watched_resources_are_those_that_permissions_are_for() -> None:
    api = KubeApi(client=None)  # type: ignore[arg-type]  # the test sends no request
    memory = KubeMemory(api, retry_seconds=1)
    assert memory.resources == tuple(map(str, WATCHED))
