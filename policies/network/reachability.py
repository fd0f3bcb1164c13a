"""What NetworkPolicies let a pod reach, and who can reach it.

Policies add up: a pod that any policy isolates has the traffic that at least one of its policies
allows. A connection needs both ends: the egress of its source, and the ingress of its destination.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from policies.network.parties import Certainty, Party, PodParty
from policies.network.policy import Direction, NetworkPolicy, PolicyRule
from policies.network.ports import ALL_PORTS, PolicyPort, PortNames, Ports, common, merged


@dataclass(frozen=True, slots=True)
class Reach:
    """The ports of one protocol that are open: certainly, and possibly.

    `possibly` includes `certainly`, and what depends on the network or on labels that are unknown.
    """

    certainly: Ports
    possibly: Ports

    def both(self, other: "Reach") -> "Reach":
        """The ports that are open in both."""
        return Reach(common(self.certainly, other.certainly), common(self.possibly, other.possibly))


OPEN = Reach(ALL_PORTS, ALL_PORTS)


class Policies:
    """The NetworkPolicies of one namespace."""

    def __init__(self, policies: Collection[NetworkPolicy]) -> None:
        self._policies = policies

    def isolating(self, pod: PodParty, direction: Direction) -> list[NetworkPolicy]:
        """The policies that isolate this pod in `direction`."""
        return [
            policy
            for policy in self._policies
            if policy.isolates(direction) and policy.selects(pod.labels)
        ]

    def reach(
        self, pod: PodParty, direction: Direction, other: Party, protocol: str = "TCP"
    ) -> Reach:
        """The ports between a pod of this namespace and another party, by this pod's policies.

        The ports are the destination's: the pod's own for ingress, the other's for egress.
        """
        isolating = self.isolating(pod, direction)
        if not isolating:
            return OPEN
        names = _names(pod if direction is Direction.INGRESS else other)
        certainly: list[range] = []
        possibly: list[range] = []
        for policy in isolating:
            if not policy.is_readable(direction):
                possibly += ALL_PORTS
            for rule in policy.rules(direction):
                answer = rule.includes(other, pod.namespace)
                if answer is Certainty.NO:
                    continue
                ports = _ports(rule, protocol, names)
                possibly += ports.possibly
                if answer is Certainty.YES:
                    certainly += ports.certainly
        return Reach(merged(certainly), merged(possibly))


def connection(
    source: PodParty, by_source: Policies, target: PodParty, by_target: Policies
) -> Reach:
    """The TCP ports of `target` that `source` can connect to."""
    leaving = by_source.reach(source, Direction.EGRESS, target)
    return leaving.both(by_target.reach(target, Direction.INGRESS, source))


def _names(party: Party) -> PortNames | None:
    """The names of the party's ports; None if they are unknown."""
    return party.port_names if isinstance(party, PodParty) else {}


def _ports(rule: PolicyRule, protocol: str, names: PortNames | None) -> Reach:
    """The ports that a rule opens, where `names` are those of the destination's ports."""
    if not rule.ports:
        return OPEN
    entries = [entry for entry in rule.ports if entry.protocol == protocol]
    certainly = merged(_resolved(entries, names or {}))
    if names is None and any(entry.name for entry in entries):
        return Reach(certainly, ALL_PORTS)
    return Reach(certainly, certainly)


def _resolved(entries: Iterable[PolicyPort], names: PortNames) -> Iterator[range]:
    for entry in entries:
        yield from entry.resolved(names)
