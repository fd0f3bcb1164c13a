"""What policies close although Ray needs it, and that RayWarden's own policies close none of it."""

from typing import Any

import pytest
import yaml

from policies.network.allowance import Allowance
from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ClusterIsolation, IsolationMode
from policies.network.needs import closed_needs
from policies.network.parties import AddressParty, Party, PodParty
from policies.network.policy import Direction, NetworkPolicy
from policies.network.ports import common
from policies.network.ray_traffic import ClusterTraffic
from policies.network.reachability import Policies
from policies.network.written import Members, PolicyNames, policies_for
from policies.ray.workload import Workload
from tests.support.factory import Object, changed, ray_cluster

INFRASTRUCTURE = Infrastructure(["kuberay-system"], ("raywarden-system", 8444))
LABELED = changed(
    ray_cluster(),
    {
        "/spec/headGroupSpec/template/metadata": {"labels": {"app": "ray-cluster-head"}},
        "/spec/workerGroupSpecs/0/template/metadata": {"labels": {"app": "ray-cluster-worker"}},
    },
)
MODES = [IsolationMode.MEMBERS, IsolationMode.DENY_INGRESS, IsolationMode.DENY_ALL]
# The example policies of a guide (Alibaba Cloud, "Best practices for Ray security on ACK").
GUIDE = """
spec:
  podSelector: {matchLabels: {app: ray-cluster-head}}
  policyTypes: [Ingress]
  ingress:
    - {from: [{podSelector: {}}], ports: [{protocol: TCP, port: 6380}]}
    - {from: [{podSelector: {}}], ports: [{protocol: TCP, port: 8265}]}
    - {from: [{podSelector: {}}], ports: [{protocol: TCP, port: 10001}]}
---
spec:
  podSelector: {matchLabels: {app: ray-cluster-head}}
  policyTypes: [Egress]
  egress:
    - {to: [{podSelector: {matchLabels: {app: redis}}}], ports: [{protocol: TCP, port: 6379}]}
    - to: [{podSelector: {matchLabels: {app: ray-cluster-worker}}}]
---
spec:
  podSelector: {matchLabels: {app: ray-cluster-worker}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: ray-cluster-head}}}]}]
---
spec:
  podSelector: {matchLabels: {app: ray-cluster-worker}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: ray-cluster-head}}}]}]
"""


def traffic_of(cluster: Object) -> ClusterTraffic:
    return ClusterTraffic.of(Workload("RayCluster", cluster))


def closed(cluster: Object, *specs: Object) -> set[tuple[str, str]]:
    """The pods and the need of each closed need."""
    policies = Policies([NetworkPolicy(document) for document in specs])
    needs = closed_needs(traffic_of(cluster), policies, INFRASTRUCTURE)
    return {(each.pods, each.need.title) for each in needs}


def written(cluster: Object, mode: IsolationMode, **choices: Any) -> list[Object]:
    isolation = ClusterIsolation(mode, **choices)
    names, members = PolicyNames.of("demo"), Members.of("demo")
    policies = policies_for(traffic_of(cluster), isolation, INFRASTRUCTURE, names, members)
    return [
        {"metadata": {"name": policy.name, "namespace": policy.namespace}, "spec": policy.spec}
        for policy in policies
    ]


def test_the_policies_of_a_guide_close_what_ray_needs() -> None:
    head, worker = "head", "worker group small"
    assert closed(LABELED, *yaml.safe_load_all(GUIDE)) == {
        (head, "egress to DNS"),
        (head, "egress to enrollment"),
        (head, "ingress from the worker group small"),
        (worker, "egress to DNS"),
        (worker, "egress to enrollment"),
        (worker, "egress to other pods of its group"),
        (worker, "ingress from other pods of its group"),
    }


AUTOSCALING = changed(ray_cluster(), {"/spec/enableInTreeAutoscaling": True})
MOVED = changed(
    ray_cluster(),
    {"/spec/headGroupSpec/rayStartParams": {"port": "7000", "dashboard-port": "9999"}},
)
OF_A_SERVICE = changed(
    ray_cluster(), {"/metadata/labels": {"ray.io/originated-from-crd": "RayService"}}
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cluster", [ray_cluster(), AUTOSCALING, MOVED, OF_A_SERVICE])
def test_what_raywarden_writes_closes_nothing_that_ray_needs(
    cluster: Object, mode: IsolationMode
) -> None:
    needs = {title for _, title in closed(cluster, *written(cluster, mode))}
    # Who uses Serve is for its author to say.
    is_service = mode is not IsolationMode.MEMBERS and cluster is OF_A_SERVICE
    assert needs == ({"ingress from the clients of Serve"} if is_service else set())


STRANGERS: list[Party] = [
    PodParty("", namespace_labels={}, chooses_labels=True),
    PodParty("team-a", {"ray.io/cluster": "another"}),
    PodParty("team-a", {"app": "notebook"}),
    PodParty("team-b", {"ray.io/cluster": "demo"}),
    AddressParty(),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cluster", [ray_cluster(), AUTOSCALING, MOVED, OF_A_SERVICE])
@pytest.mark.parametrize("stranger", STRANGERS, ids=str)
def test_no_stranger_reaches_rays_own_ports(
    cluster: Object, mode: IsolationMode, stranger: Party
) -> None:
    policies = Policies([NetworkPolicy(document) for document in written(cluster, mode)])
    for group in traffic_of(cluster).groups:
        reach = policies.reach(group.party, Direction.INGRESS, stranger)
        assert common(reach.possibly, group.own) == ()


def test_serve_and_metrics_stay_open_to_all_only_among_members() -> None:
    stranger = STRANGERS[0]
    for mode in MODES:
        policies = Policies([NetworkPolicy(each) for each in written(ray_cluster(), mode)])
        for group in traffic_of(ray_cluster()).groups:
            reach = policies.reach(group.party, Direction.INGRESS, stranger).certainly
            is_open = all(common(reach, (range(port, port + 1),)) for port in (8000, 8080))
            assert is_open is (mode is IsolationMode.MEMBERS)


def test_an_open_port_that_ray_uses_itself_stays_closed() -> None:
    ports = [{"containerPort": port} for port in (8265, 6379, 10002, 8888)]
    declared = changed(
        ray_cluster(), {"/spec/headGroupSpec/template/spec/containers/0/ports": ports}
    )
    (policy, _) = written(declared, IsolationMode.MEMBERS)
    opened = [entry["port"] for entry in policy["spec"]["ingress"][1]["ports"]]
    assert opened == [8000, 8080, 8888]


def test_a_client_that_is_named_is_let_in() -> None:
    allowed = (Allowance.ingress("./app=notebook:10001"),)
    documents = written(ray_cluster(), IsolationMode.DENY_INGRESS, allow_from=allowed)
    policies = Policies([NetworkPolicy(document) for document in documents])
    head = traffic_of(ray_cluster()).groups[0].party
    reach = policies.reach(head, Direction.INGRESS, STRANGERS[2])
    assert reach.certainly == (range(10001, 10002),)


def test_off_writes_nothing() -> None:
    assert written(ray_cluster(), IsolationMode.OFF) == []


@pytest.mark.parametrize(("label", "is_closed"), [("ray.io/serve", False), ("app", True)])
def test_policies_may_select_the_pods_that_serve_by_kuberays_label(
    label: str, is_closed: bool
) -> None:
    opening = {
        "metadata": {"name": "clients", "namespace": "team-a"},
        "spec": {
            "podSelector": {"matchLabels": {label: "true"}},
            "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 8000}]}],
        },
    }
    policies = [*written(OF_A_SERVICE, IsolationMode.DENY_INGRESS), opening]
    titles = {title for _, title in closed(OF_A_SERVICE, *policies)}
    assert ("ingress from the clients of Serve" in titles) is is_closed
