"""EndpointSlices and Endpoints: the Service that they extend and the ports that they lead to.

kube-proxy sends the traffic of a Service to every EndpointSlice that names it, by whomever it was
written. Sources: Kubernetes' EndpointSlice API, `pkg/controller/endpointslice`.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from policies.documents.metadata import labels_of, name_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
# Kubernetes' controller writes the slices of every Service that has a selector, and owns them.
CONTROLLER = "endpointslice-controller.k8s.io"
# Anyone can create these objects, and their views stay in memory. No real one has as many ports.
_MAX_PORTS = 256


@dataclass(frozen=True, slots=True)
class LiveEndpoints:
    """Endpoints that exist; with `leads_anywhere` they have too many ports to read."""

    name: str
    service: str
    ports: frozenset[int]
    leads_anywhere: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "LiveEndpoints":
        """The view of an EndpointSlice or Endpoints object."""
        ports = [port for port, _ in islice(endpoint_ports(document), _MAX_PORTS + 1)]
        numbers = frozenset(port for port in ports if isinstance(port, int))
        return cls(
            name_of(document),
            service_of(document),
            numbers,
            leads_anywhere=len(ports) > _MAX_PORTS,
        )

    def leads_to(self, ports: Collection[int | str]) -> list[int]:
        """Which of these ports they lead to."""
        wanted = {port for port in ports if isinstance(port, int)}
        return sorted(wanted if self.leads_anywhere else self.ports.intersection(wanted))


def service_of(document: Mapping[str, Any]) -> str:
    """The name of the Service that an EndpointSlice or Endpoints object belongs to."""
    if document.get("kind") == "Endpoints":
        return name_of(document)
    return as_str(labels_of(document).get(SERVICE_LABEL))


def endpoint_ports(document: Mapping[str, Any]) -> Iterator[tuple[Any, Pointer]]:
    """The ports of an EndpointSlice, or of all subsets of Endpoints, each with its place."""
    for index, port in dict_items(document.get("ports")):
        yield port.get("port"), ROOT / "ports" / index / "port"
    for index, subset in dict_items(document.get("subsets")):
        for place, port in dict_items(as_dict(subset).get("ports")):
            yield port.get("port"), ROOT / "subsets" / index / "ports" / place / "port"
