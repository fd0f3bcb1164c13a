"""Ports that NetworkPolicies name, and sets of them.

Source: Kubernetes networking/v1 `NetworkPolicyPort`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.documents.untyped import as_str, dict_items

# Sets of ports as ranges that neither overlap nor touch, in ascending order.
Ports = tuple[range, ...]

ALL_PORTS: Ports = (range(1, 65536),)
# Which numbers a pod gives to a name of a port. Containers may give one name different numbers.
PortNames = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class PolicyPort:
    """One entry of a rule's `ports`: a protocol, and its numbers or a name.

    The pod that is connected to decides which number a name stands for.
    """

    protocol: str
    numbers: range = ALL_PORTS[0]
    name: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "PolicyPort":
        """The view of a NetworkPolicyPort; an entry without a port means all of its protocol."""
        protocol = as_str(entry.get("protocol")) or "TCP"
        port, last = entry.get("port"), entry.get("endPort")
        if isinstance(port, str) and port:
            return cls(protocol, range(0), port)
        if not isinstance(port, int):
            return cls(protocol)
        return cls(protocol, range(port, (last if isinstance(last, int) else port) + 1))

    def resolved(self, names: PortNames) -> Ports:
        """The numbers that this entry stands for in a pod with these names of ports."""
        if self.name:
            return merged(range(number, number + 1) for number in names.get(self.name, ()))
        return merged([self.numbers])


def ports_in(entries: Any) -> tuple[PolicyPort, ...]:
    """The ports of a rule; empty if the rule is for all ports."""
    return tuple(PolicyPort.of(entry) for _, entry in dict_items(entries))


def merged(ranges: Iterable[range]) -> Ports:
    """The same ports in as few ranges as possible."""
    return tuple(_merged(ranges))


def _merged(ranges: Iterable[range]) -> Iterator[range]:
    begin = end = 0
    for ports in sorted(ranges, key=lambda ports: ports.start):
        if ports.start > end:
            if begin < end:
                yield range(begin, end)
            begin, end = ports.start, ports.stop
        end = max(end, ports.stop)
    if begin < end:
        yield range(begin, end)


def missing_from(ports: Ports, wanted: Ports) -> Ports:
    """The ports in `wanted` that are not in `ports`."""
    return merged(part for span in wanted for part in _without(span, ports))


def _without(span: range, ports: Ports) -> Iterator[range]:
    begin = span.start
    for taken in ports:
        if taken.stop > begin and taken.start < span.stop:
            yield range(begin, max(begin, taken.start))
            begin = taken.stop
    yield range(begin, max(begin, span.stop))


def common(ports: Ports, others: Ports) -> Ports:
    """The ports in both sets."""
    overlaps = [
        range(max(span.start, other.start), min(span.stop, other.stop))
        for span in ports
        for other in others
    ]
    return merged(overlap for overlap in overlaps if overlap)


def shown(ports: Ports) -> str:
    """`8265, 10002-19999`; "all ports" for all."""
    if ports == ALL_PORTS:
        return "all ports"
    return ", ".join(
        str(span.start) if len(span) == 1 else f"{span.start}-{span.stop - 1}" for span in ports
    )
