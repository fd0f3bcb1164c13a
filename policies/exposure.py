"""Who can reach a Service from outside the cluster."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from policies.clouds import ACCESS_LISTS, INTERNAL, SOURCE_RANGES
from policies.pointer import ROOT, Pointer
from policies.reading import mapping, text, texts

# GCS (and Redis), dashboard, Ray Client, dashboard agent: each runs code for whoever reaches it.
RAY_PORTS = (6379, 8265, 10001, 52365)
# Public addresses a list of source ranges may let in and still be called a restriction: an IPv4 /8, an IPv6 /32.
_MOST_RANGES = 1000
_MOST_ADDRESSES = {4: 2**24, 6: 2**96}

_INSTEAD = "write type ClusterIP and use kubectl port-forward, or an Ingress that asks who is there"
_RESTRICT = "a LoadBalancer needs loadBalancerSourceRanges or your cloud's annotation for an internal one"


def open_by_type(service_type: Any, restricted: bool) -> tuple[str, str] | None:
    """How a Service of this type is open to the outside, and what to write instead; None where it is not."""
    if service_type == "NodePort":
        return "is a NodePort, open on every node", _INSTEAD
    if service_type == "LoadBalancer" and not restricted:
        return "is a LoadBalancer open to everyone", f"{_INSTEAD}; {_RESTRICT}"
    return None


def exposures(
    spec: Mapping[str, Any], annotations: Mapping[str, Any], pointer: Pointer
) -> Iterator[tuple[str, Pointer, str]]:
    """How the Service with this spec (at `pointer`) is open to the outside: how, where it says so, what to write."""
    if found := open_by_type(spec.get("type"), is_restricted(spec, annotations)):
        how, fix = found
        yield how, pointer / "type", fix
    if spec.get("externalIPs"):
        yield "has externalIPs", pointer / "externalIPs", "delete externalIPs"


def is_public(document: Mapping[str, Any]) -> bool:
    """A Service object can be reached from outside the cluster."""
    spec = mapping(document.get("spec"))
    annotations = mapping(mapping(document.get("metadata")).get("annotations"))
    return any(exposures(spec, annotations, ROOT))


def is_restricted(spec: Mapping[str, Any], annotations: Mapping[str, Any]) -> bool:
    """A load balancer for this service has no public address, or lets in only some networks."""
    chosen = [annotations[name] == value for name, value in INTERNAL.items() if name in annotations]
    if chosen and all(chosen):
        return True
    listed = any(
        all(text(annotations.get(name)) == value if value else annotations.get(name) for name, value in wanted.items())
        for wanted in ACCESS_LISTS
    )
    written = [value for _, value in texts(spec.get("loadBalancerSourceRanges"))]
    # An annotation counts where the field is empty, as in Kubernetes (`GetLoadBalancerSourceRanges`).
    ranges = written or [one for name in SOURCE_RANGES for one in text(annotations.get(name)).split(",") if one.strip()]
    return listed or lets_in_few(ranges)


def lets_in_few(ranges: Iterable[str]) -> bool:
    """There are ranges (CIDR), all can be read, and together they hold few public addresses."""
    listed = list(ranges)
    try:
        networks = [ip_network(one.strip(), strict=False) for one in listed[:_MOST_RANGES]]
    except ValueError:
        return False
    public = {4: 0, 6: 0}
    for network in networks:
        public[network.version] += 0 if network.is_private else network.num_addresses
    return 0 < len(listed) <= _MOST_RANGES and all(
        count <= _MOST_ADDRESSES[version] for version, count in public.items()
    )
