"""A NetworkPolicy as a typed view: which pods it isolates, and which traffic it allows.

Source: Kubernetes networking/v1 `NetworkPolicySpec`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from policies.documents.metadata import controller_of, name_of, namespace_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.selectors import Selector
from policies.documents.untyped import as_dict, as_str, dict_items, larger, str_items
from policies.network.addresses import MAX_RANGES, PublicAddresses
from policies.network.parties import STRANGER, Certainty, Party
from policies.network.peers import Peer
from policies.network.ports import ALL_PORTS, PolicyPort, Ports, merged, ports_in
from policies.ray.membership import RAY_GROUP

# Values and characters that are read of the rules of a direction, and of the pod selector. Anyone
# with rights in a namespace can create policies, and their views stay in memory.
_LARGEST = 65536
_LARGEST_SELECTOR = 4096
# Rules, peers, ports, labels and values that a view keeps for a direction.
_MAX_PARTS = 4096
# Rules for everyone or public networks, and spans of addresses, are added up in each request; real
# policies have a few.
_MAX_OPEN_RULES = 64
_MAX_PORT_RANGES = 64
# Subtracting exceptions from address ranges is expensive; real policies have a few.
_MAX_EXCEPTIONS = 32
_NO_ADDRESSES = PublicAddresses()


class Direction(StrEnum):
    """The direction of a connection, as seen from the pods that a policy selects."""

    INGRESS = "Ingress"
    EGRESS = "Egress"

    @property
    def rules_field(self) -> str:
        return self.value.lower()

    @property
    def rules(self) -> Pointer:
        """The place of the rules in a policy."""
        return ROOT / "spec" / self.rules_field

    @property
    def peers_field(self) -> str:
        return "from" if self is Direction.INGRESS else "to"


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """An ingress or egress rule. No peers means everyone, and no ports means all ports.

    `tcp`: its TCP ports, where a name stands for all, because each pod decides what it means.
    `strangers`: the public addresses that an ingress rule lets in; None if it lets in the pods of
    any namespace, or everyone.
    """

    pointer: Pointer
    peers: tuple[Peer, ...]
    ports: tuple[PolicyPort, ...]
    tcp: Ports = ALL_PORTS
    strangers: PublicAddresses | None = _NO_ADDRESSES

    @classmethod
    def of(cls, entry: Mapping[str, Any], direction: Direction, pointer: Pointer) -> "PolicyRule":
        entries = dict_items(entry.get(direction.peers_field))
        peers = tuple(Peer.of(peer) for _, peer in entries)
        rule = cls(pointer, peers, ports_in(entry.get("ports")))
        if direction is Direction.EGRESS:
            return rule
        return replace(rule, tcp=_tcp(rule.ports), strangers=_strangers(rule, entry))

    @classmethod
    def for_everyone(cls, pointer: Pointer) -> "PolicyRule":
        """A rule that lets everyone reach every port."""
        return cls(pointer, (), (), strangers=None)

    @property
    def is_open(self) -> bool:
        """True if it lets in everyone, or public networks."""
        return bool(self.tcp) and (self.strangers is None or bool(self.strangers.spans))

    @property
    def parts(self) -> int:
        """How much of a view's memory it takes."""
        return 1 + len(self.ports) + sum(peer.parts for peer in self.peers)

    def includes(self, party: Party, own_namespace: str) -> Certainty:
        """Whether one of the peers is this party."""
        if not self.peers:
            return Certainty.YES
        answers = [peer.includes(party, own_namespace) for peer in self.peers]
        if Certainty.YES in answers:
            return Certainty.YES
        return Certainty.UNKNOWN if Certainty.UNKNOWN in answers else Certainty.NO


class NetworkPolicy:
    """A NetworkPolicy: its pods, and the rules of each direction that it isolates.

    `owner` and `owner_uid`: the RayCluster that controls it; empty if no RayCluster does.
    `open`: the ingress rules that let in everyone, or public networks.
    `parts`: how many parts of its rules there are to compare.
    Nothing is known of what a policy allows in a direction that is too large to read, so it counts
    as one that lets everyone in. A policy whose pod selector is too large counts as one that
    selects every pod, too.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        spec = as_dict(document.get("spec"))
        selector = as_dict(spec.get("podSelector"))
        has_large_selector = larger(selector, _LARGEST_SELECTOR)
        self.name = name_of(document)
        self.namespace = namespace_of(document)
        self.owner, self.owner_uid = _controlling_ray_cluster(document)
        self._pods = Selector.of({} if has_large_selector else selector)
        self._isolated = _isolated(spec)
        self._rules: dict[Direction, tuple[PolicyRule, ...] | None] = {}
        for direction in self._isolated:
            entries = spec.get(direction.rules_field)
            self._rules[direction] = (
                None if has_large_selector else rules_of(entries, direction, direction.rules)
            )
        self.open = self._open_rules()
        self.parts = sum(_parts(rules or ()) for rules in self._rules.values())

    def selects(self, labels: Mapping[str, Any]) -> bool:
        """True for pods of its own namespace with these labels."""
        return self._pods.matches(labels)

    @property
    def selected_names(self) -> frozenset[str]:
        """The names of the labels in its pod selector."""
        return self._pods.names

    def isolates(self, direction: Direction) -> bool:
        """True if its pods have only the traffic in `direction` that policies allow."""
        return direction in self._isolated

    def is_readable(self, direction: Direction) -> bool:
        """False if its rules of `direction` are too large to read."""
        return self._rules.get(direction, ()) is not None

    def rules(self, direction: Direction) -> tuple[PolicyRule, ...]:
        """The rules of a direction that it isolates; none if they are too large to read."""
        return self._rules.get(direction, ()) or ()

    def _open_rules(self) -> tuple[PolicyRule, ...]:
        if not self.is_readable(Direction.INGRESS):
            return (PolicyRule.for_everyone(Direction.INGRESS.rules),)
        return tuple(rule for rule in self.rules(Direction.INGRESS) if rule.is_open)


def rules_of(entries: Any, direction: Direction, place: Pointer) -> tuple[PolicyRule, ...] | None:
    """The rules in a list; None if it is too large to read."""
    if larger(entries, _LARGEST):
        return None
    rules = tuple(
        PolicyRule.of(entry, direction, place / index) for index, entry in dict_items(entries)
    )
    opening = [rule for rule in rules if rule.is_open]
    spans = sum(len(rule.strangers.spans) for rule in opening if rule.strangers)
    if len(opening) > _MAX_OPEN_RULES or spans > MAX_RANGES or _parts(rules) > _MAX_PARTS:
        return None
    return rules


def _parts(rules: Iterable[PolicyRule]) -> int:
    return sum(rule.parts for rule in rules)


def _isolated(spec: Mapping[str, Any]) -> frozenset[Direction]:
    """The directions that a policy isolates.

    Without types, ingress is isolated always, and egress if there are egress rules.
    """
    types = spec.get("policyTypes")
    if isinstance(types, list) and types:
        return frozenset(direction for direction in Direction if direction in types)
    egress = spec.get(Direction.EGRESS.rules_field)
    return frozenset(Direction) if egress else frozenset({Direction.INGRESS})


def _strangers(rule: PolicyRule, entry: Mapping[str, Any]) -> PublicAddresses | None:
    """Who is let in of those that the policy's author does not know; None if it is everyone."""
    blocks = [peer.block for peer in rule.peers if peer.block]
    if sum(len(block.exceptions) for block in blocks) > _MAX_EXCEPTIONS:
        return None
    if rule.includes(STRANGER, "") is Certainty.YES:
        return None
    if not blocks:
        return _NO_ADDRESSES
    raw = (as_dict(peer.get("ipBlock")) for _, peer in dict_items(entry.get("from")))
    return PublicAddresses.of(map(_range, filter(None, raw)))


def _range(block: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The CIDR of an ipBlock, and its exceptions."""
    exceptions = [exception for _, exception in str_items(block.get("except"))]
    return as_str(block.get("cidr")), exceptions


def _tcp(ports: Sequence[PolicyPort]) -> Ports:
    """The TCP ports in a rule's list; all ports if the list is empty, or too long to keep."""
    if not ports or any(port.name and port.protocol == "TCP" for port in ports):
        return ALL_PORTS
    tcp = merged(port.numbers for port in ports if port.protocol == "TCP")
    return tcp if len(tcp) <= _MAX_PORT_RANGES else ALL_PORTS


def _controlling_ray_cluster(document: Mapping[str, Any]) -> tuple[str, str]:
    owner = controller_of(document)
    if owner and (owner.group, owner.kind) == (RAY_GROUP, "RayCluster"):
        return owner.name, owner.uid
    return "", ""
