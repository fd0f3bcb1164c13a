"""The traffic without which a Ray cluster does not start or work, and what policies close of it.

Sources: Ray 2.60 (ports), KubeRay 1.7 (`rayjob_controller.go`, `rayservice_controller.go`: the
operator asks the dashboard and Serve; `common/job.go`: the submitter asks the dashboard).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.documents.untyped import dict_items
from policies.network.parties import AddressParty, Party, PodParty
from policies.network.policy import Direction
from policies.network.ports import Ports, merged, missing_from, shown
from policies.network.ray_traffic import SERVE_PORT, head_port, listening_ports, random_ports
from policies.network.reachability import Policies
from policies.ray.kuberay import labels_of_pods
from policies.ray.membership import ORIGIN_KIND_LABEL
from policies.ray.pod import PodRole
from policies.ray.workload import Group, Workload

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
class Need:
    """Traffic that pods need; one of `ways` is enough.

    `title` names the traffic, `consequence` says what happens without it.
    """

    title: str
    consequence: str
    direction: Direction
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True)
class RayPods:
    """The pods of a group: their title in messages, and themselves as a party."""

    title: str
    group: Group
    party: PodParty


@dataclass(frozen=True, slots=True)
class Closed:
    """A need that policies certainly close for some pods.

    `ports` are those that are closed, and `policies` the names of those that isolate the pods.
    """

    pods: str
    need: Need
    ports: Ports
    policies: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.need.title} ({shown(self.ports)})"


@dataclass(frozen=True, slots=True)
class Services:
    """Who a cluster works with: the namespaces of KubeRay's operators, and enrollment.

    `signer`: the namespace and the port of the enrollment server; None if the pods have no
    certificate from it.
    """

    operators: Sequence[str]
    signer: tuple[str, int] | None


def pods_of(cluster: Workload) -> Iterator[RayPods]:
    """The pods of each group of a RayCluster, as NetworkPolicies see them."""
    namespace = str(cluster.metadata.get("namespace") or "")
    groups = cluster.cluster.groups if cluster.cluster else ()
    for group, labels in zip(groups, labels_of_pods(cluster), strict=True):
        names = _port_names(group)
        yield RayPods(group.title, group, PodParty(namespace, labels, None, names))


def closed_needs(cluster: Workload, policies: Policies, services: Services) -> Iterator[Closed]:
    """What the pods of a RayCluster need and policies certainly close."""
    members = list(pods_of(cluster))
    for pods in members:
        for need in _needs(cluster, pods, members, services):
            ports = _closed(pods.party, need, policies)
            if ports:
                isolating = policies.isolating(pods.party, need.direction)
                names = tuple(sorted(policy.name for policy in isolating))
                yield Closed(pods.title, need, ports, names)


def _closed(pod: PodParty, need: Need, policies: Policies) -> Ports:
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
    cluster: Workload, pods: RayPods, members: Sequence[RayPods], services: Services
) -> Iterator[Need]:
    yield from _of_members(pods, members)
    yield _dns()
    if services.signer:
        namespace, port = services.signer
        way = Way(PodParty(namespace, {"app.kubernetes.io/name": "raywarden"}), _only(port))
        consequence = "the pod gets no certificate and does not start"
        yield Need("enrollment", consequence, Direction.EGRESS, (way,))
    is_head = pods.group.role is PodRole.HEAD
    if is_head:
        yield from _of_operator(cluster, pods, services)
    if is_head and cluster.cluster and cluster.cluster.autoscaling:
        ways = [Way(AddressParty(), _only(port)) for port in _API_SERVER_PORTS]
        consequence = "the autoscaler cannot add workers"
        yield Need("the API server", consequence, Direction.EGRESS, tuple(ways))


def _of_members(pods: RayPods, members: Iterable[RayPods]) -> Iterator[Need]:
    """Each member reaches each other member on all ports that Ray listens on there."""
    consequence = "the members of the cluster cannot work together"
    ours = merged([*listening_ports(pods.group), *random_ports(pods.group)])
    for member in members:
        # There is one head, and no policy applies to what a pod sends to itself.
        if member is pods and pods.group.role is PodRole.HEAD:
            continue
        theirs = merged([*listening_ports(member.group), *random_ports(member.group)])
        way = Way(member.party, theirs)
        yield Need(f"egress to the {member.title}", consequence, Direction.EGRESS, (way,))
        way = Way(member.party, ours)
        yield Need(f"ingress from the {member.title}", consequence, Direction.INGRESS, (way,))


def _dns() -> Need:
    ways = (
        Way(_KUBE_DNS, _only(53), "UDP"),
        Way(_OPENSHIFT_DNS, _only(5353), "UDP"),
        Way(AddressParty(), _only(53), "UDP"),
    )
    return Need("DNS", "the pods cannot find their head", Direction.EGRESS, ways)


def _of_operator(cluster: Workload, pods: RayPods, services: Services) -> Iterator[Need]:
    """KubeRay's operator asks the dashboard of a RayJob or RayService, and Serve for its health."""
    origin = cluster.labels.get(ORIGIN_KIND_LABEL)
    if origin not in ("RayJob", "RayService"):
        return
    ports = _only(head_port(pods.group, "dashboard-port"))
    if origin == "RayService":
        ports = merged([*ports, *_only(SERVE_PORT)])
    ways = [
        Way(PodParty(namespace, {"app.kubernetes.io/name": "kuberay-operator"}), ports)
        for namespace in services.operators
    ]
    if ways:
        consequence = f"KubeRay cannot see the state of the {origin}"
        yield Need("ingress from KubeRay's operator", consequence, Direction.INGRESS, tuple(ways))


def _only(port: int) -> Ports:
    return (range(port, port + 1),)


def _port_names(group: Group) -> Mapping[str, Sequence[int]]:
    """The names that the containers of a group give to TCP ports."""
    names: dict[str, list[int]] = {}
    for container in group.pod.containers:
        for _, port in dict_items(container.raw.get("ports")):
            name, number = port.get("name"), _tcp_number(port)
            if isinstance(name, str) and name and number:
                names.setdefault(name, []).append(number)
    return names


def _tcp_number(port: Mapping[str, Any]) -> int:
    number = port.get("containerPort")
    is_tcp = port.get("protocol") in (None, "", "TCP")
    return number if is_tcp and isinstance(number, int) else 0
