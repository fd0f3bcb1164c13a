"""What a NetworkPolicy does to pods: whether it isolates them, and which traffic it allows.

Source: Kubernetes networking/v1.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.metadata import controller_of, name_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.selectors import Selector, can_match
from policies.documents.untyped import as_dict, as_str, dict_items, larger, str_items
from policies.network.addresses import MOST_RANGES, PublicAddresses
from policies.ray.membership import RAY_GROUP

_INGRESS = ROOT / "spec" / "ingress"
# Values and characters that are read of the ingress rules and of the pod selector. The watch
# parses every policy in the cluster, and anyone with rights in a namespace can create one.
_LARGEST = 65536
_LARGEST_SELECTOR = 4096
# Rules and port ranges stay in memory for each policy; real policies have a few.
_MOST_RULES = 64
_MOST_PORT_RANGES = 64
# Subtracting exceptions from address ranges is expensive; real policies have a few.
_MOST_EXCEPTIONS = 32
# Ray listens on ports that it chooses when it starts: for its workers (`ray start`, the defaults of
# --min-worker-port and --max-worker-port), and for the node manager, the object manager and the
# runtime environment agent (Linux's ephemeral ports, which that agent serves in plain HTTP).
_RANDOM_PORTS = (range(10002, 20000), range(32768, 61000))
# A rule that lets everyone reach more than this many of them reaches Ray sooner or later. One that
# opens a few means other software, such as a metrics port on 15090.
_FEW_PORTS = 16
# What namespaces of any owner have: their name, which the API server writes, and labels that say
# how they are set up. A selector of one of these does not say whose namespace it is.
_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_UNKNOWN_NAMESPACE = {_NAMESPACE_NAME: ""}
_COMMON_LABELS = frozenset({"istio-injection", "istio.io/rev", "linkerd.io/inject"})
_COMMON_PREFIXES = ("pod-security.kubernetes.io/", "raywarden.io/", "security.openshift.io/")

Ports = tuple[range, ...]
_ALL_PORTS: Ports = (range(65536),)
# The spans of addresses that one request has time to add up.
_MOST_SPANS = 20_000


@dataclass(frozen=True, slots=True)
class OpenRule:
    """An ingress rule that allows everyone in, or public networks.

    `pointer` is its place in the object, and `ports` its TCP ports. `networks`: the public
    addresses that it allows in; None if it allows everyone in.
    """

    pointer: Pointer
    ports: Ports
    networks: PublicAddresses | None = None

    @classmethod
    def everything(cls, pointer: Pointer) -> "OpenRule":
        """A rule that allows everyone to reach every port."""
        return cls(pointer, _ALL_PORTS)


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """The parts of a NetworkPolicy that decide who can reach its pods.

    `isolates`: its pods accept only the ingress traffic that policies allow.
    `open`: its rules that allow everyone in, or public networks.
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
        rules = rules_of(spec.get("ingress"), _INGRESS) if isolates else ()
        if rules is None:
            isolates, rules = False, (OpenRule.everything(_INGRESS),)
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


def opening_rules(rules: Iterable[OpenRule], ports: Collection[int]) -> list[OpenRule]:
    """Those of `rules` that together allow everyone, or many public addresses, to reach `ports`.

    `rules` are of all policies that select the same pods, because policies add up. `ports` are TCP.
    """
    reaching = [rule for rule in rules if _reaches(rule.ports, ports)]
    opening = [rule for rule in reaching if rule.networks is None]
    limited = [rule.networks for rule in reaching if rule.networks is not None]
    # A request has no time to sort that many, and no real namespace has them.
    if sum(len(networks.spans) for networks in limited) > _MOST_SPANS:
        return reaching
    return opening if PublicAddresses.union(limited).are_few else reaching


def rules_of(ingress: Any, place: Pointer) -> tuple[OpenRule, ...] | None:
    """The rules in a list that allow everyone in, or public networks; None if it is too large."""
    if larger(ingress, _LARGEST):
        return None
    rules, spans = list[OpenRule](), 0
    for index, rule in dict_items(ingress):
        networks = _networks(rule.get("from"))
        ports = _tcp_ports(rule.get("ports"))
        if not ports or (networks is not None and not networks.spans):
            continue
        rules.append(OpenRule(place / index, ports, networks))
        spans += len(networks.spans) if networks else 0
        if len(rules) > _MOST_RULES or spans > MOST_RANGES:
            return None
    return tuple(rules)


def _reaches(ranges: Ports, ports: Collection[int]) -> bool:
    """True if TCP `ranges` include one of `ports`, or many of those that Ray chooses itself."""
    if any(port in span for span in ranges for port in ports):
        return True
    return any(
        min(span.stop, chosen.stop) - max(span.start, chosen.start) > _FEW_PORTS
        for span in ranges
        for chosen in _RANDOM_PORTS
    )


def _controlling_ray_cluster(document: Mapping[str, Any]) -> str:
    owner = controller_of(document)
    if owner and (owner.group, owner.kind) == (RAY_GROUP, "RayCluster"):
        return owner.name
    return ""


def _networks(peers: Any) -> PublicAddresses | None:
    """The public addresses that the peers of an ingress rule allow in; None if that is everyone.

    A rule without peers allows everyone.
    """
    if not peers:
        return None
    blocks = []
    for _, peer in dict_items(peers):
        if _is_everyone(peer):
            return None
        block = as_dict(peer.get("ipBlock"))
        if block:
            blocks.append(block)
    if _count_exceptions(blocks) > _MOST_EXCEPTIONS:
        return None
    return PublicAddresses.of(map(_range, blocks))


def _is_everyone(peer: Mapping[str, Any]) -> bool:
    """True if a peer can select pods of a namespace about which nothing is known.

    The owner of a namespace chooses the labels of its pods, so a `podSelector` keeps no one out. It
    counts only if no label can satisfy it.
    """
    namespaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
    # Without a namespaceSelector, a peer selects only pods of the policy's own namespace.
    if not isinstance(namespaces, dict):
        return False
    selector = Selector.of(namespaces).without(_says_nothing_of_its_owner)
    return selector.matches(_UNKNOWN_NAMESPACE) and (pods is None or can_match(pods))


def _says_nothing_of_its_owner(label: str) -> bool:
    return label in _COMMON_LABELS or label.startswith(_COMMON_PREFIXES)


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
