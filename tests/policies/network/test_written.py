"""What RayWarden writes keeps every need open and every stranger out, for any RayCluster."""

from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from policies.cluster.pod_isolation import rules_opening_ray
from policies.cluster.state import LiveCluster, NamespaceState
from policies.network.allowance import Allowance
from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ClusterIsolation, IsolationMode
from policies.network.needs import closed_needs
from policies.network.parties import AddressParty, Party, PodParty
from policies.network.policy import Direction, NetworkPolicy
from policies.network.ports import Ports, common, merged, missing_from
from policies.network.ray_traffic import EPHEMERAL, HEAD_METRICS, ClusterTraffic
from policies.network.reachability import Policies
from policies.network.written import Members, PolicyNames, WrittenPolicy, policies_for
from policies.ray.workload import Workload
from tests.support.factory import Object, changed, container, ray_cluster

_INFRASTRUCTURE = Infrastructure(
    ["kuberay-system"], ("raywarden-system", 8444), [("10.96.0.1", 443), ("fd00::1", 6443)]
)
_MODES = [IsolationMode.MEMBERS, IsolationMode.DENY_INGRESS, IsolationMode.DENY_ALL]
_STRANGERS: list[Party] = [
    PodParty("", namespace_labels={}, chooses_labels=True),
    PodParty("team-a", {"ray.io/cluster": "another", "ray.io/node-type": "head"}),
    PodParty("team-a", {"app": "notebook"}),
    PodParty("team-b", {"ray.io/cluster": "demo"}),
    AddressParty(),
]
# Those that clusters use, and those that collide with what others use.
_PORTS = st.sampled_from([1, 6379, 8000, 8080, 8265, 10001, 15000, 40000, 44217, 44227, 52365])
_PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port",
            "dashboard-agent-grpc-port", "node-manager-port", "object-manager-port",
            "runtime-env-agent-port", "metrics-export-port", "min-worker-port", "max-worker-port",
        ]
    ),
    _PORTS.map(str) | st.sampled_from(["0", "99999", "x", ""]),
)  # fmt: skip
_DECLARED = st.lists(_PORTS.map(lambda port: {"containerPort": port}), max_size=4)
_LABELS = st.sampled_from(
    [
        {},
        {"ray.io/originated-from-crd": "RayService", "ray.io/originated-from-cr-name": "s"},
        {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": "j"},
        {"ray.io/job-submission-mode": "HTTPMode"},
    ]
)


@st.composite
def clusters(draw: st.DrawFn) -> Object:
    """A RayCluster whose ports move and collide."""

    def group(name: str) -> Object:
        ray = container("ray", ports=draw(_DECLARED))
        template = {"spec": {"containers": [ray]}}
        return {"groupName": name, "rayStartParams": draw(_PARAMETERS), "template": template}

    spec = {
        "headGroupSpec": group("headgroup"),
        "workerGroupSpecs": [group(f"w{number}") for number in range(draw(st.integers(0, 2)))],
        "enableInTreeAutoscaling": draw(st.booleans()),
    }
    return changed(ray_cluster(), {"/metadata/labels": draw(_LABELS), "/spec": spec})


def write(traffic: ClusterTraffic, isolation: ClusterIsolation) -> list[WrittenPolicy]:
    names, members = PolicyNames.of("demo"), Members.of("demo")
    return list(policies_for(traffic, isolation, _INFRASTRUCTURE, names, members))


def traffic_of(cluster: Object) -> ClusterTraffic:
    return ClusterTraffic.of(Workload("RayCluster", cluster))


def judged(policies: list[WrittenPolicy]) -> Policies:
    return Policies(
        [NetworkPolicy({"metadata": {"name": each.name}, "spec": each.spec}) for each in policies]
    )


@given(clusters(), st.sampled_from(_MODES))
def test_no_need_is_closed(cluster: Object, mode: IsolationMode) -> None:
    traffic = traffic_of(cluster)
    # Those who use Serve and metrics are let in by name.
    clients, monitoring = (Allowance.ingress("*:8000"),), (Allowance.ingress("*"),)
    isolation = ClusterIsolation(mode, allow_from=clients, monitoring=monitoring)
    policies = judged(write(traffic, isolation))
    closed = closed_needs(traffic, policies, _INFRASTRUCTURE)
    assert [f"{each.pods}: {each}" for each in closed] == []


@given(clusters(), st.sampled_from(_MODES), st.booleans())
def test_no_stranger_reaches_a_port_of_ray(
    cluster: Object, mode: IsolationMode, monitored: bool
) -> None:
    traffic = traffic_of(cluster)
    monitoring = (Allowance.ingress("*"), Allowance.ingress("0.0.0.0/0")) if monitored else ()
    policies = judged(write(traffic, ClusterIsolation(mode, monitoring=monitoring)))
    # Metrics in the range of random ports are bound by their number.
    metrics = merged([*HEAD_METRICS, *(span for group in traffic.groups for span in group.metrics)])
    random = missing_from(metrics, EPHEMERAL)
    for group in traffic.groups:
        rays = merged([*group.own, *random])
        for stranger in _STRANGERS:
            reach = policies.reach(group.party, Direction.INGRESS, stranger)
            assert common(reach.possibly, rays) == ()


@given(clusters(), st.sampled_from(_MODES))
def test_a_rule_without_ports_names_peers(cluster: Object, mode: IsolationMode) -> None:
    for policy in write(traffic_of(cluster), ClusterIsolation(mode)):
        for rule in policy.ingress:
            assert rule.rule.get("ports") or rule.rule.get("from")
            assert rule.rule.get("ports", True) != []


NO_PORT_FOR_OTHERS = changed(
    ray_cluster(),
    {
        "/spec/headGroupSpec/rayStartParams": {"port": "8000", "dashboard-port": "8080"},
        "/spec/workerGroupSpecs/0/rayStartParams": {"dashboard-agent-listen-port": "8000"},
    },
)


def test_a_cluster_that_moves_its_ports_over_those_for_others_opens_none() -> None:
    isolation = ClusterIsolation(IsolationMode.MEMBERS, monitoring=(Allowance.ingress("m"),))
    pods, head = write(traffic_of(NO_PORT_FOR_OTHERS), isolation)
    assert [rule.reason for rule in pods.ingress] == [
        "the members of this cluster reach each other"
    ]
    opened = [entry["port"] for rule in head.ingress for entry in rule.rule["ports"]]
    assert set(opened) == {8080, 44217, 44227}, "the dashboard, and the head's metrics"


def test_a_port_for_others_that_another_group_uses_itself_stays_closed() -> None:
    ports = [{"containerPort": port} for port in (9999, 9990)]
    cluster = changed(
        ray_cluster(),
        {
            "/spec/headGroupSpec/template/spec/containers/0/ports": ports,
            "/spec/workerGroupSpecs/0/rayStartParams": {"node-manager-port": "9999"},
        },
    )
    pods, _ = write(traffic_of(cluster), ClusterIsolation(IsolationMode.MEMBERS))
    assert [entry["port"] for entry in pods.ingress[1].rule["ports"]] == [8000, 8080, 9990]


def test_the_internet_is_without_private_networks_and_with_ports_if_named() -> None:
    allowed = (Allowance.egress("internet:443,1000-2000"),)
    isolation = ClusterIsolation(IsolationMode.DENY_ALL, egress=allowed)
    traffic = traffic_of(ray_cluster())
    policies = judged(write(traffic, isolation))
    head = traffic.groups[0].party

    def reached(*networks: Any) -> Ports:
        party = AddressParty(tuple(map(_network, networks)))
        return policies.reach(head, Direction.EGRESS, party).certainly

    assert common(reached("8.8.8.8/32"), (range(443, 1001),)) == (
        range(443, 444),
        range(1000, 1001),
    )
    assert common(reached("2600::/32"), (range(2000, 2002),)) == (range(2000, 2001),)
    for private in ("10.0.0.0/24", "169.254.169.254/32", "198.18.0.0/16", "fd00::/64"):
        assert common(reached(private), (range(443, 444),)) == (), private
    last = policies_entry(write(traffic, isolation)[0])
    assert last["ports"][1] == {"protocol": "TCP", "port": 1000, "endPort": 2000}


def policies_entry(policy: WrittenPolicy) -> Any:
    return (policy.egress or ())[-1].rule


def _network(text: str) -> Any:
    return ip_network(text)


def test_the_api_server_is_reached_at_its_addresses_alone() -> None:
    cluster = changed(ray_cluster(), {"/spec/enableInTreeAutoscaling": True})
    (policy, _) = write(traffic_of(cluster), ClusterIsolation(IsolationMode.DENY_ALL))
    assert policy.egress
    blocks = [each["ipBlock"]["cidr"] for rule in policy.egress for each in _blocks(rule.rule)]
    assert blocks == ["10.96.0.1/32", "fd00::1/128"]


def _blocks(rule: Any) -> list[Any]:
    return [peer for peer in rule.get("to", ()) if "ipBlock" in peer]


@given(clusters())
def test_the_rules_accept_what_raywarden_writes(document: Object) -> None:
    traffic = ClusterTraffic.of(Workload("RayCluster", document))
    known = NamespaceState(ray_clusters={"demo": LiveCluster.of(document)}, network_policies=[])
    for written in write(traffic, ClusterIsolation(IsolationMode.MEMBERS)):
        policy = NetworkPolicy({"metadata": {"name": written.name}, "spec": written.spec})
        assert rules_opening_ray(policy, known) == []
