"""What a NetworkPolicy does to pods: whether it isolates them, and which traffic it allows.

Source: Kubernetes networking/v1.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.cluster.addresses import blocks_have_few_addresses
from policies.cluster.selectors import Selector, selects
from policies.documents.metadata import controller_of, name_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items, larger, str_items
from policies.ray.membership import RAY_GROUP

_INGRESS = ROOT / "spec" / "ingress"
# Values and characters that are read of the ingress rules and of the pod selector. The watch
# parses every policy in the cluster, and anyone with rights in a namespace can create one.
_LARGEST = 65536
_LARGEST_SELECTOR = 4096
# Open rules and port ranges stay in memory for each policy; real policies have a few.
_MOST_OPEN_RULES = 64
_MOST_PORT_RANGES = 64
# Subtracting exceptions from address ranges is expensive; real policies have a few.
_MOST_EXCEPTIONS = 32
# The labels of an unknown namespace: only its name, which the API server sets as a label.
_UNKNOWN_NAMESPACE = {"kubernetes.io/metadata.name": ""}

Ports = tuple[range, ...]
_ALL_PORTS: Ports = (range(65536),)


@dataclass(frozen=True, slots=True)
class OpenRule:
    """An ingress rule that allows everyone in: its place in the object, and its TCP ports."""

    pointer: Pointer
    ports: Ports


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """The parts of a NetworkPolicy that decide who can reach its pods.

    `isolates`: its pods accept only the ingress traffic that policies allow.
    `open`: its rules that allow everyone in, or large public networks.
    `owner`: the name of the RayCluster that controls it; empty if no RayCluster does.

    A policy that is too large to read counts as one that isolates nothing and allows everyone in.
    A selector that is too large counts as one that selects every pod.
    """

    name: str
    selector: Selector
    isolates: bool
    open: tuple[OpenRule, ...]
    owner: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "NetworkPolicy":
        """The view of a NetworkPolicy object."""
        spec = as_dict(document.get("spec"))
        selector = as_dict(spec.get("podSelector"))
        selector_too_large = larger(selector, _LARGEST_SELECTOR)
        types = spec.get("policyTypes")
        # Without types, Ingress is one of them. With types but without Ingress, the ingress rules
        # have no effect.
        isolates = "Ingress" in types if isinstance(types, list) and types else True
        rules = _open_rules(spec.get("ingress")) if isolates else ()
        if rules is None:
            isolates, rules = False, (OpenRule(_INGRESS, _ALL_PORTS),)
        return cls(
            name=name_of(document),
            selector=Selector.of({} if selector_too_large else selector),
            isolates=isolates and not selector_too_large,
            open=rules,
            owner=_controlling_ray_cluster(document),
        )

    def selects(self, labels: Mapping[str, Any]) -> bool:
        return self.selector.matches(labels)

    @property
    def selected_names(self) -> Iterator[str]:
        """The names of the labels in its pod selector."""
        yield from self.selector.labels
        yield from (key for key, _, _ in self.selector.expressions)

    def open_rules(self, *ports: int) -> Iterator[Pointer]:
        """The places of the rules that allow everyone to reach one of `ports` (TCP)."""
        return (rule.pointer for rule in self.open if _includes_any(rule.ports, ports))


def allows_everyone(rule: Mapping[str, Any], ports: Collection[int]) -> bool:
    """True if an ingress rule allows everyone to reach one of `ports` (TCP).

    A large public network counts as everyone, and so does a rule that is too large to read.
    """
    rules = _open_rules([rule])
    return rules is None or any(_includes_any(rule.ports, ports) for rule in rules)


def _includes_any(ranges: Ports, ports: Collection[int]) -> bool:
    return any(port in span for span in ranges for port in ports)


def _controlling_ray_cluster(document: Mapping[str, Any]) -> str:
    owner = controller_of(document)
    if owner and (owner.group, owner.kind) == (RAY_GROUP, "RayCluster"):
        return owner.name
    return ""


def _open_rules(ingress: Any) -> tuple[OpenRule, ...] | None:
    """The rules that allow everyone in; None if there is too much to read or to keep."""
    if larger(ingress, _LARGEST):
        return None
    open_rules: list[OpenRule] = []
    for index, rule in dict_items(ingress):
        if not _includes_everyone(rule.get("from")):
            continue
        ports = _tcp_ports(rule.get("ports"))
        if ports:
            open_rules.append(OpenRule(_INGRESS / index, ports))
        if len(open_rules) > _MOST_OPEN_RULES:
            return None
    return tuple(open_rules)


def _includes_everyone(peers: Any) -> bool:
    """True if the peers of an ingress rule include everyone, or large public networks.

    A rule without peers allows everyone. The address ranges of one rule are counted together.
    """
    if not peers:
        return True
    blocks = []
    for _, peer in dict_items(peers):
        if _is_everyone(peer):
            return True
        block = as_dict(peer.get("ipBlock"))
        if block:
            blocks.append(block)
    if not blocks:
        return False
    if _count_exceptions(blocks) > _MOST_EXCEPTIONS:
        return True
    return not blocks_have_few_addresses(map(_range, blocks))


def _is_everyone(peer: Mapping[str, Any]) -> bool:
    """True if a peer selects every pod of a namespace about which nothing is known."""
    namespaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
    # Without a namespaceSelector, a peer selects only pods of the policy's own namespace, and
    # `selects` is false.
    return selects(namespaces, _UNKNOWN_NAMESPACE) and (pods is None or selects(pods, {}))


def _count_exceptions(blocks: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    for block in blocks:
        exceptions = block.get("except")
        if isinstance(exceptions, list):
            count += len(exceptions)
    return count


def _range(block: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The CIDR of an ipBlock, and its exceptions."""
    exceptions = [exception for _, exception in str_items(block.get("except"))]
    return as_str(block.get("cidr")), exceptions


def _tcp_ports(ports: Any) -> Ports:
    """The TCP ports in a rule's list; all ports if the list is empty, or too long to keep."""
    tcp = [port for _, port in dict_items(ports) if port.get("protocol") in (None, "", "TCP")]
    ranges = tuple(_merged(map(_port_range, tcp)))
    return ranges if ports and len(ranges) <= _MOST_PORT_RANGES else _ALL_PORTS


def _port_range(port: Mapping[str, Any]) -> range:
    first, last = port.get("port"), port.get("endPort")
    if not isinstance(first, int):
        # A missing port means every port, and each pod decides what a named port means.
        return _ALL_PORTS[0]
    if not isinstance(last, int):
        last = first
    return range(first, last + 1)


def _merged(ranges: Iterable[range]) -> Iterator[range]:
    """The same ports in as few ranges as possible."""
    begin = end = 0
    for ports in sorted(ranges, key=lambda ports: ports.start):
        if ports.start > end:
            if begin < end:
                yield range(begin, end)
            begin, end = ports.start, ports.stop
        end = max(end, ports.stop)
    if begin < end:
        yield range(begin, end)
