"""The NetworkPolicies that close a Ray cluster: one for its pods, and one more for its head.

Nothing here reads a clock or a cluster; the same cluster and the same choices give the same
policies.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from policies.network.addresses import PRIVATE
from policies.network.allowance import API_SERVER, INTERNET, Allowance
from policies.network.infrastructure import (
    OPERATOR_LABELS,
    SIGNER_LABELS,
    Infrastructure,
    egress_to_dns,
)
from policies.network.isolation import ClusterIsolation, IsolationMode
from policies.network.parties import NAMESPACE_NAME
from policies.network.policy import Direction
from policies.network.ports import Ports, merged, missing_from
from policies.network.ray_ports import DASHBOARD_PORT, FIXED_PORTS, span_of
from policies.network.ray_traffic import HEAD_METRICS, SERVE_PORT, ClusterTraffic, only
from policies.ray.membership import (
    NODE_TYPE_LABEL,
    ORIGIN_KIND_LABEL,
    ORIGIN_NAME_LABEL,
    RAY_CLUSTER_LABEL,
)

_DEFAULTS: Ports = merged(map(span_of, FIXED_PORTS.values()))
_API_SERVER_PORTS: Ports = (range(443, 444), range(6443, 6444))
# All addresses, without those that are not on the Internet. Networks choose addresses in the last
# block to translate IPv6 to any IPv4 address, also to private ones (RFC 8215).
_NOT_PUBLIC = (*map(ip_network, PRIVATE), ip_network("64:ff9b:1::/48"))
_NOT_PUBLIC_4 = [str(network) for network in _NOT_PUBLIC if network.version == 4]
_NOT_PUBLIC_6 = [str(network) for network in _NOT_PUBLIC if network.version == 6]
_INTERNET = (("0.0.0.0/0", _NOT_PUBLIC_4), ("::/0", _NOT_PUBLIC_6))


@dataclass(frozen=True, slots=True)
class WrittenRule:
    """A rule of a policy, and why it is there."""

    reason: str
    rule: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WrittenPolicy:
    """A NetworkPolicy with the reasons of its rules; `egress` is None if it does not isolate it."""

    name: str
    namespace: str
    selector: Mapping[str, Any]
    ingress: Sequence[WrittenRule]
    egress: Sequence[WrittenRule] | None = None

    @property
    def spec(self) -> dict[str, Any]:
        """The `spec`, as the API server stores it."""
        spec: dict[str, Any] = {
            "podSelector": dict(self.selector),
            "policyTypes": [str(Direction.INGRESS)],
        }
        if self.ingress:
            spec["ingress"] = [dict(written.rule) for written in self.ingress]
        if self.egress is not None:
            spec["policyTypes"].append(str(Direction.EGRESS))
            spec["egress"] = [dict(written.rule) for written in self.egress]
        return spec


@dataclass(frozen=True, slots=True)
class PolicyNames:
    """The names of the two policies of a cluster.

    The changing part comes last: no cluster's name makes one policy look like another's.
    """

    pods: str
    head: str

    @classmethod
    def of(cls, cluster: str, prefix: str = "raywarden") -> "PolicyNames":
        return cls(f"{prefix}-pods-{cluster}", f"{prefix}-head-{cluster}")


@dataclass(frozen=True, slots=True)
class Members:
    """How the policies select the pods of a cluster, and its head."""

    pods: Mapping[str, Any]
    head: Mapping[str, Any]

    @classmethod
    def of(cls, cluster: str) -> "Members":
        """By the labels that KubeRay writes, and that the rule operator-made-pods protects."""
        pods = {RAY_CLUSTER_LABEL: cluster}
        return cls({"matchLabels": pods}, {"matchLabels": {**pods, NODE_TYPE_LABEL: "head"}})

    @classmethod
    def labeled(cls, labels: Mapping[str, str]) -> "Members":
        """By labels of the author; all Ray pods of the namespace if there are none.

        The protected label is required, too: it keeps other pods with the author's labels out.
        """
        any_cluster = [{"key": RAY_CLUSTER_LABEL, "operator": "Exists"}]
        pods = {"matchLabels": dict(labels)} if labels else {}
        head = {"matchLabels": {**labels, NODE_TYPE_LABEL: "head"}}
        return cls(
            {**pods, "matchExpressions": any_cluster}, {**head, "matchExpressions": any_cluster}
        )


def policies_for(
    traffic: ClusterTraffic,
    isolation: ClusterIsolation,
    infrastructure: Infrastructure,
    names: PolicyNames,
    members: Members,
) -> Iterator[WrittenPolicy]:
    """The policies of a RayCluster: one for all of its pods, and one for its head."""
    if isolation.mode is IsolationMode.OFF:
        return
    namespace = traffic.namespace
    ingress = list(_ingress(traffic, isolation, members))
    egress = None
    if isolation.mode is IsolationMode.DENY_ALL:
        egress = list(_egress(traffic, isolation, infrastructure, members))
    yield WrittenPolicy(names.pods, namespace, members.pods, ingress, egress)
    head = list(_head_ingress(traffic, isolation, infrastructure))
    if head:
        yield WrittenPolicy(names.head, namespace, members.head, head)


def _ingress(
    traffic: ClusterTraffic, isolation: ClusterIsolation, members: Members
) -> Iterator[WrittenRule]:
    """What may reach every pod of the cluster."""
    peer = {"podSelector": members.pods}
    yield _rule(Direction.INGRESS, "the members of this cluster reach each other", peer)
    # One group's port for others can be Ray's own in another group, and a policy is for all groups.
    metrics = _others(traffic, (span for group in traffic.groups for span in group.metrics))
    if isolation.mode is IsolationMode.MEMBERS:
        public = _others(traffic, (span for group in traffic.groups for span in group.public))
        reason = "Ray Serve, metrics and the declared ports of containers are not Ray's own"
        yield from _to_everyone(reason, merged([*public, *metrics]))
    for allowance in isolation.allow_from:
        yield _allowed(Direction.INGRESS, allowance)
    for allowance in isolation.monitoring:
        yield from _monitoring(allowance, allowance.ports or metrics)


def _head_ingress(
    traffic: ClusterTraffic, isolation: ClusterIsolation, infrastructure: Infrastructure
) -> Iterator[WrittenRule]:
    """What may reach only the head: KubeRay's operator, submitters, and its own metrics."""
    if not traffic.dashboard:
        return
    for namespace in infrastructure.operators:
        operator = {
            "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}},
            "podSelector": {"matchLabels": dict(OPERATOR_LABELS)},
        }
        serve = only(SERVE_PORT) if traffic.origin == "RayService" else ()
        dashboard = traffic.dashboard or only(DASHBOARD_PORT)
        reason = "KubeRay's operator asks the dashboard for jobs and Serve applications"
        yield _rule(Direction.INGRESS, reason, operator, merged([*dashboard, *serve]))
    if traffic.takes_submitters:
        submitter = {ORIGIN_KIND_LABEL: "RayJob"}
        if traffic.origin == "RayJob" and traffic.origin_name:
            submitter[ORIGIN_NAME_LABEL] = traffic.origin_name
        peer = {"podSelector": {"matchLabels": submitter}}
        reason = "the pod that submits a RayJob's job talks to the dashboard"
        yield _rule(Direction.INGRESS, reason, peer, traffic.dashboard or only(DASHBOARD_PORT))
    metrics = _others(traffic, HEAD_METRICS)
    if isolation.mode is IsolationMode.MEMBERS:
        yield from _to_everyone("the metrics of the dashboard and of the autoscaler", metrics)
    for allowance in isolation.monitoring:
        if not allowance.ports:
            yield from _monitoring(allowance, metrics)


def _others(traffic: ClusterTraffic, ports: Iterable[range]) -> Ports:
    """Those of `ports` that are not Ray's own in any pod of the cluster.

    Its default ports never are: pods from before a change of the parameters still listen there, and
    the rules refuse a policy that opens them to everyone.
    """
    return missing_from(merged([*traffic.own, *_DEFAULTS]), merged(ports))


def _egress(
    traffic: ClusterTraffic,
    isolation: ClusterIsolation,
    infrastructure: Infrastructure,
    members: Members,
) -> Iterator[WrittenRule]:
    """What the pods of the cluster may reach."""
    peer = {"podSelector": members.pods}
    yield _rule(Direction.EGRESS, "the members of this cluster reach each other", peer)
    yield WrittenRule("DNS, at any address: node-local caches use the node's", egress_to_dns())
    if infrastructure.signer:
        namespace, port = infrastructure.signer
        signer = {
            "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}},
            "podSelector": {"matchLabels": dict(SIGNER_LABELS)},
        }
        reason = "RayWarden's init container gets the pod's certificate"
        yield _rule(Direction.EGRESS, reason, signer, only(port))
    if traffic.redis:
        reason = "GCS keeps its state in a Redis, whose addresses are unknown here"
        yield WrittenRule(reason, {"ports": _entries(traffic.redis)})
    asked = {allowance.name for allowance in isolation.egress}
    if traffic.reaches_api_server or API_SERVER in asked:
        yield from _to_api_server(infrastructure)
    for allowance in isolation.egress:
        if allowance.name == INTERNET:
            yield _to_internet(allowance.ports)
        elif not allowance.name:
            yield _allowed(Direction.EGRESS, allowance)


def _to_api_server(infrastructure: Infrastructure) -> Iterator[WrittenRule]:
    reason = "the autoscaler and Kubernetes token authentication ask the API server"
    if not infrastructure.api_server:
        unknown = f"{reason}; its addresses are unknown here"
        yield WrittenRule(unknown, {"ports": _entries(_API_SERVER_PORTS)})
    for address, port in infrastructure.api_server:
        peer = {"ipBlock": {"cidr": str(ip_network(address))}}
        yield _rule(Direction.EGRESS, reason, peer, only(port))


def _to_internet(ports: Ports) -> WrittenRule:
    blocks = [{"ipBlock": {"cidr": cidr, "except": private}} for cidr, private in _INTERNET]
    reason = "egress: the Internet, without private networks"
    return WrittenRule(reason, {"to": blocks} | _ports_field(ports))


def _allowed(direction: Direction, allowance: Allowance) -> WrittenRule:
    word = "allowFrom" if direction is Direction.INGRESS else "egress"
    return _rule(direction, f"{word}: {allowance.text}", allowance.peer(), allowance.ports)


def _monitoring(allowance: Allowance, ports: Ports) -> Iterator[WrittenRule]:
    # A rule without ports is for all ports.
    if ports:
        yield _rule(Direction.INGRESS, f"monitoring: {allowance.text}", allowance.peer(), ports)


def _to_everyone(reason: str, ports: Ports) -> Iterator[WrittenRule]:
    if ports:
        yield WrittenRule(reason, _ports_field(ports))


def _rule(
    direction: Direction, reason: str, peer: Mapping[str, Any], ports: Ports = ()
) -> WrittenRule:
    return WrittenRule(reason, {direction.peers_field: [dict(peer)]} | _ports_field(ports))


def _ports_field(ports: Ports) -> dict[str, Any]:
    """The `ports` of a rule; nothing for no ports, as the API server stores it."""
    return {"ports": _entries(ports)} if ports else {}


def _entries(ports: Ports) -> list[dict[str, Any]]:
    """The entries of a rule's `ports` for these TCP ports."""
    entries = []
    for span in ports:
        entry: dict[str, Any] = {"protocol": "TCP", "port": span.start}
        if len(span) > 1:
            entry["endPort"] = span.stop - 1
        entries.append(entry)
    return entries
