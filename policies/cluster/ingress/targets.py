"""The Services that the value of an annotation leads to.

Sources: kubernetes/ingress-nginx 1.15.0, `internal/ingress/annotations/mirror`;
kubernetes-sigs/aws-load-balancer-controller 3.5.0, `pkg/ingress/enhanced_backend_builder.go`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from policies.cluster.ingress.nginx import authority_of

# A forward action of AWS has at most 5 target groups.
_MAX_TARGETS = 16
# What `strconv.Atoi` reads as the number of a port.
_NUMBER = re.compile(r"\+?[0-9]{1,9}")
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9][a-z0-9.-]{0,252})(?::([0-9]{1,5}))?")
_SCHEMES = {"http": 80, "https": 443}


class UnreadableTarget(Exception):
    """The controller can follow the value, but it cannot be known here where to."""


@dataclass(frozen=True, slots=True)
class NamedService:
    """A Service; `namespace` is empty for that of the Ingress."""

    namespace: str
    service: str
    port: int | str | None


def mirror_target(url: str) -> NamedService | None:
    """The Service that ingress-nginx sends a copy of each request to.

    None if there is none, or if it is an address outside the cluster. Raises UnreadableTarget for
    an address inside, and for a host that the caller can choose by a variable.
    """
    # Host names, schemes and the names of variables have no case to nginx.
    text = url.strip().lower()
    if not text:
        return None
    default_port = _SCHEMES.get(text.partition("://")[0])
    match = _HOST.fullmatch(authority_of(text))
    if default_port is None or match is None:
        raise UnreadableTarget
    host = match[1].strip("[]").rstrip(".")
    if _is_outside(host):
        return None
    service, _, rest = host.partition(".")
    return NamedService(rest.partition(".")[0], service, int(match[2] or default_port))


def _is_outside(host: str) -> bool:
    """It is an IP address outside the cluster; false for a name."""
    try:
        address = ip_address(host)
    except ValueError:
        # The system reads names that end in a number as addresses too, such as 167772167.
        if host.rpartition(".")[2].isdigit() or host.rpartition(".")[2].startswith("0x"):
            raise UnreadableTarget from None
        return False
    # Pods often have global IPv6 addresses.
    if address.version == 6 or not address.is_global:
        raise UnreadableTarget
    return True


def forward_targets(action: str) -> Iterator[NamedService]:
    """The Services and ports in an action of the ALB controller, which is JSON.

    Go decodes escapes, accepts names of fields in any case, and merges a field that is repeated.
    So every Service is combined with every port. The controller refuses what is not JSON.
    Raises UnreadableTarget for JSON that is too deep, or has more Services or ports than an action.
    """
    services: dict[str, None] = {}
    ports: dict[int | str, None] = {}
    for name, value in _texts(action):
        if name == "servicename":
            services[value] = None
        elif name == "serviceport":
            ports[int(value) if _NUMBER.fullmatch(value) else value] = None
    if max(len(services), len(ports)) > _MAX_TARGETS:
        raise UnreadableTarget
    for service in services:
        for port in ports or (None,):
            yield NamedService("", service, port)


def _texts(text: str) -> list[tuple[str, str]]:
    """The fields of all objects in a JSON text that are strings or numbers, without case.

    Empty for what is not JSON. Raises UnreadableTarget for what is too deep.
    """
    fields: list[tuple[str, str]] = []

    def collect(pairs: list[tuple[str, Any]]) -> None:
        fields.extend((name.casefold(), value) for name, value in pairs if isinstance(value, str))

    try:
        # Numbers stay text: Python refuses very long ones, and Go skips them in unknown fields.
        json.loads(text, object_pairs_hook=collect, parse_int=str, parse_float=str)
    except RecursionError as error:
        raise UnreadableTarget from error
    except ValueError:
        return []
    return fields
