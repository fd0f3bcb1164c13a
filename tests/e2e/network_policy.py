"""NetworkPolicies as nftables rules: a second reading of their specification.

It shares no code with `policies.network`, whose policies it puts to the test. Source: the API
reference of networking.k8s.io/v1. Where networks differ, it takes the stricter reading: a pod may
not connect to its node, and the node alone may connect to a pod.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from tests.support.factory import Object

Labels = Mapping[str, str]

_TABLE = "inet network_policies"
_EMPTY = f"table {_TABLE}\ndelete table {_TABLE}\n"
# The caller learns at once that a rule has closed the port, and not that nobody listens.
_REJECT = "reject with icmpx type admin-prohibited"


@dataclass(frozen=True)
class Way:
    """A direction of traffic: the names of its fields, of its hook, and of the other's address."""

    kind: str
    peers: str
    hook: str
    other: str
    loopback: str


INGRESS = Way("Ingress", "from", "input", "saddr", 'iifname "lo"')
EGRESS = Way("Egress", "to", "output", "daddr", 'oifname "lo"')


@dataclass(frozen=True)
class NetworkPod:
    """A pod as the network knows it; `ports` are the name, protocol and number of declared ports.

    `network` is its namespace; None for a pod on which nothing is enforced.
    """

    namespace: str
    labels: Labels
    address: str
    ports: tuple[tuple[str, str, int], ...] = ()
    network: Path | None = None


@dataclass(frozen=True)
class Ruleset:
    """The rules for one pod among others; `namespaces` are their labels by name."""

    pod: NetworkPod
    policies: Sequence[Object]
    pods: Sequence[NetworkPod]
    namespaces: Mapping[str, Labels]
    node: str

    def __str__(self) -> str:
        """A script for `nft -f`, which replaces the rules of the pod in one step."""
        chains = "".join(map(self._chain, (INGRESS, EGRESS)))
        return f"{_EMPTY}table {_TABLE} {{\n{chains}}}\n" if chains else _EMPTY

    def _chain(self, way: Way) -> str:
        specs = [spec for spec in self._specs() if way.kind in _types(spec)]
        if not specs:
            return ""
        lines = [f"{way.loopback} accept", "ct state established,related accept"]
        if way is INGRESS:
            lines.append(f"ip saddr {self.node} accept")
        for spec in specs:
            for rule in spec.get(way.kind.lower()) or ():
                lines += self._accepted(rule, way)
        body = "".join(f"    {line}\n" for line in [*lines, _REJECT])
        start = f"type filter hook {way.hook} priority 0; policy accept;"
        return f"  chain {way.hook} {{\n    {start}\n{body}  }}\n"

    def _specs(self) -> Iterator[Any]:
        """The specs of the policies that select the pod."""
        for policy in self.policies:
            if policy["metadata"]["namespace"] == self.pod.namespace:
                spec = policy.get("spec") or {}
                if matches(spec.get("podSelector") or {}, self.pod.labels):
                    yield spec

    def _accepted(self, rule: Any, way: Way) -> Iterator[str]:
        """One line for each place and port that the rule allows."""
        ports = rule.get("ports") or [None]
        for peer in rule.get(way.peers) or [None]:
            for port in ports:
                if port and isinstance(port.get("port"), str):
                    yield from self._named(peer, port, way)
                else:
                    for place in self._places(peer, way):
                        yield f"{place} {_numbered(port)} accept"

    def _named(self, peer: Any, port: Any, way: Way) -> Iterator[str]:
        """The pod that is connected to says which number a name stands for."""
        wanted = port["port"], port.get("protocol", "TCP")
        places = list(self._places(peer, way))
        if way is INGRESS:
            for number in _numbers(self.pod, *wanted):
                for place in places:
                    yield f"{place} {wanted[1].lower()} dport {number} accept"
            return
        for pod in self._chosen(peer):
            for number in _numbers(pod, *wanted):
                yield f"ip daddr {pod.address} {wanted[1].lower()} dport {number} accept"

    def _places(self, peer: Any, way: Way) -> Iterator[str]:
        """How nftables recognizes the addresses of a peer; None is everybody."""
        if peer is None:
            yield ""
        elif "ipBlock" in peer:
            block = peer["ipBlock"]
            if ip_network(block["cidr"]).version == 4:
                excepted = [f"ip {way.other} != {cidr}" for cidr in block.get("except") or ()]
                yield " ".join([f"ip {way.other} {block['cidr']}", *excepted])
        else:
            addresses = [pod.address for pod in self._chosen(peer)]
            if addresses:
                yield f"ip {way.other} {{ {', '.join(addresses)} }}"

    def _chosen(self, peer: Any) -> Iterable[NetworkPod]:
        return [pod for pod in self.pods if self._is_chosen(peer, pod)]

    def _is_chosen(self, peer: Any, pod: NetworkPod) -> bool:
        if peer is None:
            return True
        if "ipBlock" in peer:
            address, block = ip_address(pod.address), peer["ipBlock"]
            excepted = map(ip_network, block.get("except") or ())
            return address in ip_network(block["cidr"]) and not any(
                address in network for network in excepted
            )
        namespaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
        if namespaces is None:
            if pod.namespace != self.pod.namespace:
                return False
        elif not matches(namespaces, self.namespaces.get(pod.namespace, {})):
            return False
        return pods is None or matches(pods, pod.labels)


def matches(selector: Any, labels: Labels) -> bool:
    """Whether a LabelSelector selects an object with these labels; an empty one selects all."""
    wanted = (selector.get("matchLabels") or {}).items()
    expressions = selector.get("matchExpressions") or ()
    return all(labels.get(name) == value for name, value in wanted) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Any, labels: Labels) -> bool:
    operator, value = expression["operator"], labels.get(expression["key"])
    holds = {
        "In": value in (expression.get("values") or ()),
        "NotIn": value not in (expression.get("values") or ()),
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return holds[operator]


def _types(spec: Any) -> Sequence[str]:
    """The directions that a policy isolates; without a list, egress only if it has such rules."""
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _numbers(pod: NetworkPod, name: str, protocol: str) -> Iterator[int]:
    for declared, of_protocol, number in pod.ports:
        if (declared, of_protocol) == (name, protocol):
            yield number


def _numbered(port: Any) -> str:
    """How nftables recognizes an entry of `ports` without a name; None is all ports."""
    if port is None:
        return ""
    protocol, number = port.get("protocol", "TCP").lower(), port.get("port")
    if number is None:
        return f"meta l4proto {protocol}"
    last = port.get("endPort")
    return f"{protocol} dport {number}-{last}" if last else f"{protocol} dport {number}"
