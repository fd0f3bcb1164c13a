"""The peers of a rule: pods of namespaces, or a block of addresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from policies.documents.selectors import Selector
from policies.documents.untyped import as_str, str_items
from policies.network.parties import (
    AddressParty,
    AnyNetwork,
    Certainty,
    Outsiders,
    Party,
    PodParty,
)


@dataclass(frozen=True, slots=True)
class IpBlock:
    """An ipBlock; `network` is None if its CIDR cannot be parsed.

    Kubernetes accepts some that Python does not, such as 010.0.0.0/8.
    """

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
            return Certainty.UNKNOWN
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

    @property
    def parts(self) -> int:
        """How much of a view's memory it takes."""
        selectors = (self.namespaces, self.pods)
        labels = sum(selector.parts for selector in selectors if selector)
        return 1 + labels + (len(self.block.exceptions) if self.block else 0)

    def includes(self, party: Party, own_namespace: str) -> Certainty:
        """Whether the peer is, among others, this party."""
        if isinstance(party, Outsiders):
            return self._lets_in(party)
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

    def _lets_in(self, outsiders: Outsiders) -> Certainty:
        """Whether the peer can be a client, which nobody but its owner knows for certain."""
        is_for_insiders = self.pods is not None and outsiders.are_not(self.pods)
        return Certainty.NO if is_for_insiders else Certainty.UNKNOWN


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
