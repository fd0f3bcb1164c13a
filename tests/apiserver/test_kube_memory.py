"""The state of a namespace, from a real API server and the RBAC objects of KubeRay's chart."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from uuid import uuid4

import pytest

from policies.network.openness import opening_rules
from policies.network.policy import Direction
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import define, define_ray_clusters
from tests.apiserver.kuberay_operator import bind
from tests.apiserver.permissions import (
    CLUSTER_RULES,
    OWN_RULES,
    RBAC,
    as_raywarden,
    grant,
    granted,
    watched,
    without,
)
from tests.support.kube_conversation import following, until
from tests.support.related_objects import quota_names
from webhook.kube.api import KubeApi
from webhook.kube.live import KubeLive
from webhook.kube.memory import NAMESPACES

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

ACK = "scheduling.sigs.k8s.io"
TREES = f"/apis/{ACK}/v1beta1/namespaces/kube-system/elasticquotatrees"


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A new namespace with the service account `raywarden`."""
    name = f"ns-{uuid4().hex[:8]}"
    labels = {"raywarden.io/enforce": "restricted"}
    control_plane.make("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    control_plane.make(
        f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "raywarden"}}
    )
    yield name
    control_plane.delete(f"{TREES}/tree-{name}")


def remembering(
    control_plane: ControlPlane, namespace: str, check: Callable[[KubeLive], bool]
) -> None:
    """Wait until `check` returns True for what the service account `raywarden` can see."""

    async def main(api: KubeApi) -> None:
        await granted(lambda: api.get(NAMESPACES, "", namespace))
        async with following(api) as live:
            await until(lambda: check(live), 60)

    as_raywarden(control_plane, namespace, main)


def fill(control_plane: ControlPlane, namespace: str) -> None:
    """Create a RayCluster, a public and an internal Service, a NetworkPolicy and two quotas."""
    define_ray_clusters(control_plane)
    define(control_plane, ACK, "v1beta1", "ElasticQuotaTree")
    inside, ray = f"/api/v1/namespaces/{namespace}", f"/apis/ray.io/v1/namespaces/{namespace}"
    head = {"template": {"metadata": {"labels": {"team": "a"}}}}
    cluster = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "c"}}
    control_plane.make(f"{ray}/rayclusters", {**cluster, "spec": {"headGroupSpec": head}})
    ports = [{"port": 80, "targetPort": 8265}]
    for name, kind in (("inner", "ClusterIP"), ("outer", "NodePort")):
        spec = {"type": kind, "selector": {"team": "a"}, "ports": ports}
        control_plane.make(f"{inside}/services", {"metadata": {"name": name}, "spec": spec})
    policies = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
    open_to_all = {
        "podSelector": {"matchLabels": {"team": "a"}},
        "ingress": [{"ports": [{"port": 8265}]}],
    }
    control_plane.make(policies, {"metadata": {"name": "policy"}, "spec": open_to_all})
    control_plane.make(
        f"{inside}/resourcequotas",
        {"metadata": {"name": "compute"}, "spec": {"hard": {"cpu": "8"}}},
    )
    leaf = {"name": "leaf", "namespaces": [namespace]}
    tree = {
        "apiVersion": f"{ACK}/v1beta1",
        "kind": "ElasticQuotaTree",
        "metadata": {"name": f"tree-{namespace}"},
    }
    control_plane.make(TREES, {**tree, "spec": {"root": {"name": "root", "children": [leaf]}}})


def test_the_state_of_a_namespace_holds_its_objects(
    control_plane: ControlPlane, namespace: str
) -> None:
    grant(control_plane, namespace, CLUSTER_RULES, OWN_RULES)
    fill(control_plane, namespace)

    def check(live: KubeLive) -> bool:
        state, empty = live.state_of(namespace), live.state_of("kube-public")
        if len(state.quotas or ()) < 2:
            return False
        assert state.labels["raywarden.io/enforce"] == "restricted"
        assert state.metadata and {"name", "uid", "creationTimestamp"} < state.metadata.keys()
        assert "managedFields" not in state.metadata
        cluster = (state.ray_clusters or {})["c"]
        assert cluster.uid and cluster.has_pods_with({"team": "a", "ray.io/cluster": "c"})
        assert set(state.services or ()) == {"inner", "outer"}
        (public,) = state.public_services or ()
        assert (public.name, public.ports, public.selector) == ("outer", {80: 8265}, {"team": "a"})
        (policy,) = state.network_policies or ()
        assert (
            policy.isolates(Direction.INGRESS)
            and policy.selects({"team": "a"})
            and not policy.selects({})
        )
        opening = opening_rules(policy.open, [8265])
        assert [str(rule.pointer) for rule in opening] == ["/spec/ingress/0"]
        assert quota_names(state.quotas) == ["compute", f"tree-{namespace}"]
        assert (empty.ray_clusters, empty.services, empty.quotas) == ({}, {}, [])
        return True

    remembering(control_plane, namespace, check)


@pytest.mark.parametrize(
    ("resource", "missing"),
    [
        ("networkpolicies", {"networkpolicies.networking.k8s.io"}),
        ("resourcequotas", {"resourcequotas"}),
        (
            "clusterroles",
            {
                f"{plural}.rbac.authorization.k8s.io"
                for plural in ("clusterroles", "clusterrolebindings", "roles", "rolebindings")
            },
        ),
    ],
)
def test_resources_that_may_not_be_listed_are_unknown(
    control_plane: ControlPlane, namespace: str, resource: str, missing: set[str]
) -> None:
    grant(control_plane, namespace, without(CLUSTER_RULES, resource), OWN_RULES)

    async def main(api: KubeApi) -> None:
        await granted(lambda: api.get(NAMESPACES, "", namespace))
        live = KubeLive(api, retry_seconds=0.05)
        waited_for = set(live.resources)
        assert waited_for == watched(CLUSTER_RULES)
        tasks = [
            asyncio.create_task(live.run()),
            asyncio.create_task(live.wait_synced(waited_for.remove)),
        ]
        try:
            await until(lambda: waited_for == missing, 60)
            state = live.state_of(namespace)
            unknown = (
                state.network_policies is None,
                state.quotas is None,
                not state.rbac.complete,
            )
            restricted = ("networkpolicies", "resourcequotas", "clusterroles")
            assert unknown == tuple(name == resource for name in restricted)
            assert state.services is not None and state.metadata is not None
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    as_raywarden(control_plane, namespace, main)


def test_a_role_binding_makes_an_operator_of_its_namespace_only(
    control_plane: ControlPlane, namespace: str
) -> None:
    grant(control_plane, namespace, CLUSTER_RULES, OWN_RULES)
    bind(control_plane, namespace, "Role", f"mine-{namespace}", "impostor")
    # A RoleBinding of a ClusterRole grants rights only in its namespace, and any administrator of
    # that namespace may create it. So it must not identify the operator of another namespace.
    bind(control_plane, namespace, "ClusterRole", f"kuberay-{namespace}", "kuberay-operator")
    reference = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": f"kuberay-{namespace}",
    }
    subject = {"kind": "ServiceAccount", "name": "impostor", "namespace": namespace}
    binding = {"metadata": {"name": "also-mine"}, "roleRef": reference, "subjects": [subject]}
    control_plane.make(f"{RBAC}/namespaces/{namespace}/rolebindings", binding)
    operator, impostor = (
        f"system:serviceaccount:{namespace}:{name}" for name in ("kuberay-operator", "impostor")
    )

    def check(live: KubeLive) -> bool:
        inside, outside = live.state_of(namespace), live.state_of("default")
        rights = inside.rbac
        assert rights.complete and impostor not in rights.operators
        assert not outside.runs_kuberay(impostor)
        powers = {
            (power.verb_phrase, power.namespace)
            for power in inside.powers_of(namespace, "impostor")
        }
        assert powers <= {("create pods", namespace)}
        if not (inside.runs_kuberay(impostor) and outside.runs_kuberay(operator) and powers):
            return False
        assert "system:masters" in rights.admin_groups and not rights.admin_users & {
            operator,
            impostor,
        }
        return operator in rights.operators

    try:
        remembering(control_plane, namespace, check)
    finally:
        for kind in ("clusterrolebindings", "clusterroles"):
            control_plane.delete(f"{RBAC}/{kind}/kuberay-{namespace}")
