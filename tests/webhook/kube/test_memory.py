"""What is known around an object, kept in step with an API server on a real socket."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from policies.cluster.rbac import RbacGrants
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
from webhook.kube.adapters import KubeLive
from webhook.kube.api import KubeApi
from webhook.kube.memory import WATCHED, KubeMemory
from webhook.ports import NamespaceStates

CREATED = "2026-11-20T08:00:00Z"
RBAC = "rbac.authorization.k8s.io"
OPERATOR = "system:serviceaccount:kuberay-system:kuberay-operator"
TREE = "scheduling.sigs.k8s.io/v1beta1"
PLUGINS = "scheduling.x-k8s.io/v1alpha1"
OPTIONAL = {"rayclusters", "elasticquotatrees", "elasticquotas"}


def made(name: str, namespace: str = "ray", spec: Any = None, **more: Any) -> dict[str, Any]:
    """An object as the API server has it."""
    metadata = {"name": name, "uid": f"uid-{name}", "creationTimestamp": CREATED}
    scope = {"namespace": namespace} if namespace else {}
    return {"metadata": {**metadata, **scope}, "spec": spec or {}, **more}


def tree(*namespaces: str) -> dict[str, Any]:
    root = {"children": [{"namespaces": list(namespaces)}]}
    return made("tree", "kube-system", {"root": root}, apiVersion=TREE, kind="ElasticQuotaTree")


def role(*verbs: str) -> dict[str, Any]:
    rules = [
        {"apiGroups": ["ray.io"], "resources": ["rayclusters/status"], "verbs": list(verbs)},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
    ]
    return made("kuberay-operator", "", rules=rules)


def binding() -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "name": "kuberay-operator", "namespace": "kuberay-system"}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "kuberay-operator"}
    return made("kuberay-operator", "", roleRef=reference, subjects=[subject])


async def watched(fake: FakeKubeApi, *plurals: str) -> None:
    """Until what is put now is heard of by a watch."""
    await until(lambda: all(map(fake.watches, plurals)))


@conversation
async def test_nothing_is_known_before_it_was_listed_and_then_that_there_is_nothing(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    idle: NamespaceStates = KubeLive(api)
    state = idle.state_of("ray")
    assert (state.metadata, state.ray_clusters, state.services, state.public_services) == (
        None,
    ) * 4
    assert (state.network_policies, state.quotas, state.rights) == (None, None, RbacGrants())
    fake.unknown = OPTIONAL
    async with following(api) as live:
        state = live.state_of("ray")
        assert state.metadata is None, "nobody has said that this namespace is empty of labels"
        assert (state.ray_clusters, state.services) == ({}, {})
        assert state.quotas == []
        for part in (state.public_services, state.network_policies):
            assert part is not None and len(part) == 0
        assert state.rights == RbacGrants(complete=True)


@conversation
async def test_what_is_around_is_known_by_namespace(fake: FakeKubeApi, api: KubeApi) -> None:
    labels, annotations = {"raywarden.io/enforce": "baseline"}, {"owner": "jane"}
    namespace = made("ray", "")
    namespace["metadata"] |= {
        "labels": labels,
        "annotations": annotations,
        "managedFields": [{}],
        "finalizers": ["x"],
    }
    fake.put("namespaces", namespace)
    fake.put("rayclusters", made("c", spec={"headGroupSpec": {}}))
    fake.put(
        "services",
        made("inner", spec={"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": 8265}]}),
    )
    fake.put("services", made("outer", spec={"type": "NodePort"}))
    fake.put("networkpolicies", made("closed"))
    fake.put("resourcequotas", made("compute"))
    async with following(api) as live:
        state = live.state_of("ray")
        known = {"name": "ray", "uid": "uid-ray", "creationTimestamp": CREATED}
        assert (
            state.metadata == {**known, "labels": labels, "annotations": annotations}
            and state.labels == labels
        )
        assert state.ray_clusters and state.ray_clusters["c"].uid == "uid-c"
        assert state.ray_clusters["c"].has_pods_with({"ray.io/cluster": "c"})
        assert (
            state.services
            and state.services["inner"].ports == {80: 8265}
            and len(state.services) == 2
        )
        assert [service.name for service in state.public_services or ()] == ["outer"]
        assert [policy.name for policy in state.network_policies or ()] == ["closed"]
        assert list(state.quotas or ()) == ["compute"]
        other = live.state_of("other")
        assert (other.ray_clusters, other.services, list(other.quotas or ())) == ({}, {}, [])
        assert [cluster.name for cluster in live.ray_clusters()] == ["c"]
    for plural in ("services", "rayclusters"):
        assert len(fake.asked("GET", plural)) <= 2, "one list and one watch"


@conversation
async def test_a_service_becomes_public_and_is_so_no_longer(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    async with following(api) as live:

        def public() -> list[str]:
            return [service.name for service in live.state_of("ray").public_services or ()]

        await watched(fake, "services")
        fake.put("services", made("s"))
        await until(lambda: "s" in (live.state_of("ray").services or {}))
        assert public() == []
        for _ in range(2):
            fake.put("services", made("s", spec={"type": "NodePort"}))
            await until(lambda: public() == ["s"])
            fake.put("services", made("s", spec={"type": "ClusterIP"}))
            await until(lambda: public() == [])
        fake.put("services", made("s", spec={"type": "LoadBalancer"}))
        await until(lambda: public() == ["s"])
        fake.delete("services", "ray", "s")
        await until(lambda: public() == [] and live.state_of("ray").services == {})


@conversation
async def test_a_policy_or_a_cluster_that_is_deleted_is_known_no_longer(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("networkpolicies", made("closed", spec={"podSelector": {}}))
    fake.put("rayclusters", made("c"))
    async with following(api) as live:
        (policy,) = live.state_of("ray").network_policies or ()
        assert policy.isolates and policy.selects({"any": "pod"})
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
async def test_one_tree_is_over_many_namespaces_and_changes(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("elasticquotatrees", tree("a", "b"))
    fake.put("resourcequotas", made("compute", "b"))
    async with following(api) as live:

        def quotas(*namespaces: str) -> list[list[str]]:
            return [sorted(live.state_of(one).quotas or ()) for one in namespaces]

        assert quotas("a", "b", "c", "kube-system") == [["tree"], ["compute", "tree"], [], []]
        await watched(fake, "elasticquotatrees")
        fake.put("elasticquotatrees", tree("b", "c"))
        await until(lambda: quotas("a", "b", "c") == [[], ["compute", "tree"], ["tree"]])
        fake.delete("elasticquotatrees", "kube-system", "tree")
        await until(lambda: quotas("a", "b", "c") == [[], ["compute"], []])


@conversation
async def test_kinds_of_quotas_may_be_installed_later_and_taken_away(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.unknown = OPTIONAL
    fake.put("elasticquotas", made("theirs", apiVersion=PLUGINS, kind="ElasticQuota"))
    fake.put("elasticquotas", made("acks", apiVersion=TREE, kind="ElasticQuota"))
    async with following(api) as live:
        assert live.state_of("ray").quotas == []
        fake.unknown = set()
        await until(lambda: sorted(live.state_of("ray").quotas or ()) == ["acks", "theirs"])
        fake.unknown = OPTIONAL
        fake.forget()
        await until(lambda: live.state_of("ray").quotas == [])


@conversation
async def test_who_runs_kuberay_follows_from_roles_and_bindings(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("clusterroles", role("get"))
    fake.put("clusterrolebindings", binding())
    async with following(api) as live:

        def operators() -> frozenset[str]:
            return live.state_of("ray").rights.operators

        assert live.state_of("ray").rights == RbacGrants(complete=True)
        assert live.state_of("ray").rights is live.state_of("other").rights, "weighed once"
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
async def test_a_right_that_is_missing_leaves_its_part_unknown_and_is_named(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.forbidden = {
        ("list", "networkpolicies"),
        ("list", "elasticquotatrees"),
        ("list", "clusterroles"),
    }
    fake.put("networkpolicies", made("closed"))
    fake.put("clusterrolebindings", binding())
    live = KubeLive(api, retry_seconds=0.05)
    missing = set(live.resources)
    tasks = [asyncio.create_task(live.run()), asyncio.create_task(live.wait_synced(missing.remove))]
    try:
        await until(lambda: len(missing) == 3)
        await until(lambda: len(fake.asked("GET", "networkpolicies")) > 3)
        assert missing == {
            "networkpolicies.networking.k8s.io",
            "elasticquotatrees.scheduling.sigs.k8s.io",
            "clusterroles.rbac.authorization.k8s.io",
        }
        assert {resource for resource, current in live.current().items() if not current} == missing
        state = live.state_of("ray")
        assert (state.network_policies, state.quotas, state.rights) == (None, None, RbacGrants())
        assert (state.services, state.ray_clusters) == ({}, {})
        fake.forbidden = set()
        await asyncio.wait_for(tasks[1], 10)
        state = live.state_of("ray")
        assert not missing and state.rights.complete and len(state.network_policies or ()) == 1
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


def test_the_last_known_stays_while_the_api_server_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        fake = FakeKubeApi(free_port())
        fake.put("services", made("s", spec={"type": "NodePort"}))
        fake.put("elasticquotatrees", tree("ray"))
        fake.put("clusterroles", role("update"))
        fake.put("clusterrolebindings", binding())
        async with await KubeApi.connect(kubeconfig_for(fake, tmp_path)) as api:
            served = listening(fake)
            await served.__aenter__()
            async with following(api) as live:
                await served.__aexit__(None, None, None)
                await until(lambda: not any(live.current().values()))
                state = live.state_of("ray")
                assert [service.name for service in state.public_services or ()] == ["s"]
                assert state.quotas == ["tree"] and state.rights.operators == {OPERATOR}

    talk(main())


@conversation
async def test_nothing_is_copied_for_whoever_asks(fake: FakeKubeApi, api: KubeApi) -> None:
    for index in range(120):
        fake.put("rayclusters", made(f"c{index}"))
        fake.put("services", made(f"s{index}"))
    async with following(api) as live:
        one, two = live.state_of("ray"), live.state_of("ray")
        assert one.ray_clusters is two.ray_clusters and len(one.ray_clusters or ()) == 120
        assert one.services is two.services and len(one.services or ()) == 120


def test_what_is_watched_is_what_rights_are_asked_for() -> None:
    memory = KubeMemory(KubeApi(client=None), retry_seconds=1)  # type: ignore[arg-type]  # nobody is asked anything
    assert memory.resources == tuple(map(str, WATCHED))
