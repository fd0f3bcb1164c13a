"""The traffic without which a Ray cluster does not start or work, and what policies close of it.

Sources: Ray 2.60 (ports), KubeRay 1.7 (`rayjob_controller.go`, `rayservice_controller.go`: the
operator asks the dashboard and Serve; `common/job.go`: the submitter asks the dashboard).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

from policies.network.infrastructure import (
    OPERATOR_LABELS,
    SIGNER_LABELS,
    Infrastructure,
    egress_to_dns,
)
from policies.network.parties import NAMESPACE_NAME, AddressParty, Outsiders, Party, PodParty
from policies.network.policy import Direction, NetworkPolicy
from policies.network.ports import Ports, merged, missing_from, shown
from policies.network.ray_ports import span_of
from policies.network.ray_traffic import SERVE_PORT, ClusterTraffic, GroupTraffic, only
from policies.network.reachability import Policies
from policies.ray.membership import ORIGIN_KIND_LABEL, ORIGIN_NAME_LABEL, RAY_CLUSTER_LABEL
from policies.ray.pod import PodRole

# Where DNS answers: the pods of kube-dns or CoreDNS, those of OpenShift, or a node's address.
_KUBE_DNS = PodParty("kube-system", {"k8s-app": "kube-dns"})
_OPENSHIFT_DNS = PodParty("openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"})
_API_SERVER_PORTS = (443, 6443, 8443, 16443)
_ANYWHERE = AddressParty()
# KubeRay gives it to the pods that run a Serve proxy, and Services select them by it.
_SERVES = {"ray.io/serve": "true"}
# The ways of a group's needs besides those to other members.
_MAX_OTHER_WAYS = 16
# Who connects from elsewhere: not members, submitters or KubeRay's operator.
CLIENTS = Outsiders({RAY_CLUSTER_LABEL: "", ORIGIN_KIND_LABEL: "", **OPERATOR_LABELS})


@dataclass(frozen=True, slots=True)
class Way:
    """A connection: to or from whom, on which ports (all of them)."""

    party: Party
    ports: Ports
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class TrafficNeed:
    """Traffic that pods need; one of `ways` is enough.

    `title` names the traffic, `consequence` says what happens without it. `rule` is a rule that
    lets it through. `labels`: what KubeRay adds to the pods that need it.
    """

    title: str
    consequence: str
    direction: Direction
    ways: tuple[Way, ...]
    rule: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Closed:
    """A need that policies certainly close for some pods.

    `ports` are those that are closed, and `policies` the names of those that isolate the pods.
    """

    pods: str
    need: TrafficNeed
    ports: Ports
    policies: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.need.title} ({shown(self.ports)})"


def closed_needs(
    traffic: ClusterTraffic, policies: Policies, infrastructure: Infrastructure
) -> Iterator[Closed]:
    """What the pods of a RayCluster need and policies certainly close."""
    for group in traffic.groups:
        party = group.party
        isolating = {direction: policies.isolating(party, direction) for direction in Direction}
        if not any(isolating.values()):
            continue
        for need in _needs(traffic, group, infrastructure):
            pod, selected = party, isolating[need.direction]
            if need.labels:
                pod = replace(party, labels={**party.labels, **need.labels})
                selected = policies.isolating(pod, need.direction)
            # Only these policies count, so the others need no second look.
            ports = _closed(pod, need, Policies(selected)) if selected else ()
            if ports:
                names = tuple(sorted(policy.name for policy in selected))
                yield Closed(group.title, need, ports, names)


def count_comparisons(traffic: ClusterTraffic, policies: Iterable[NetworkPolicy]) -> int:
    """How many comparisons `closed_needs` makes at most, in about a microsecond each."""
    parts = sum(1 + policy.parts for policy in policies)
    groups = len(traffic.groups)
    return groups * (groups + _MAX_OTHER_WAYS) * parts


def _closed(pod: PodParty, need: TrafficNeed, policies: Policies) -> Ports:
    """The ports that are closed on the first way; empty if one way is open."""
    closed: list[Ports] = []
    for way in need.ways:
        reach = policies.reach(pod, need.direction, way.party, way.protocol)
        missing = missing_from(reach.possibly, way.ports)
        if not missing:
            return ()
        closed.append(missing)
    return closed[0] if closed else ()


def _needs(
    traffic: ClusterTraffic, group: GroupTraffic, infrastructure: Infrastructure
) -> Iterator[TrafficNeed]:
    yield from _of_members(group, traffic)
    yield _dns()
    if infrastructure.signer:
        namespace, number = infrastructure.signer
        way = Way(PodParty(namespace, SIGNER_LABELS), only(number))
        consequence = "its pods get no certificate and do not start"
        yield _need("enrollment", consequence, Direction.EGRESS, way, peer=_in(namespace))
    if group.is_scraped:
        way = Way(CLIENTS, group.metrics)
        consequence = "nobody can read the metrics that it declares"
        yield _need("Prometheus", consequence, Direction.INGRESS, way, peer=_in("MONITORING"))
    if traffic.origin == "RayService":
        way = Way(CLIENTS, only(SERVE_PORT))
        consequence = "no client can use the Serve applications there"
        title, peer = "the clients of Serve", _in("CLIENTS")
        need = _need(title, consequence, Direction.INGRESS, way, peer=peer)
        yield replace(need, labels=_SERVES)
    if group.role is PodRole.HEAD:
        yield from _of_head(traffic, infrastructure)


def _of_members(group: GroupTraffic, traffic: ClusterTraffic) -> Iterator[TrafficNeed]:
    """Each member reaches each other member on all ports that Ray listens on there."""
    consequence = "the members of the cluster cannot work together"
    ours = merged([*group.own, *group.random])
    rule = {"podSelector": _members(traffic)}
    for member in traffic.groups:
        # There is one head, and no policy applies to what a pod sends to itself.
        if member is group and group.role is PodRole.HEAD:
            continue
        for direction, ports in (
            (Direction.EGRESS, merged([*member.own, *member.random])),
            (Direction.INGRESS, ours),
        ):
            way = Way(member.party, ports)
            title = "other pods of its group" if member is group else f"the {member.title}"
            yield _need(title, consequence, direction, way, peer=rule, every_port=True)


def _of_head(traffic: ClusterTraffic, infrastructure: Infrastructure) -> Iterator[TrafficNeed]:
    yield from _of_operator(traffic, infrastructure)
    if traffic.origin == "RayJob" and traffic.takes_submitters:
        labels = {ORIGIN_KIND_LABEL: "RayJob", ORIGIN_NAME_LABEL: traffic.origin_name}
        way = Way(PodParty(traffic.namespace, labels), traffic.dashboard)
        peer = {"podSelector": {"matchLabels": labels}}
        consequence = "the job is never submitted"
        yield _need("the pod that submits the job", consequence, Direction.INGRESS, way, peer=peer)
    if traffic.reaches_api_server:
        yield _api_server(infrastructure)
    if traffic.redis:
        way = Way(_ANYWHERE, traffic.redis)
        yield _need("Redis", "GCS cannot keep its state", Direction.EGRESS, way)


def _dns() -> TrafficNeed:
    ways = (
        Way(_ANYWHERE, only(53), "UDP"),
        Way(_KUBE_DNS, only(53), "UDP"),
        Way(_OPENSHIFT_DNS, only(5353), "UDP"),
    )
    consequence = "its pods cannot look up the name of the head"
    return TrafficNeed("egress to DNS", consequence, Direction.EGRESS, ways, egress_to_dns())


def _api_server(infrastructure: Infrastructure) -> TrafficNeed:
    """The API server is reached at its Service's address, or at its own."""
    known = [
        Way(AddressParty((ip_network(address),)), only(number))
        for address, number in infrastructure.api_server
    ]
    ways = known or [Way(_ANYWHERE, only(number)) for number in _API_SERVER_PORTS]
    ports = merged(span for way in ways for span in way.ports)
    consequence = "the autoscaler and Kubernetes token authentication do not work"
    rule = {"ports": _entries(ports if known else merged(map(span_of, _API_SERVER_PORTS[:2])))}
    title = "egress to the API server"
    return TrafficNeed(title, consequence, Direction.EGRESS, tuple(ways), rule)


def _of_operator(traffic: ClusterTraffic, infrastructure: Infrastructure) -> Iterator[TrafficNeed]:
    """KubeRay's operator asks the dashboard of a RayJob or RayService, and Serve for its health."""
    if traffic.origin not in ("RayJob", "RayService") or not infrastructure.operators:
        return
    ports = traffic.dashboard
    if traffic.origin == "RayService":
        ports = merged([*ports, *only(SERVE_PORT)])
    ways = [Way(PodParty(name, OPERATOR_LABELS), ports) for name in infrastructure.operators]
    consequence = f"KubeRay cannot see the state of the {traffic.origin}"
    peer = _in(infrastructure.operators[0])
    yield _need("KubeRay's operator", consequence, Direction.INGRESS, *ways, peer=peer)


def _need(
    party: str,
    consequence: str,
    direction: Direction,
    *ways: Way,
    peer: Mapping[str, Any] | None = None,
    every_port: bool = False,
) -> TrafficNeed:
    """Traffic with a party, which a rule for `peer` lets through; without one, for everyone."""
    word = "egress to" if direction is Direction.EGRESS else "ingress from"
    rule: dict[str, Any] = {direction.peers_field: [peer]} if peer else {}
    if not every_port:
        rule["ports"] = _entries(ways[0].ports)
    return TrafficNeed(f"{word} {party}", consequence, direction, ways, rule)


def _members(traffic: ClusterTraffic) -> Mapping[str, Any]:
    """A selector of the cluster's members; KubeRay chooses the name of a cluster that it makes."""
    if traffic.origin:
        return {"matchExpressions": [{"key": RAY_CLUSTER_LABEL, "operator": "Exists"}]}
    return {"matchLabels": {RAY_CLUSTER_LABEL: traffic.name}}


def _in(namespace: str) -> Mapping[str, Any]:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}}}


def _entries(ports: Ports) -> Sequence[Mapping[str, Any]]:
    return [
        {"port": span.start} if len(span) == 1 else {"port": span.start, "endPort": span.stop - 1}
        for span in ports
    ]
