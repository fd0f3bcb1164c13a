"""How many public addresses networks contain."""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

# Parsing a CIDR takes microseconds, and a request has milliseconds. No real list is this long.
_MOST_RANGES = 1000
# How many public addresses source ranges may contain and still count as a restriction, by IP
# version: an IPv4 /8, an IPv6 /32.
_MOST_ADDRESSES = {4: 2**24, 6: 2**96}
# IPv4 addresses written as IPv6: mapped (RFC 4291) and translated (RFC 6052).
_IPV4_IN_IPV6 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))

_Network = IPv4Network | IPv6Network


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
