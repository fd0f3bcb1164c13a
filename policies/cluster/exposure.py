"""Who can reach a Service from outside the cluster."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.cluster.clouds import CLOUD_NAMES, CloudName
from policies.cluster.load_balancers import Restriction, restriction
from policies.documents.metadata import annotations_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, dict_items

# GCS (and Redis), dashboard, Ray Client, dashboard agent. Each runs code for anyone who can reach
# it.
RAY_PORTS = (6379, 8265, 10001, 52365)
# HTTP and gRPC of Ray Serve, which runs no code of its callers.
SERVE_PORTS = (8000, 9000)
# `is_public` runs for every Service in the cluster, whether or not it leads to Ray, so it reads
# fewer.
_MAX_RANGES_OF_A_SERVICE = 64
_INSTEAD = "set {}: ClusterIP and use kubectl port-forward, or an Ingress that authenticates"
_RESTRICT = (
    "to keep a LoadBalancer, set loadBalancerSourceRanges or your cloud's annotation for an "
    "internal load balancer"
)
_UNRESTRICTED = Restriction(False)


@dataclass(frozen=True, slots=True)
class Exposure:
    """One way in which a Service is exposed outside the cluster.

    `problem` is a verb phrase. An `advisory` one depends on who can reach the nodes.
    """

    problem: str
    pointer: Pointer
    remediation: str
    advisory: bool = False


@dataclass(frozen=True, slots=True)
class TypeOfService:
    """The type of a Service, with the fields that limit whom it exposes.

    `pointer` is the place of the type, `spec_pointer` that of `spec`. `restrict` says how a
    LoadBalancer can be restricted instead; empty if it cannot. `as_written`: the author wrote the
    spec. In a Service, RayWarden also sees the node ports that the API server has just allocated.
    """

    name: Any
    spec: Mapping[str, Any]
    pointer: Pointer
    spec_pointer: Pointer
    restriction: Restriction = _UNRESTRICTED
    restrict: str = _RESTRICT
    as_written: bool = False

    def exposures(self) -> Iterator[Exposure]:
        """How a Service of this type is exposed outside the cluster."""
        remediation = _INSTEAD.format(self.pointer[-1])
        # The API server rejects a nodePort in a Service of type ClusterIP.
        without_node_ports = "; remove nodePort from ports" if any(self._node_ports) else ""
        if self.name == "NodePort":
            problem = "is a NodePort, which opens a port on every node"
            yield Exposure(problem, self.pointer, f"{remediation}{without_node_ports}")
        elif self.name == "LoadBalancer" and self.restriction.is_effective:
            yield from self._open_node_ports()
        elif self.name == "LoadBalancer":
            if self.restriction.undone_by:
                undoing = " and ".join(self.restriction.undone_by)
                remediation = f"{remediation}; to keep the LoadBalancer, remove {undoing}"
            elif self.restrict:
                remediation = f"{remediation}; {self.restrict}"
            problem = "is a LoadBalancer that accepts traffic from any address"
            yield Exposure(problem, self.pointer, f"{remediation}{without_node_ports}")

    @property
    def _node_ports(self) -> Iterator[Pointer]:
        for index, port in dict_items(self.spec.get("ports")):
            if port.get("nodePort"):
                yield self.spec_pointer / "ports" / index / "nodePort"

    def _open_node_ports(self) -> Iterator[Exposure]:
        """The restrictions of a load balancer do not hold for its node ports.

        kube-proxy applies source ranges only to connections to the load balancer's own address.
        """
        allocates = self.spec.get("allocateLoadBalancerNodePorts") is not False
        asked = list(self._node_ports) if self.as_written or not allocates else []
        for pointer in asked:
            problem = "asks for a nodePort, which opens a port on every node"
            yield Exposure(problem, pointer, "remove nodePort")
        if allocates and not asked:
            yield Exposure(
                "opens a port on every node beside its restricted load balancer",
                self.pointer,
                "set allocateLoadBalancerNodePorts: false if your load balancer sends traffic to "
                "pods or to its own address, else let only the load balancer reach the nodes",
                advisory=True,
            )


def exposures(
    spec: Mapping[str, Any],
    annotations: Mapping[str, Any],
    pointer: Pointer,
    clouds: Collection[CloudName] = CLOUD_NAMES,
    *,
    as_written: bool = False,
) -> Iterator[Exposure]:
    """Each way in which a Service is exposed outside the cluster.

    `pointer` is the place of `spec`. Only annotations of `clouds` count: those of another cloud
    have no effect.
    """
    name, restricted = spec.get("type"), _UNRESTRICTED
    if name == "LoadBalancer":
        restricted = restriction(spec, annotations, clouds)
    place = pointer / "type"
    by_type = TypeOfService(name, spec, place, pointer, restricted, as_written=as_written)
    yield from by_type.exposures()
    if spec.get("externalIPs"):
        problem = "has externalIPs, which accept traffic from outside the cluster"
        yield Exposure(problem, pointer / "externalIPs", "remove externalIPs")


def is_public(document: Mapping[str, Any]) -> bool:
    """True if a Service object can be reached from outside the cluster.

    A LoadBalancer with more source ranges than are checked counts as public.
    """
    spec = as_dict(document.get("spec"))
    ranges = spec.get("loadBalancerSourceRanges")
    too_many = isinstance(ranges, list) and len(ranges) > _MAX_RANGES_OF_A_SERVICE
    if too_many and spec.get("type") == "LoadBalancer":
        return True
    found = exposures(spec, annotations_of(document), ROOT)
    return any(not exposure.advisory for exposure in found)
