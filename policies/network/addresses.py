"""How many public addresses networks contain."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

# Parsing a CIDR takes microseconds, and a request has milliseconds. No real list is this long.
MAX_RANGES = 1000
# How many public addresses may be let in and still count as a restriction, by IP version.
# An IPv4 /15: room for the /16 of a university, or for Google's load balancers and health checks
# (35.191.0.0/16 and 130.211.0.0/22), beside the addresses of offices and VPNs. An IPv6 /40: the
# registries give a site a /48 and a company of up to 192 sites a /40 (ARIN NRPM 6.5.8); an
# Internet provider with all of its customers has a /32.
_MAX_IPV4 = 2**17
_MAX_IPV6 = 2**88
# Networks that are not routed on the Internet (RFC 6890 and the IANA special-purpose registries).
# 100.64.0.0/10 is what clouds and VPNs use behind NAT; 198.18.0.0/15 and 240.0.0.0/4 serve as pod
# networks. 6to4 (2002::/16) and Teredo (2001::/32) are missing here: anyone can have an address
# in them. So is 64:ff9b:1::/48, where networks translate addresses of the IPv4 Internet.
PRIVATE = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "100::/64",
    "2001:db8::/32",
    "3fff::/20",
    "fc00::/7",
    "fe80::/10",
)
# IPv4 addresses written as IPv6: mapped (RFC 4291) and translated (RFC 6052).
MAPPED = IPv6Network("::ffff:0:0/96")
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/96"))
# What contains both prefixes for translated addresses: 64:ff9b::/96 and 64:ff9b:1::/48 (RFC 8215).
_TRANSLATION = IPv6Network("64:ff9b::/47")

_MAPPED_SPAN = (int(MAPPED.network_address), int(MAPPED.broadcast_address) + 1)
_TRANSLATION_SPAN = (int(_TRANSLATION.network_address), int(_TRANSLATION.broadcast_address) + 1)

# The first address of a span of addresses, and the one after its last. IPv4 addresses stand on the
# same line of numbers as IPv6 addresses, at their mapped places.
_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PublicAddresses:
    """The public addresses of some networks, each once: spans in order that do not overlap."""

    spans: tuple[_Span, ...] = ()

    @classmethod
    def of(cls, blocks: Iterable[tuple[str, Sequence[str]]]) -> "PublicAddresses | None":
        """The public addresses of ranges (CIDRs), each without its exceptions (also CIDRs).

        None if a CIDR cannot be parsed, or if there are more than 1000 ranges and exceptions, which
        are not read.
        """
        count, public = 0, list[_Span]()
        try:
            for block, exceptions in blocks:
                count += 1 + len(exceptions)
                if count > MAX_RANGES:
                    return None
                for span in _spans(block):
                    public += _without(span, _excluded(span, exceptions))
        except ValueError:
            return None
        return cls(tuple(_merged(public)))

    @classmethod
    def union(cls, parts: Iterable["PublicAddresses"]) -> "PublicAddresses":
        """The addresses of all `parts` together."""
        return cls(tuple(_merged(span for part in parts for span in part.spans)))

    @property
    def are_few(self) -> bool:
        """True if there are so few of them that letting them in is still a restriction."""
        ipv4 = ipv6 = 0
        first, after = _MAPPED_SPAN
        for begin, end in self.spans:
            mapped = max(0, min(end, after) - max(begin, first))
            ipv4 += mapped
            ipv6 += end - begin - mapped
        return ipv4 <= _MAX_IPV4 and ipv6 <= _MAX_IPV6


def has_few_addresses(ranges: Iterable[str]) -> bool:
    """True if there are ranges (CIDRs), and together they contain few public addresses.

    False if any of them cannot be parsed, and for more than 1000, which are not read.
    """
    blocks: list[tuple[str, Sequence[str]]] = [(block, ()) for block in ranges]
    public = PublicAddresses.of(blocks)
    return bool(blocks) and public is not None and public.are_few


def _spans(cidr: str) -> Iterator[_Span]:
    """The addresses of a network, also those that it stands for."""
    span = _span(cidr)
    yield span
    first, after = _TRANSLATION_SPAN
    # Each network chooses how it writes IPv4 addresses there, so a part of it can hold all of them.
    if max(span[0], first) < min(span[1], after):
        yield _MAPPED_SPAN


def _span(cidr: str) -> _Span:
    """The addresses of a network; raises ValueError if `cidr` is not a CIDR."""
    network = ip_network(cidr.strip(), strict=False)
    first = int(network.network_address)
    if isinstance(network, IPv4Network):
        first += _MAPPED_SPAN[0]
    elif any(map(network.subnet_of, _TRANSLATED)):
        first = _MAPPED_SPAN[0] + first % 2**32
    return first, first + network.num_addresses


def _excluded(span: _Span, exceptions: Iterable[str]) -> Iterable[_Span]:
    """What does not count of a network: private networks, and exceptions that lie inside it."""
    inside = [
        exception
        for exception in map(_span, exceptions)
        if span[0] <= exception[0] and exception[1] <= span[1]
    ]
    return _merged([*_PRIVATE_SPANS, *inside]) if inside else _PRIVATE_SPANS


def _merged(spans: Iterable[_Span]) -> Iterator[_Span]:
    """The same addresses in as few spans as possible, in order."""
    begin = end = -1
    for first, after in sorted(spans):
        if first > end:
            if begin >= 0:
                yield begin, end
            begin, end = first, after
        end = max(end, after)
    if begin >= 0:
        yield begin, end


def _without(span: _Span, excluded: Iterable[_Span]) -> Iterator[_Span]:
    """The parts of a span that lie outside `excluded`, which is in order and does not overlap."""
    begin, end = span
    for first, after in excluded:
        if first >= end:
            break
        if after <= begin:
            continue
        if first > begin:
            yield begin, first
        begin = after
    if begin < end:
        yield begin, end


_PRIVATE_SPANS = tuple(_merged(map(_span, PRIVATE)))
