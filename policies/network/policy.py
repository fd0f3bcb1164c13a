"""A NetworkPolicy as a typed view: which pods it isolates, and which traffic it allows.

Source: Kubernetes networking/v1 `NetworkPolicySpec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from ipaddress import ip_network
from typing import Any

from policies.documents.metadata import name_of, namespace_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.selectors import Selector
from policies.documents.untyped import as_dict, as_str, dict_items, larger, str_items
from policies.network.parties import AddressParty, AnyNetwork, Certainty, Party, PodParty
from policies.network.ports import PolicyPort, ports_in

# Values and characters that are read of one policy. Anyone with rights in a namespace can create
# one, and its view stays in memory.
_LARGEST = 65536


class Direction(StrEnum):
    """The direction of a connection, as seen from the pods that a policy selects."""

    INGRESS = "Ingress"
    EGRESS = "Egress"

    @property
    def rules_field(self) -> str:
        return self.value.lower()

    @property
    def peers_field(self) -> str:
        return "from" if self is Direction.INGRESS else "to"


@dataclass(frozen=True, slots=True)
class IpBlock:
    """An ipBlock; `network` is None if its CIDR cannot be parsed."""

    network: AnyNetwork | None
    exceptions: tuple[AnyNetwork, ...]

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "IpBlock":
        exceptions = [_network(text) for _, text in str_items(block.get("except"))]
        known = tuple(network for network in exceptions if network is not None)
        return cls(_network(as_str(block.get("cidr"))), known)

    def includes(self, networks: tuple[AnyNetwork, ...]) -> Certainty:
        """Whether the block has all of `networks`; unknown networks may be in any block."""
        if self.network is None:
            return Certainty.NO
        if not networks:
            everything = self.network.prefixlen == 0 and not self.exceptions
            return Certainty.YES if everything else Certainty.UNKNOWN
        inside = all(_is_inside(network, self.network) for network in networks)
        excepted = any(
            exception.version == network.version and network.overlaps(exception)
            for exception in self.exceptions
            for network in networks
        )
        return Certainty.YES if inside and not excepted else Certainty.NO


@dataclass(frozen=True, slots=True)
class Peer:
    """One entry of `from` or `to`: pods of namespaces, or a block of addresses."""

    namespaces: Selector | None
    pods: Selector | None
    block: IpBlock | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Peer":
        block = entry.get("ipBlock")
        return cls(
            _selector(entry.get("namespaceSelector")),
            _selector(entry.get("podSelector")),
            IpBlock.of(block) if isinstance(block, dict) else None,
        )

    def includes(self, party: Party, own_namespace: str) -> Certainty:
        """Whether the peer is, among others, this party."""
        if self.block is not None:
            # Whether a block includes pods depends on the network: Cilium says no, others say yes.
            if isinstance(party, PodParty):
                return Certainty.UNKNOWN
            return self.block.includes(party.networks)
        if isinstance(party, AddressParty):
            return Certainty.NO
        namespace = party.is_in(self.namespaces, own_namespace)
        pods = party.satisfies(self.pods)
        if Certainty.NO in (namespace, pods):
            return Certainty.NO
        return namespace


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """An ingress or egress rule. No peers means everyone, and no ports means all ports."""

    pointer: Pointer
    peers: tuple[Peer, ...]
    ports: tuple[PolicyPort, ...]

    @classmethod
    def of(cls, entry: Mapping[str, Any], direction: Direction, pointer: Pointer) -> "PolicyRule":
        peers = dict_items(entry.get(direction.peers_field))
        return cls(pointer, tuple(Peer.of(peer) for _, peer in peers), ports_in(entry.get("ports")))

    def includes(self, party: Party, own_namespace: str) -> Certainty:
        """Whether one of the peers is this party."""
        if not self.peers:
            return Certainty.YES
        answers = [peer.includes(party, own_namespace) for peer in self.peers]
        if Certainty.YES in answers:
            return Certainty.YES
        return Certainty.UNKNOWN if Certainty.UNKNOWN in answers else Certainty.NO


class TrafficPolicy:
    """A NetworkPolicy: its pods, and the rules of each direction that it isolates.

    A policy that is too large to read is `unreadable`: it selects every pod, and nothing is known
    of what it allows.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.name = name_of(document)
        self.namespace = namespace_of(document)
        self.unreadable = larger(document.get("spec"), _LARGEST)
        self._spec = {} if self.unreadable else as_dict(document.get("spec"))
        self._pods = Selector.of(as_dict(self._spec.get("podSelector")))

    def selects(self, labels: Mapping[str, Any]) -> bool:
        """True for pods of its own namespace with these labels."""
        return self._pods.matches(labels)

    def isolates(self, direction: Direction) -> bool:
        """True if its pods have only the traffic in `direction` that policies allow.

        An unreadable policy may isolate both directions.
        """
        if self.unreadable:
            return True
        types = self._spec.get("policyTypes")
        if isinstance(types, list) and types:
            return direction in types
        # Without types, ingress is isolated always, and egress if there are egress rules.
        return direction is Direction.INGRESS or bool(self._spec.get(direction.rules_field))

    def rules(self, direction: Direction) -> tuple[PolicyRule, ...]:
        """The rules of a direction; they count only if the policy isolates that direction."""
        return self._rules[direction]

    @cached_property
    def _rules(self) -> Mapping[Direction, tuple[PolicyRule, ...]]:
        rules = {}
        for direction in Direction:
            place = ROOT / "spec" / direction.rules_field
            entries = dict_items(self._spec.get(direction.rules_field))
            rules[direction] = tuple(
                PolicyRule.of(entry, direction, place / index) for index, entry in entries
            )
        return rules


def _selector(value: Any) -> Selector | None:
    return Selector.of(value) if isinstance(value, dict) else None


def _network(text: str) -> AnyNetwork | None:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def _is_inside(network: AnyNetwork, block: AnyNetwork) -> bool:
    if network.version != block.version:
        return False
    first, last = int(network.network_address), int(network.broadcast_address)
    return int(block.network_address) <= first and last <= int(block.broadcast_address)
