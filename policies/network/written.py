"""The NetworkPolicies that close a Ray cluster: for its pods, and for its head.

Nothing here reads a clock or a cluster; the same cluster and the same choices give the same
policies.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_network
from typing import Any

from policies.documents.untyped import dict_items
from policies.network.parties import NAMESPACE_NAME
from policies.network.policy import Direction
from policies.network.ports import Ports, merged, missing_from
from policies.network.ray_traffic import SERVE_PORT, head_port, own_ports, public_ports
from policies.ray.membership import NODE_TYPE_LABEL, ORIGIN_KIND_LABEL, RAY_CLUSTER_LABEL
from policies.ray.workload import Group, Workload

_ORIGIN_NAME_LABEL = "ray.io/originated-from-cr-name"
_SUBMISSION_MODE_LABEL = "ray.io/job-submission-mode"
# The labels of the pods of KubeRay's Helm chart.
_OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}
_API_SERVER_PORTS = (443, 6443)
_DNS_PORTS = (53, 5353)


class IsolationMode(StrEnum):
    """How much of the traffic of a cluster's pods is closed."""

    # Ray's own ports are for members, KubeRay's operator and the submitter; the rest stays open.
    MEMBERS = "members"
    # All ports are.
    DENY_INGRESS = "deny-ingress"
    # All ports are, and the pods reach only what they need.
    DENY_ALL = "deny-all"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Client:
    """Pods or addresses that may connect, as an entry of `from` or `to`, and why."""

    peer: Mapping[str, Any]
    reason: str
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Choices:
    """What the policies of a cluster let in and out beside its members.

    `operators`: the namespaces where KubeRay's operator runs. `signer`: the namespace and the port
    of the enrollment server. `api_server`: the addresses of the API server; empty if unknown.
    """

    mode: IsolationMode
    operators: Sequence[str]
    signer: tuple[str, int]
    allowed: Sequence[Client] = ()
    egress: Sequence[Client] = ()
    api_server: Sequence[str] = ()
    reaches_api_server: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WrittenRule:
    """A rule of a policy, and why it is there."""

    reason: str
    rule: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WrittenPolicy:
    """A NetworkPolicy with the reasons of its rules."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    selector: Mapping[str, Any]
    ingress: Sequence[WrittenRule]
    egress: Sequence[WrittenRule] | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The object for the API server."""
        metadata: dict[str, Any] = {"name": self.name, "namespace": self.namespace}
        if self.labels:
            metadata["labels"] = dict(self.labels)
        spec: dict[str, Any] = {
            "podSelector": dict(self.selector),
            "policyTypes": [str(Direction.INGRESS)],
            "ingress": [dict(written.rule) for written in self.ingress],
        }
        if self.egress is not None:
            spec["policyTypes"].append(str(Direction.EGRESS))
            spec["egress"] = [dict(written.rule) for written in self.egress]
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata,
            "spec": spec,
        }


def policies_for(cluster: Workload, choices: Choices) -> Iterator[WrittenPolicy]:
    """The policies of a RayCluster: one for all of its pods, and one for its head.

    The pods of a cluster are those with its label `ray.io/cluster`; KubeRay does not let an author
    choose it, and the rule `operator-made-pods` refuses pods that claim it.
    """
    if choices.mode is IsolationMode.OFF or cluster.cluster is None:
        return
    name, namespace = cluster.name, str(cluster.metadata.get("namespace") or "")
    pods = {"matchLabels": {RAY_CLUSTER_LABEL: name}}
    head = {"matchLabels": {RAY_CLUSTER_LABEL: name, NODE_TYPE_LABEL: "head"}}
    egress = list(_egress(cluster, choices)) if choices.mode is IsolationMode.DENY_ALL else None
    yield WrittenPolicy(
        f"raywarden-{name}",
        namespace,
        choices.labels,
        pods,
        list(_ingress(cluster, choices)),
        egress,
    )
    rules = list(_head_ingress(cluster, choices))
    if rules:
        yield WrittenPolicy(f"raywarden-{name}-head", namespace, choices.labels, head, rules)


def _ingress(cluster: Workload, choices: Choices) -> Iterator[WrittenRule]:
    """What may reach every pod of the cluster."""
    spec = cluster.cluster
    members = {"podSelector": {"matchLabels": {RAY_CLUSTER_LABEL: cluster.name}}}
    yield _rule(Direction.INGRESS, "the members of this cluster reach each other", members)
    if choices.mode is IsolationMode.MEMBERS and spec is not None:
        own = merged(span for group in spec.groups for span in own_ports(group))
        public = merged(span for group in spec.groups for span in public_ports(cluster, group))
        reason = "Ray Serve, metrics and ports of other containers are not Ray's own"
        yield WrittenRule(reason, {"ports": _entries(missing_from(own, public))})
    for client in choices.allowed:
        yield _for_client(Direction.INGRESS, client)


def _head_ingress(cluster: Workload, choices: Choices) -> Iterator[WrittenRule]:
    """What may reach only the head: KubeRay's operator, and what submits jobs."""
    spec = cluster.cluster
    if spec is None:
        return
    dashboard = sorted({head_port(spec.head, "dashboard-port"), *_named(spec.head, "dashboard")})
    for namespace in choices.operators:
        operator = {
            "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}},
            "podSelector": {"matchLabels": dict(_OPERATOR)},
        }
        ports = [*dashboard, SERVE_PORT] if _origin(cluster) == "RayService" else dashboard
        reason = "KubeRay's operator asks the dashboard for jobs and Serve applications"
        yield _rule(Direction.INGRESS, reason, operator, ports)
    submitter = {ORIGIN_KIND_LABEL: "RayJob"}
    if _origin(cluster) == "RayJob":
        submitter[_ORIGIN_NAME_LABEL] = str(cluster.labels.get(_ORIGIN_NAME_LABEL, ""))
    if cluster.labels.get(_SUBMISSION_MODE_LABEL) in (None, "K8sJobMode"):
        reason = "the pod that submits a RayJob's job talks to the dashboard"
        peer = {"podSelector": {"matchLabels": submitter}}
        yield _rule(Direction.INGRESS, reason, peer, dashboard)


def _egress(cluster: Workload, choices: Choices) -> Iterator[WrittenRule]:
    """What the pods of the cluster may reach."""
    members = {"podSelector": {"matchLabels": {RAY_CLUSTER_LABEL: cluster.name}}}
    yield _rule(Direction.EGRESS, "the members of this cluster reach each other", members)
    dns = [
        {"protocol": protocol, "port": port} for port in _DNS_PORTS for protocol in ("UDP", "TCP")
    ]
    reason = "DNS, at any address: node-local caches use an address of the node"
    yield WrittenRule(reason, {"ports": dns})
    namespace, port = choices.signer
    signer = {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}}}
    reason = "RayWarden's init container gets the pod's certificate"
    yield _rule(Direction.EGRESS, reason, signer, [port])
    if cluster.cluster is not None and (cluster.cluster.autoscaling or choices.reaches_api_server):
        yield _to_api_server(choices)
    for client in choices.egress:
        yield _for_client(Direction.EGRESS, client)


def _to_api_server(choices: Choices) -> WrittenRule:
    reason = "the autoscaler and token authentication ask the API server"
    rule: dict[str, Any] = {}
    if choices.api_server:
        rule["to"] = [{"ipBlock": {"cidr": str(ip_network(ip))}} for ip in choices.api_server]
    rule["ports"] = [{"protocol": "TCP", "port": port} for port in _API_SERVER_PORTS]
    return WrittenRule(reason, rule)


def _for_client(direction: Direction, client: Client) -> WrittenRule:
    return _rule(direction, client.reason, client.peer, client.ports)


def _rule(
    direction: Direction, reason: str, peer: Mapping[str, Any], ports: Sequence[int] = ()
) -> WrittenRule:
    rule: dict[str, Any] = {direction.peers_field: [dict(peer)]}
    if ports:
        rule["ports"] = [{"protocol": "TCP", "port": port} for port in ports]
    return WrittenRule(reason, rule)


def _entries(ports: Ports) -> list[dict[str, Any]]:
    """The entries of a rule's `ports` for these TCP ports."""
    entries = []
    for span in ports:
        entry: dict[str, Any] = {"protocol": "TCP", "port": span.start}
        if len(span) > 1:
            entry["endPort"] = span.stop - 1
        entries.append(entry)
    return entries


def _named(group: Group, name: str) -> list[int]:
    """The numbers of the head container's ports with this name, where KubeRay looks for it."""
    ray = group.pod.ray_container
    ports = dict_items(ray.raw.get("ports") if ray else None)
    numbers = [port.get("containerPort") for _, port in ports if port.get("name") == name]
    return [number for number in numbers if isinstance(number, int)]


def _origin(cluster: Workload) -> str:
    """The kind that the RayCluster was created from; empty if it stands alone."""
    return str(cluster.labels.get(ORIGIN_KIND_LABEL) or "")
