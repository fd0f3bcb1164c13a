"""Traffic that is let in or out by name: the entries of `allowFrom` and `egress`.

    NAMESPACE[/LABEL=VALUE,...][:PORT,...]   pods; `*` is every namespace, `.` the cluster's own
    ADDRESS[/BITS][:PORT,...]                addresses; IPv6 in brackets: `[fd00::/8]:8265`
    internet[:PORT,...], api-server, dns     for egress only

A port can be a range: `20000-20010`. Without ports, all are meant.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_network

from policies.network.addresses import MAPPED
from policies.network.ports import Ports, merged

# The names of what pods reach outside the pod network.
API_SERVER, DNS, INTERNET = "api-server", "dns", "internet"
_NAMED = frozenset({API_SERVER, DNS, INTERNET})
# A part of a DNS name, and what names and values of labels look like.
_DNS_PART = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL = re.compile(rf"((?:{_DNS_PART}(?:\.{_DNS_PART})*/)?{_WORD})=((?:{_WORD})?)")
_NAMESPACE = re.compile(rf"\*|\.|{_DNS_PART}")
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:./]+)\]|(?P<ipv4>[0-9]+\.[0-9./]+))(?P<rest>.*)")
# The namespaces that are not names: all of them, and the cluster's own.
_EVERYWHERE, _HERE = "*", "."
# As long as the policy file allows. It bounds the time that parsing takes.
_LONGEST = 300
# Of the part of a label's name before the slash.
_LONGEST_PREFIX = 253
_FORMS = "write NAMESPACE, NAMESPACE/LABEL=VALUE or CIDR, and :PORT,PORT after it"


class AllowanceError(ValueError):
    """The text is not an allowance; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Pods of a namespace, addresses, or something named; and the TCP ports, all if there are none.

    `text` is what was written. `namespace` is "*" for all and "." for the cluster's own.
    """

    text: str
    name: str = ""
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    cidr: str = ""
    ports: Ports = ()

    @classmethod
    def ingress(cls, text: str) -> "Allowance":
        """Who may connect; raises AllowanceError."""
        allowance = cls.egress(text)
        if allowance.name:
            raise AllowanceError(f"{allowance.name} is for egress only: {_FORMS}")
        return allowance

    @classmethod
    def egress(cls, text: str) -> "Allowance":
        """What may be reached; raises AllowanceError."""
        text = text.strip()
        if len(text) > _LONGEST:
            raise AllowanceError(f"longer than {_LONGEST} characters")
        address = _ADDRESS.fullmatch(text)
        if address:
            cidr = _cidr(address["ipv6"] or address["ipv4"])
            return cls(text, cidr=cidr, ports=_ports_after(address["rest"]))
        peer, colon, ports = text.partition(":")
        if peer in _NAMED:
            if colon and peer != INTERNET:
                raise AllowanceError(f"{peer} has ports of its own: write it without")
            return cls(text, name=peer, ports=_ports_after(f"{colon}{ports}"))
        namespace, slash, labels = peer.partition("/")
        if not _NAMESPACE.fullmatch(namespace):
            raise AllowanceError(f"{namespace!r} is not the name of a namespace: {_FORMS}")
        return cls(
            text,
            namespace=namespace,
            labels=_labels(labels) if slash else (),
            ports=_ports_after(f"{colon}{ports}"),
        )

    def is_in(self, namespace: str) -> bool:
        """True if pods of this namespace are meant, and the cluster is in it, too."""
        return self.namespace in (_HERE, namespace)

    def peer(self) -> Mapping[str, object]:
        """The entry of `from` or `to` for pods or addresses."""
        if self.cidr:
            return {"ipBlock": {"cidr": self.cidr}}
        pods = {"matchLabels": dict(self.labels)} if self.labels else {}
        if self.namespace == _HERE:
            return {"podSelector": pods}
        names = {"kubernetes.io/metadata.name": self.namespace}
        everywhere = self.namespace == _EVERYWHERE
        peer: dict[str, object] = {
            "namespaceSelector": {} if everywhere else {"matchLabels": names}
        }
        if pods:
            peer["podSelector"] = pods
        return peer


def _cidr(text: str) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise AllowanceError(f"{text!r} is not an address or a CIDR") from None
    # The API server refuses these.
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        raise AllowanceError(f"{text!r} is an IPv4 address: write it as one, without brackets")
    return str(network)


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    labels: dict[str, str] = {}
    for label in text.split(","):
        match = _LABEL.fullmatch(label)
        if not match or len(match[1].rpartition("/")[0]) > _LONGEST_PREFIX:
            raise AllowanceError(f"{label!r} is not a label: write NAME=VALUE")
        if match[1] in labels:
            raise AllowanceError(f"{match[1]} is there twice; no pod has two values of a label")
        labels[match[1]] = match[2]
    return tuple(labels.items())


def _ports_after(text: str) -> Ports:
    """The ports in `:8265,10001-10010`; none in an empty text."""
    if not text:
        return ()
    spans = []
    for part in text.removeprefix(":").split(","):
        match = _PORT.fullmatch(part)
        first = int(match[1]) if match else 0
        last = int(match[2] or match[1]) if match else 0
        if not text.startswith(":") or not 0 < first <= last < 65536:
            raise AllowanceError(f"{part!r} is not a port: write a number from 1 to 65535, or 1-9")
        spans.append(range(first, last + 1))
    return merged(spans)
