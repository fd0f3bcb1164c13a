"""The NetworkPolicies that running servers write, with a real API server."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from policies.network.isolation import ISOLATION_ANNOTATION
from tests.apiserver.installation import Installation, until
from tests.apiserver.network_policies import (
    HEAD,
    PODS,
    Isolating,
    allow_no_network_policies,
    items,
    make_managed,
    policies_in,
)
from tests.apiserver.permissions import RBAC
from tests.support.factory import Object

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

LEASES = "/apis/coordination.k8s.io/v1/namespaces"
MISSING = "raywarden_ray_clusters_missing_network_policies"
WRITTEN = 'raywarden_network_policy_changes_total{change="written"}'
REPAIRED = 'raywarden_network_policy_changes_total{change="repaired"}'


@pytest.fixture(scope="module")
def isolating(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Isolating]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("policy")
        yield Isolating(installation, stack, folder / "policy.yaml")


def test_a_new_cluster_is_closed_within_a_second_by_one_replica(isolating: Isolating) -> None:
    isolating.leader()
    namespace = isolating.installation.team()
    cluster = make_managed(isolating.control_plane, namespace)
    policies = isolating.wait_closed(namespace, seconds=1)
    for policy in policies.values():
        assert policy["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "raywarden"}
        (owner,) = policy["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["kind"]) == (cluster["metadata"]["uid"], "RayCluster")
        assert (owner["controller"], owner["blockOwnerDeletion"]) == (False, False)
    selector = {"matchLabels": {"ray.io/cluster": "demo"}}
    assert policies[PODS]["spec"]["podSelector"] == selector
    operator = {"kubernetes.io/metadata.name": "kuberay-system"}
    assert (
        operator
        == (policies[HEAD]["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"])
    )
    until(lambda: all(replica.metric(MISSING) == 0 for replica in isolating.replicas))
    mine = [write for write in isolating.writes() if f" {namespace}/" in write]
    assert sorted(mine) == [f"patch {namespace}/{HEAD}", f"patch {namespace}/{PODS}"]


def test_changed_and_deleted_policies_are_repaired(isolating: Isolating) -> None:
    leader, namespace = isolating.leader(), isolating.installation.team()
    make_managed(isolating.control_plane, namespace)
    spec = isolating.wait_closed(namespace)[PODS]["spec"]
    path = f"{policies_in(namespace)}/{PODS}"
    before = leader.metric(REPAIRED)
    changes: tuple[Object, ...] = (
        {"spec": {"ingress": [{}]}},
        {"spec": {"podSelector": {"matchLabels": {"ray.io/cluster": "other"}}}},
        {"spec": {"policyTypes": ["Egress"]}},
        {"metadata": {"ownerReferences": None}},
        {"metadata": {"labels": None}},
    )
    for change in changes:
        isolating.control_plane.patch(path, change)
        until(lambda: is_whole(isolating.policies(namespace)[PODS], spec), 2)
    assert leader.metric(REPAIRED) - before == 5
    written = leader.metric(WRITTEN)
    isolating.control_plane.delete(path)
    until(lambda: PODS in isolating.policies(namespace), 2)
    assert leader.metric(WRITTEN) == written + 1


def is_whole(policy: Object, spec: Object) -> bool:
    """Whether a policy has this spec, an owner and RayWarden's label."""
    metadata = policy["metadata"]
    return policy["spec"] == spec and "ownerReferences" in metadata and "labels" in metadata


def test_a_foreign_policy_of_the_same_name_is_taken_over_and_kept_stable(
    isolating: Isolating,
) -> None:
    """What a tenant leaves in it stays if it has no effect, and nothing is written twice."""
    namespace = isolating.installation.team(unseen="")
    spec = {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{}],
        "egress": [{}],
    }
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x", "controller": True}
    metadata = {"name": PODS, "ownerReferences": [owner], "finalizers": ["example.com/keep"]}
    isolating.control_plane.make(policies_in(namespace), {"metadata": metadata, "spec": spec})
    make_managed(isolating.control_plane, namespace)
    selector = {"matchLabels": {"ray.io/cluster": "demo"}}
    until(lambda: isolating.policies(namespace)[PODS]["spec"]["podSelector"] == selector)
    policy = isolating.wait_closed(namespace)[PODS]
    assert policy["spec"]["policyTypes"] == ["Ingress"] and policy["spec"]["ingress"] != [{}]
    time.sleep(3)
    mine = [write for write in isolating.writes() if write.endswith(f" {namespace}/{PODS}")]
    assert len(mine) == 1, mine
    isolating.control_plane.patch(
        f"{policies_in(namespace)}/{PODS}", {"metadata": {"finalizers": None}}
    )


def test_other_policies_are_left_alone(isolating: Isolating) -> None:
    namespace = isolating.installation.team(unseen="")
    metadata = {"name": "raywarden-pods-gone", "labels": {"app.kubernetes.io/managed-by": "me"}}
    spec: Object = {"podSelector": {}}
    isolating.control_plane.make(policies_in(namespace), {"metadata": metadata, "spec": spec})
    make_managed(isolating.control_plane, namespace, **{ISOLATION_ANNOTATION: "deny-all"})
    policies = isolating.wait_closed(namespace)
    assert policies[PODS]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "raywarden-pods-gone" in policies


def test_nothing_is_written_while_nothing_changes(isolating: Isolating) -> None:
    namespace = isolating.installation.team()
    make_managed(isolating.control_plane, namespace)
    isolating.wait_closed(namespace)
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters/demo"
    time.sleep(1)

    def writes() -> list[str]:
        return [write for write in isolating.writes() if f" {namespace}/" in write]

    before = writes()
    for number in range(20):
        isolating.control_plane.patch(path, {"status": {"observedGeneration": number}})
        time.sleep(0.5)
    assert writes() == before


def test_the_policies_follow_the_policy_file(isolating: Isolating) -> None:
    namespace = isolating.installation.team()
    make_managed(isolating.control_plane, namespace)
    isolating.wait_closed(namespace)
    try:
        isolating.set_mode("deny-all", egress=["api-server", "internet"])
        types = ["Ingress", "Egress"]
        until(lambda: isolating.policies(namespace)[PODS]["spec"]["policyTypes"] == types)
        isolating.set_mode("off")
        until(lambda: not isolating.policies(namespace))
    finally:
        isolating.set_mode("members")
    isolating.wait_closed(namespace)


def test_policies_of_kuberay_replace_ours(isolating: Isolating) -> None:
    namespace = isolating.installation.team(unseen="")
    cluster = make_managed(isolating.control_plane, namespace)
    isolating.wait_closed(namespace)
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters/demo"
    isolating.control_plane.patch(path, {"spec": {"networkPolicy": {"mode": "DenyAll"}}})
    time.sleep(1)
    assert isolating.policies(namespace).keys() == {PODS, HEAD}, "nothing else closes it yet"
    owner = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "name": "demo",
        "uid": cluster["metadata"]["uid"],
        "controller": True,
    }
    for role in ("head", "worker"):
        pods = {"ray.io/cluster": "demo", "ray.io/node-type": role}
        policy = {
            "metadata": {"name": f"demo-{role}", "ownerReferences": [owner]},
            "spec": {"podSelector": {"matchLabels": pods}},
        }
        isolating.control_plane.make(policies_in(namespace), policy)
    until(lambda: isolating.policies(namespace).keys() == {"demo-head", "demo-worker"})


def test_a_problem_is_logged_once_counted_and_recorded_as_an_event(isolating: Isolating) -> None:
    namespace = isolating.installation.team()
    allow_no_network_policies(isolating.control_plane, namespace)
    leader = isolating.leader()
    others = leader.metric(MISSING)
    cluster = make_managed(isolating.control_plane, namespace)
    refused = 'raywarden_network_policy_errors_total{reason="refused"}'
    until(lambda: leader.metric(refused) >= 2)
    assert leader.metric(MISSING) == others + 1
    logged = [
        record
        for record in leader.log("network policy not written")
        if record["namespace"] == namespace
    ]
    assert len(logged) == 1 and "quotas" in logged[0]["reason"]
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    (event,) = items(isolating.control_plane, path)
    assert event["regarding"]["uid"] == cluster["metadata"]["uid"]
    assert (event["type"], event["reason"]) == ("Warning", "NetworkPoliciesNotWritten")
    isolating.control_plane.delete(f"/api/v1/namespaces/{namespace}/resourcequotas/none")
    isolating.wait_closed(namespace, 30)
    until(lambda: leader.metric(MISSING) == 0)


def test_without_rights_each_cluster_stays_missing_until_they_are_back(
    isolating: Isolating,
) -> None:
    name = f"{RBAC}/clusterrolebindings/raywarden-network-policies"
    binding = isolating.control_plane.get(name)
    isolating.control_plane.delete(name)
    namespace, leader = isolating.installation.team(), isolating.leader()
    forbidden = 'raywarden_network_policy_errors_total{reason="forbidden"}'
    try:
        time.sleep(1)
        make_managed(isolating.control_plane, namespace)
        until(lambda: leader.metric(forbidden) >= 2)
        leader.wait_logged("network policy not written", error="forbidden")
        assert not isolating.policies(namespace)
    finally:
        for field in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
            binding["metadata"].pop(field)
        isolating.control_plane.make(f"{RBAC}/clusterrolebindings", binding)
    isolating.wait_closed(namespace, 30)


def test_another_replica_takes_over_when_the_leader_stops_or_dies(isolating: Isolating) -> None:
    leader = isolating.leader()
    lease = f"{LEASES}/{isolating.installation.namespace}/leases/raywarden-network-policies"
    holder = isolating.control_plane.get(lease)["spec"]["holderIdentity"]
    started = time.monotonic()
    assert leader.stop() == 0
    isolating.leader()
    assert time.monotonic() - started < 8, "the Lease was not released"
    assert isolating.control_plane.get(lease)["spec"]["holderIdentity"] != holder
    third = isolating.start()
    third.wait_ready()
    isolating.replicas.append(third)
    leader = isolating.leader()
    leader.process.kill()
    leader.process.wait()
    namespace = isolating.installation.team(unseen="")
    make_managed(isolating.control_plane, namespace)
    isolating.wait_closed(namespace, 30)
    assert isolating.leader() is third
