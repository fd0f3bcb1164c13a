"""Which Services and routes lead to ports that policies close for those outside the cluster."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.cluster.related_object import RelatedObject
from policies.cluster.routes import backends
from policies.cluster.state import LiveService
from policies.documents.metadata import controller_of, name_of
from policies.documents.selectors import has_labels
from policies.documents.untyped import printable
from policies.network.parties import AddressParty, PodParty
from policies.network.policy import Direction, NetworkPolicy
from policies.network.ports import Ports, merged, missing_from, shown
from policies.network.ray_traffic import ClusterTraffic
from policies.network.reachability import Policies
from policies.network.written import WrittenPolicy
from policies.ray.workload import Kind

Object = Mapping[str, Any]
# A pod that no rule names stands for those who connect through a Service or a route.
_STRANGER = PodParty("", namespace_labels={})


def lost_access(
    traffic: ClusterTraffic,
    written: Sequence[WrittenPolicy],
    services: Sequence[Object],
    routes: Sequence[Object],
) -> Iterator[str]:
    """A line for each Service and route whose clients the policies keep out, with the ports."""
    policies = Policies(
        [NetworkPolicy({"metadata": {}, "spec": policy.spec}) for policy in written]
    )
    closed: dict[str, Mapping[int | str, Ports]] = {}
    for document in services:
        service = LiveService.of(document)
        ports = _closed(traffic, policies, service)
        closed[service.name] = ports
        if service.public and any(ports.values()):
            yield _line(f"Service {service.name}", merged(_all(ports)))
        elif not _is_kuberays(document) and any(ports.values()):
            yield _line(f"Service {service.name} (inside the cluster)", merged(_all(ports)))
    for document in routes:
        route = RelatedObject.of(Kind.of(document), document)
        for backend in backends(route) if route else ():
            ports = {} if backend.namespace else closed.get(backend.service, {})
            reached = _all(ports) if backend.port is None else ports.get(backend.port, ())
            if reached:
                yield _line(f"{route.kind if route else ''} {name_of(document)}", merged(reached))


def _line(who: str, ports: Ports) -> str:
    return f"{printable(who)} leads to {shown(ports)}"


def _all(ports: Mapping[int | str, Ports]) -> Ports:
    return merged(span for spans in ports.values() for span in spans)


def _is_kuberays(service: Object) -> bool:
    """KubeRay makes the head's Service for the members themselves."""
    owner = controller_of(service)
    return owner is not None and owner.group == "ray.io"


def _closed(
    traffic: ClusterTraffic, policies: Policies, service: LiveService
) -> Mapping[int | str, Ports]:
    """The closed target ports of a Service that selects pods of the cluster, by its own ports."""
    closed: dict[int | str, Ports] = {}
    for group in traffic.groups:
        if not service.selector or not has_labels(service.selector, group.party.labels):
            continue
        names = group.party.port_names or {}
        reaches = [
            policies.reach(group.party, Direction.INGRESS, party)
            for party in (_STRANGER, AddressParty())
        ]
        opened = merged(span for reach in reaches for span in reach.certainly)
        for port, target in service.ports.items():
            numbers = [target] if isinstance(target, int) else names.get(target, ())
            wanted = merged(range(number, number + 1) for number in numbers)
            missing = missing_from(opened, wanted)
            if missing:
                closed[port] = merged([*closed.get(port, ()), *missing])
    return closed
