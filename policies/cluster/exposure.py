"""Who can reach a Service from outside the cluster."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from policies.cluster.addresses import has_few_addresses
from policies.cluster.clouds import CLOUD_NAMES, CLOUDS, SOURCE_RANGES, Cloud, CloudName
from policies.documents.metadata import annotations_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items, str_items

# GCS (and Redis), dashboard, Ray Client, dashboard agent. Each runs code for anyone who can reach
# it.
RAY_PORTS = (6379, 8265, 10001, 52365)
# `is_public` runs for every Service in the cluster, whether or not it leads to Ray, so it reads
# fewer.
_MOST_RANGES_OF_A_SERVICE = 64
_INSTEAD = "set {}: ClusterIP and use kubectl port-forward, or an Ingress that authenticates"
_RESTRICT = (
    "to keep a LoadBalancer, set loadBalancerSourceRanges or your cloud's annotation for an "
    "internal load balancer"
)


def exposure_by_type(
    service_type: Any, restricted: bool, field: str = "type", restrict: str = _RESTRICT
) -> tuple[str, str] | None:
    """How a Service of this type is exposed outside the cluster, and the remediation.

    None if its type does not expose it. `field` is the name of the field that has the type.
    `restrict` says how a LoadBalancer can be restricted instead; empty if it cannot.
    """
    remediation = _INSTEAD.format(field)
    if service_type == "NodePort":
        return "is a NodePort, which opens a port on every node", remediation
    if service_type == "LoadBalancer" and not restricted:
        if restrict:
            remediation = f"{remediation}; {restrict}"
        return "is a LoadBalancer that accepts traffic from any address", remediation
    return None


def exposures(
    spec: Mapping[str, Any],
    annotations: Mapping[str, Any],
    pointer: Pointer,
    clouds: Collection[CloudName] = CLOUD_NAMES,
) -> Iterator[tuple[str, Pointer, str]]:
    """Each way in which a Service is exposed outside the cluster: how, at which place, remediation.

    `pointer` is the place of `spec`. Only annotations of `clouds` count: those of another cloud
    have no effect.
    """
    exposed = exposure_by_type(spec.get("type"), is_restricted(spec, annotations, clouds))
    if exposed:
        how, remediation = exposed
        # The API server rejects a nodePort in a Service of type ClusterIP.
        if any(port.get("nodePort") for _, port in dict_items(spec.get("ports"))):
            remediation = f"{remediation}; remove nodePort from ports"
        yield how, pointer / "type", remediation
    if spec.get("externalIPs"):
        how = "has externalIPs, which accept traffic from outside the cluster"
        yield how, pointer / "externalIPs", "remove externalIPs"


def is_public(document: Mapping[str, Any]) -> bool:
    """True if a Service object can be reached from outside the cluster.

    A LoadBalancer with more source ranges than are checked counts as public.
    """
    spec = as_dict(document.get("spec"))
    ranges = spec.get("loadBalancerSourceRanges")
    too_many = isinstance(ranges, list) and len(ranges) > _MOST_RANGES_OF_A_SERVICE
    if too_many and spec.get("type") == "LoadBalancer":
        return True
    return any(exposures(spec, annotations_of(document), ROOT))


def is_restricted(
    spec: Mapping[str, Any],
    annotations: Mapping[str, Any],
    clouds: Collection[CloudName] = CLOUD_NAMES,
) -> bool:
    """True if the Service's load balancer is internal, or accepts only some networks."""
    known = [cloud for cloud in CLOUDS if cloud.name in clouds]
    if _is_internal(known, annotations):
        return True
    if any(_has_access_list(cloud, annotations) for cloud in known):
        return True
    # Kubernetes reads the annotation only if the field is empty (`GetLoadBalancerSourceRanges`).
    # A cloud's own annotation adds ranges to either (cloud-provider-azure,
    # `loadbalancer.AllowedIPRanges`).
    ranges = [value for _, value in str_items(spec.get("loadBalancerSourceRanges"))]
    if not ranges:
        ranges = _annotated_ranges(annotations, SOURCE_RANGES)
    for cloud in known:
        for name in cloud.source_ranges:
            ranges += _annotated_ranges(annotations, name)
    return has_few_addresses(ranges)


def _is_internal(clouds: Iterable[Cloud], annotations: Mapping[str, Any]) -> bool:
    """True if annotations make the load balancer internal, and no annotation contradicts."""
    is_marked = False
    for cloud in clouds:
        for name, value in cloud.internal.items():
            if name in annotations:
                if annotations[name] != value:
                    return False
                is_marked = True
    return is_marked


def _has_access_list(cloud: Cloud, annotations: Mapping[str, Any]) -> bool:
    return bool(cloud.access_list) and all(
        as_str(annotations.get(name)) == value if value else annotations.get(name)
        for name, value in cloud.access_list.items()
    )


def _annotated_ranges(annotations: Mapping[str, Any], name: str) -> list[str]:
    return [part for part in as_str(annotations.get(name)).split(",") if part.strip()]
