"""Who can reach a Service from outside the cluster."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from policies.cluster.clouds import CLOUD_NAMES, CLOUDS, SOURCE_RANGES, Cloud, CloudName
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items, str_items

# GCS (and Redis), dashboard, Ray Client, dashboard agent: each runs code for whoever reaches it.
RAY_PORTS = (6379, 8265, 10001, 52365)
# Public addresses a list of source ranges may let in and still be called a restriction: an IPv4 /8, an IPv6 /32.
_MOST_RANGES = 1000
_MOST_KEPT = 64
_MOST_ADDRESSES = {4: 2**24, 6: 2**96}
# IPv4 in other words: mapped (RFC 4291) and translated (RFC 6052).
_IPV4_IN_IPV6 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))

_Network = IPv4Network | IPv6Network

_INSTEAD = "set {}: ClusterIP and use kubectl port-forward, or an Ingress that asks who is there"
_RESTRICT = (
    "a LoadBalancer needs loadBalancerSourceRanges or your cloud's annotation for an internal one"
)


def open_by_type(
    service_type: Any, restricted: bool, field: str = "type", restrict: str = _RESTRICT
) -> tuple[str, str] | None:
    """How a Service of this type is open to the outside, and what to write instead; None where it is not.

    `field` is what its author calls the type; `restrict` says how else he may close it, where he may.
    """
    instead = _INSTEAD.format(field)
    if service_type == "NodePort":
        return "is a NodePort, open on every node", instead
    if service_type == "LoadBalancer" and not restricted:
        return (
            "is a LoadBalancer open to everyone",
            f"{instead}; {restrict}" if restrict else instead,
        )
    return None


def exposures(
    spec: Mapping[str, Any],
    annotations: Mapping[str, Any],
    pointer: Pointer,
    clouds: Collection[CloudName] = CLOUD_NAMES,
) -> Iterator[tuple[str, Pointer, str]]:
    """How the Service with this spec (at `pointer`) is open to the outside: how, where it says so, what to write.

    Annotations count of `clouds` alone: those of another cloud do nothing.
    """
    if found := open_by_type(spec.get("type"), is_restricted(spec, annotations, clouds)):
        how, remediation = found
        # The API server takes none of a Service of type ClusterIP.
        numbered = any(port.get("nodePort") for _, port in dict_items(spec.get("ports")))
        yield (
            how,
            pointer / "type",
            f"{remediation}; remove nodePort from ports" if numbered else remediation,
        )
    if spec.get("externalIPs"):
        yield "has externalIPs", pointer / "externalIPs", "remove externalIPs"


def is_public(document: Mapping[str, Any]) -> bool:
    """A Service object can be reached from outside the cluster; one with more ranges than are looked at counts so."""
    spec = as_dict(document.get("spec"))
    annotations = as_dict(as_dict(document.get("metadata")).get("annotations"))
    listed = spec.get("loadBalancerSourceRanges")
    # This is asked of every Service there is, whoever made it.
    many = isinstance(listed, list) and len(listed) > _MOST_KEPT
    return (many and spec.get("type") == "LoadBalancer") or any(exposures(spec, annotations, ROOT))


def is_restricted(
    spec: Mapping[str, Any],
    annotations: Mapping[str, Any],
    clouds: Collection[CloudName] = CLOUD_NAMES,
) -> bool:
    """A load balancer for this service has no public address, or lets in only some networks."""
    known = [cloud for cloud in CLOUDS if cloud.name in clouds]
    chosen = [
        annotations[name] == value
        for cloud in known
        for name, value in cloud.internal.items()
        if name in annotations
    ]
    if (chosen and all(chosen)) or any(_has_access_list(cloud, annotations) for cloud in known):
        return True
    # The annotation counts where the field is empty, as in Kubernetes (`GetLoadBalancerSourceRanges`); a cloud's own
    # is added to either (cloud-provider-azure, `loadbalancer.AllowedIPRanges`).
    written = [value for _, value in str_items(spec.get("loadBalancerSourceRanges"))] or _listed(
        annotations, SOURCE_RANGES
    )
    own = (name for cloud in known for name in cloud.source_ranges)
    return lets_in_few([*written, *_listed(annotations, *own)])


def _has_access_list(cloud: Cloud, annotations: Mapping[str, Any]) -> bool:
    return bool(cloud.access_list) and all(
        as_str(annotations.get(name)) == value if value else annotations.get(name)
        for name, value in cloud.access_list.items()
    )


def _listed(annotations: Mapping[str, Any], *names: str) -> list[str]:
    return [
        one for name in names for one in as_str(annotations.get(name)).split(",") if one.strip()
    ]


def lets_in_few(ranges: Iterable[str]) -> bool:
    """There are ranges (CIDR), all can be read, and together they hold few public addresses."""
    return few_are_in((one, ()) for one in ranges)


def few_are_in(blocks: Iterable[tuple[str, Sequence[str]]]) -> bool:
    """The same of ranges that have exceptions (CIDR, too).

    Of more than 1000, exceptions counted, it is not known that they are few.
    """
    seen, public = 0, {4: 0, 6: 0}
    try:
        for block, exceptions in blocks:
            seen += 1 + len(exceptions)
            if seen > _MOST_RANGES:
                return False
            network, holes = _network(block), [_network(one) for one in exceptions]
            left_out = sum(map(_public_addresses, _inside(network, holes)))
            # Python calls some networks private in which a few addresses are not; less than none is nobody's to give.
            public[network.version] += max(0, _public_addresses(network) - left_out)
    except ValueError:
        return False
    return seen > 0 and all(count <= _MOST_ADDRESSES[version] for version, count in public.items())


def _network(written: str) -> _Network:
    """Raises ValueError for what is no CIDR."""
    network = ip_network(written.strip(), strict=False)
    if isinstance(network, IPv6Network) and any(network.subnet_of(one) for one in _IPV4_IN_IPV6):
        return IPv4Network((network.network_address.packed[12:], network.prefixlen - 96))
    return network


def _public_addresses(network: _Network) -> int:
    return 0 if network.is_private else network.num_addresses


def _inside(network: _Network, holes: Iterable[_Network]) -> Iterator[_Network]:
    """Those of `holes` that lie in `network`, no address twice."""
    if isinstance(network, IPv4Network):
        return collapse_addresses(
            hole for hole in holes if isinstance(hole, IPv4Network) and hole.subnet_of(network)
        )
    return collapse_addresses(
        hole for hole in holes if isinstance(hole, IPv6Network) and hole.subnet_of(network)
    )
