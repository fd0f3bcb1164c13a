"""What the signer hears about a RayCluster's policies, and what is to be written."""

import pytest

from policies.network.allowance import Allowance
from policies.network.isolation import ALLOW_FROM_ANNOTATION, ISOLATION_ANNOTATION, ClusterIsolation
from policies.network.isolation import IsolationMode as Mode
from policies.network.managed import ManagedCluster, StoredNetworkPolicy, application_of
from policies.network.written import WrittenPolicy
from tests.support.factory import Object, changed
from tests.webhook.isolation.scripted import Scripted, raw_cluster
from webhook.isolation.wanted import NoNetworkPolicies

PODS, HEAD = "raywarden-pods-demo", "raywarden-head-demo"


def closed(scripted: Scripted, **annotations: str) -> None:
    """Store the cluster and the policies that it should have."""
    scripted.state.put(raw_cluster(**annotations))
    for policy, document in documents(scripted):
        stored = StoredNetworkPolicy.of(document)
        scripted.state.policies["ray", policy.name] = stored


def documents(scripted: Scripted) -> list[tuple[WrittenPolicy, Object]]:
    plan = scripted.wanted.plan("ray", "demo")
    assert plan.cluster
    return [(policy, application_of(policy, plan.cluster)) for policy, _ in plan.write]


def test_pods_wait_until_the_cache_knows_their_cluster() -> None:
    scripted = Scripted()
    scripted.state.synced = False
    assert "not read the NetworkPolicies" in scripted.missing()
    scripted.state.synced = True
    expected = "the RayCluster demo is not in RayWarden's cache yet"
    assert scripted.missing() == expected
    scripted.state.put(raw_cluster(uid="u0"))
    assert scripted.missing() == expected, "an earlier cluster of the same name"
    scripted.state.put(raw_cluster(uid="u1"))
    assert scripted.missing() == f"the NetworkPolicy {PODS} does not exist yet"


def test_nothing_is_missing_where_both_policies_stand() -> None:
    scripted = Scripted()
    closed(scripted)
    assert scripted.missing() == ""
    plan = scripted.wanted.plan("ray", "demo")
    assert (plan.write, plan.delete) == ([], [])


def test_a_new_policy_file_counts_at_once() -> None:
    scripted = Scripted()
    closed(scripted)
    scripted.isolation = ClusterIsolation(Mode.DENY_INGRESS)
    assert scripted.missing() == f"the NetworkPolicy {PODS} is not up to date yet"
    scripted.isolation = ClusterIsolation(Mode.OFF)
    assert scripted.missing() == ""
    names = {policy.name for policy in scripted.wanted.plan("ray", "demo").delete}
    assert names == {PODS, HEAD}


def test_a_cluster_without_the_annotation_is_left_alone() -> None:
    scripted = Scripted()
    scripted.state.put(changed(raw_cluster(), {"/metadata/annotations": {}}))
    assert scripted.missing() == "" and not scripted.wanted.plan("ray", "demo").write


def test_where_nothing_is_written_nothing_is_missing() -> None:
    assert NoNetworkPolicies().missing("ray", "demo", "u1") == ""


def test_kuberays_own_policies_are_waited_for() -> None:
    scripted = Scripted()
    closed(scripted)
    scripted.state.put(changed(raw_cluster(), {"/spec/networkPolicy": {"mode": "DenyAll"}}))
    assert scripted.missing() == "KubeRay has not written the NetworkPolicies of demo yet"
    assert not scripted.wanted.plan("ray", "demo").delete, "ours keep it closed until then"
    scripted.state.kuberay.add(("ray", "demo"))
    assert scripted.missing() == ""
    assert len(scripted.wanted.plan("ray", "demo").delete) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"/spec/ingress": [{}]},
        {"/spec/podSelector": {}},
        {"/spec/policyTypes": ["Egress"]},
        {"/spec/egress": [{}], "/spec/policyTypes": ["Ingress", "Egress"]},
        {"/spec/ingress": [{"ports": [{"port": number}]} for number in range(30_000)]},
    ],
)
def test_a_policy_with_another_effect_is_missing_and_written(change: Object) -> None:
    scripted = Scripted()
    for policy, document in put(scripted):
        stored = StoredNetworkPolicy.of(changed(document, change if policy.name == PODS else {}))
        scripted.state.policies["ray", policy.name] = stored
    assert scripted.missing() == f"the NetworkPolicy {PODS} is not up to date yet"
    assert [policy.name for policy, _ in scripted.wanted.plan("ray", "demo").write] == [PODS]


@pytest.mark.parametrize(
    "change",
    [
        {"/metadata/labels": {}},
        {"/metadata/ownerReferences": []},
        {"/metadata/ownerReferences/0/controller": True},
    ],
)
def test_a_policy_without_its_owner_or_label_is_written_but_not_missing(change: Object) -> None:
    scripted = Scripted()
    for policy, document in put(scripted):
        stored = StoredNetworkPolicy.of(changed(document, change))
        scripted.state.policies["ray", policy.name] = stored
    assert scripted.missing() == ""
    assert len(scripted.wanted.plan("ray", "demo").write) == 2


def test_policies_of_an_earlier_cluster_are_missing_because_they_are_about_to_be_deleted() -> None:
    scripted = Scripted()
    closed(scripted)
    scripted.state.put(raw_cluster(uid="u2"))
    assert scripted.missing(uid="u2") == f"the NetworkPolicy {PODS} is not up to date yet"
    assert len(scripted.wanted.plan("ray", "demo").write) == 2


def test_raywarden_closes_what_kuberay_leaves_open() -> None:
    scripted = Scripted()
    egress_only = {"/spec/networkPolicy": {"mode": "DenyAllEgress"}}
    scripted.state.put(changed(raw_cluster(), egress_only))
    scripted.state.kuberay.add(("ray", "demo"))
    assert scripted.missing() == f"the NetworkPolicy {PODS} does not exist yet"
    assert len(scripted.wanted.plan("ray", "demo").write) == 2


def test_a_policy_for_many_networks_stands() -> None:
    scripted = Scripted()
    networks = (f"10.{number // 256}.{number % 256}.0/24:8265" for number in range(2000))
    allowed = tuple(map(Allowance.ingress, networks))
    scripted.isolation = ClusterIsolation(Mode.MEMBERS, allow_from=allowed)
    closed(scripted)
    assert scripted.missing() == "" and not scripted.wanted.plan("ray", "demo").write


def test_no_part_of_an_annotation_that_is_too_long_is_read() -> None:
    scripted = Scripted()
    scripted.isolation = ClusterIsolation(Mode.MEMBERS, authors_may_allow=True)
    # Its first 2000 characters end in 10.0.0.0/1.
    text = f"{'10.0.0.0/1':>2000}6"
    scripted.state.put(raw_cluster(**{ALLOW_FROM_ANNOTATION: text}))
    assert "ipBlock" not in str(documents(scripted))


def test_egress_rules_without_effect_do_not_count() -> None:
    scripted = Scripted()
    for policy, document in put(scripted):
        stored = StoredNetworkPolicy.of(changed(document, {"/spec/egress": [{}]}))
        scripted.state.policies["ray", policy.name] = stored
    assert scripted.missing() == "" and not scripted.wanted.plan("ray", "demo").write


def test_policies_that_are_not_ours_are_not_deleted() -> None:
    scripted = Scripted(Mode.OFF)
    scripted.state.put(raw_cluster())
    changes: tuple[Object, ...] = ({"/metadata/labels": {}}, {"/metadata/ownerReferences": []})
    for change in changes:
        document = {
            "metadata": {
                "name": PODS,
                "namespace": "ray",
                "labels": {"app.kubernetes.io/managed-by": "raywarden"},
                "ownerReferences": [
                    {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "demo", "uid": "u1"}
                ],
            }
        }
        scripted.state.policies["ray", PODS] = StoredNetworkPolicy.of(document)
        assert len(scripted.wanted.plan("ray", "demo").delete) == 1
        scripted.state.policies["ray", PODS] = StoredNetworkPolicy.of(changed(document, change))
        assert not scripted.wanted.plan("ray", "demo").delete


def test_a_cluster_that_is_being_deleted_gets_no_new_policies_but_is_repaired() -> None:
    scripted = Scripted()
    ending = changed(raw_cluster(), {"/metadata/deletionTimestamp": "2026-11-21T12:00:00Z"})
    scripted.state.put(ending)
    assert not scripted.wanted.plan("ray", "demo").write
    closed(scripted)
    scripted.state.put(ending)
    scripted.isolation = ClusterIsolation(Mode.DENY_INGRESS)
    assert len(scripted.wanted.plan("ray", "demo").write) == 2


def test_a_cluster_too_large_to_read_is_closed_but_for_its_members() -> None:
    ports = [{"containerPort": 20_000 + 2 * number} for number in range(200)]
    place = "/spec/headGroupSpec/template/spec/containers/0/ports"
    cluster = ManagedCluster.of(changed(raw_cluster(), {place: ports}))
    assert cluster and cluster.too_large
    assert cluster.isolation(ClusterIsolation(Mode.MEMBERS)).mode is Mode.DENY_INGRESS
    scripted = Scripted()
    scripted.state.put(changed(raw_cluster(), {place: ports}))
    (pods, document), _ = documents(scripted)
    assert pods.name == PODS
    members = {"podSelector": {"matchLabels": {"ray.io/cluster": "demo"}}}
    assert document["spec"]["ingress"] == [{"from": [members]}]


def test_no_rule_without_ports_opens_every_port() -> None:
    scripted = Scripted()
    scripted.state.put(changed(raw_cluster(), {"/spec": {}}))
    for policy, _ in scripted.wanted.plan("ray", "demo").write:
        for rule in policy.spec["ingress"]:
            assert rule.get("ports") or "podSelector" in rule["from"][0], rule


def test_the_annotation_tightens_and_allows_only_where_authors_may() -> None:
    scripted = Scripted()
    annotations = {ISOLATION_ANNOTATION: "deny-all", ALLOW_FROM_ANNOTATION: "notebooks:8265"}
    scripted.state.put(raw_cluster(**annotations))
    (_, document), _ = documents(scripted)
    assert document["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "notebooks" not in str(document)
    scripted.isolation = ClusterIsolation(Mode.MEMBERS, authors_may_allow=True)
    assert "notebooks" in str(documents(scripted))


def put(scripted: Scripted) -> list[tuple[WrittenPolicy, Object]]:
    """Store the cluster; returns what should be written for it."""
    scripted.state.put(raw_cluster())
    return documents(scripted)
