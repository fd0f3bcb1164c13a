"""The traffic without which a Ray cluster does not start or work, and what policies close of it.

Sources: Ray 2.60 (ports), KubeRay 1.7 (`rayjob_controller.go`, `rayservice_controller.go`: the
operator asks the dashboard and Serve; `common/job.go`: the submitter asks the dashboard).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from policies.network.infrastructure import OPERATOR_LABELS, SIGNER_LABELS, Infrastructure
from policies.network.parties import AddressParty, Party, PodParty
from policies.network.policy import Direction
from policies.network.ports import Ports, merged, missing_from, shown
from policies.network.ray_traffic import SERVE_PORT, ClusterTraffic, GroupTraffic
from policies.network.ray_traffic import port as only
from policies.network.reachability import Policies
from policies.ray.pod import PodRole

# Where DNS answers: the pods of kube-dns or CoreDNS, those of OpenShift, or a node's address.
_KUBE_DNS = PodParty("kube-system", {"k8s-app": "kube-dns"})
_OPENSHIFT_DNS = PodParty("openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"})
_API_SERVER_PORTS = (443, 6443, 8443, 16443)


@dataclass(frozen=True, slots=True)
class Way:
    """A connection: to or from whom, on which ports (all of them)."""

    party: Party
    ports: Ports
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class TrafficNeed:
    """Traffic that pods need; one of `ways` is enough.

    `title` names the traffic, `consequence` says what happens without it.
    """

    title: str
    consequence: str
    direction: Direction
    ways: tuple[Way, ...]


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
        for need in _needs(traffic, group, infrastructure):
            ports = _closed(group.party, need, policies)
            if ports:
                isolating = policies.isolating(group.party, need.direction)
                names = tuple(sorted(policy.name for policy in isolating))
                yield Closed(group.title, need, ports, names)


def _closed(pod: PodParty, need: TrafficNeed, policies: Policies) -> Ports:
    """The ports that are closed on the way that has the fewest; empty if one way is open."""
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
    yield from _of_members(group, traffic.groups)
    yield _dns()
    if infrastructure.signer:
        namespace, number = infrastructure.signer
        way = Way(PodParty(namespace, SIGNER_LABELS), only(number))
        consequence = "the pod gets no certificate and does not start"
        yield TrafficNeed("enrollment", consequence, Direction.EGRESS, (way,))
    if group.role is not PodRole.HEAD:
        return
    yield from _of_operator(traffic, infrastructure)
    if traffic.reaches_api_server:
        ways = [Way(AddressParty(), only(number)) for number in _API_SERVER_PORTS]
        consequence = "the autoscaler cannot add workers"
        yield TrafficNeed("the API server", consequence, Direction.EGRESS, tuple(ways))
    if traffic.redis:
        consequence = "GCS cannot keep its state"
        way = Way(AddressParty(), traffic.redis)
        yield TrafficNeed("Redis", consequence, Direction.EGRESS, (way,))


def _of_members(group: GroupTraffic, members: Iterable[GroupTraffic]) -> Iterator[TrafficNeed]:
    """Each member reaches each other member on all ports that Ray listens on there."""
    consequence = "the members of the cluster cannot work together"
    ours = merged([*group.own, *group.random])
    for member in members:
        # There is one head, and no policy applies to what a pod sends to itself.
        if member is group and group.role is PodRole.HEAD:
            continue
        theirs = merged([*member.own, *member.random])
        way = Way(member.party, theirs)
        yield TrafficNeed(f"egress to the {member.title}", consequence, Direction.EGRESS, (way,))
        way = Way(member.party, ours)
        yield TrafficNeed(
            f"ingress from the {member.title}", consequence, Direction.INGRESS, (way,)
        )


def _dns() -> TrafficNeed:
    ways = (
        Way(_KUBE_DNS, only(53), "UDP"),
        Way(_OPENSHIFT_DNS, only(5353), "UDP"),
        Way(AddressParty(), only(53), "UDP"),
    )
    return TrafficNeed("DNS", "the pods cannot find their head", Direction.EGRESS, ways)


def _of_operator(traffic: ClusterTraffic, infrastructure: Infrastructure) -> Iterator[TrafficNeed]:
    """KubeRay's operator asks the dashboard of a RayJob or RayService, and Serve for its health."""
    if traffic.origin not in ("RayJob", "RayService"):
        return
    ports = traffic.dashboard
    if traffic.origin == "RayService":
        ports = merged([*ports, *only(SERVE_PORT)])
    operators = (PodParty(name, OPERATOR_LABELS) for name in infrastructure.operators)
    ways = [Way(operator, ports) for operator in operators]
    if ways:
        consequence = f"KubeRay cannot see the state of the {traffic.origin}"
        yield TrafficNeed(
            "ingress from KubeRay's operator", consequence, Direction.INGRESS, tuple(ways)
        )
