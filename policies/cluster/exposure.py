"""Who can reach a Service from outside the cluster."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from policies.cluster.clouds import CLOUD_NAMES, CLOUDS, SOURCE_RANGES, Cloud, CloudName
from policies.documents.metadata import annotations_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items, str_items

# GCS (and Redis), dashboard, Ray Client, dashboard agent. Each runs code for anyone who can reach
# it.
RAY_PORTS = (6379, 8265, 10001, 52365)
# Parsing a CIDR takes microseconds, and a request has milliseconds. No real list is this long.
_MOST_RANGES = 1000
# `is_public` runs for every Service in the cluster, whether or not it leads to Ray, so it reads
# fewer.
_MOST_RANGES_OF_A_SERVICE = 64
# How many public addresses source ranges may contain and still count as a restriction, by IP
# version: an IPv4 /8, an IPv6 /32.
_MOST_ADDRESSES = {4: 2**24, 6: 2**96}
# IPv4 addresses written as IPv6: mapped (RFC 4291) and translated (RFC 6052).
_IPV4_IN_IPV6 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))

_Network = IPv4Network | IPv6Network

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


def has_few_addresses(ranges: Iterable[str]) -> bool:
    """True if there are ranges (CIDRs), and together they contain few public addresses.

    False if any of them cannot be parsed.
    """
    return blocks_have_few_addresses((block, ()) for block in ranges)


def blocks_have_few_addresses(blocks: Iterable[tuple[str, Sequence[str]]]) -> bool:
    """Like `has_few_addresses`, for ranges with exceptions (also CIDRs).

    False for more than 1000 ranges and exceptions together, which are not read.
    """
    count = 0
    public = {4: 0, 6: 0}
    try:
        for block, exceptions in blocks:
            count += 1 + len(exceptions)
            if count > _MOST_RANGES:
                return False
            network = _parse(block)
            excluded = _inside(network, [_parse(exception) for exception in exceptions])
            # Python calls some networks private although a few addresses in them are not. The
            # difference can then be negative, and must not make up for public addresses elsewhere.
            addresses = _public_addresses(network) - sum(map(_public_addresses, excluded))
            public[network.version] += max(0, addresses)
    except ValueError:
        return False
    return count > 0 and all(public[version] <= most for version, most in _MOST_ADDRESSES.items())


def _parse(cidr: str) -> _Network:
    """The network; raises ValueError if `cidr` is not a CIDR."""
    network = ip_network(cidr.strip(), strict=False)
    if isinstance(network, IPv6Network) and any(map(network.subnet_of, _IPV4_IN_IPV6)):
        return IPv4Network((network.network_address.packed[12:], network.prefixlen - 96))
    return network


def _public_addresses(network: _Network) -> int:
    return 0 if network.is_private else network.num_addresses


def _inside(network: _Network, exceptions: Iterable[_Network]) -> Iterator[_Network]:
    """Those of `exceptions` that lie inside `network`, with no address twice."""
    # Two branches, because `subnet_of` and `collapse_addresses` take one IP version at a time.
    if isinstance(network, IPv4Network):
        return collapse_addresses(
            exception
            for exception in exceptions
            if isinstance(exception, IPv4Network) and exception.subnet_of(network)
        )
    return collapse_addresses(
        exception
        for exception in exceptions
        if isinstance(exception, IPv6Network) and exception.subnet_of(network)
    )
