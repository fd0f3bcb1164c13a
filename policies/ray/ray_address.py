"""Programs that connect to a Ray cluster in other pods: RAY_ADDRESS as they set it.

Source: Ray 2.60 `ray.init` (`worker.py`) and `ray.util.client_connect`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items

VARIABLE = "RAY_ADDRESS"
_LISTS = ("containers", "initContainers")
# Ray Client (`ray://HOST:PORT`), or GCS (`HOST:PORT`). An address with another scheme is that of
# the dashboard, which has no TLS.
_ADDRESS = re.compile(r"\s*(?:ray://)?(\[[0-9a-fA-F:.]+\]|[\w.$()-]+):\d{1,5}/?\s*")
_IN_THE_POD = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0")
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class RayAddress:
    """A literal RAY_ADDRESS of a container that leads out of its pod.

    `pointer` is its place in the pod or template, `container` the raw container.
    """

    host: str
    pointer: Pointer
    container: Mapping[str, Any]

    @property
    def service(self) -> tuple[str, str]:
        """The Service that the host names, and its namespace; empty where it names none."""
        if _is_ip(self.host):
            return "", ""
        name, _, rest = self.host.removesuffix(".").partition(".")
        namespace, _, domain = rest.partition(".")
        return (name, namespace) if domain.partition(".")[0] in ("", "svc") else ("", "")

    @property
    def may_be_inside(self) -> bool:
        """False for a host name that no Service of this Kubernetes cluster has."""
        return bool(self.service[0]) or _is_ip(self.host)


def ray_addresses(pod: Mapping[str, Any]) -> Iterator[RayAddress]:
    """Where the containers of a pod or template connect to Ray; only literals count."""
    spec = as_dict(pod.get("spec"))
    for listed in _LISTS:
        for index, container in dict_items(spec.get(listed)):
            for number, entry in dict_items(container.get("env")):
                if entry.get("name") == VARIABLE:
                    host = _host_in(as_str(entry.get("value")))
                    if host:
                        place = Pointer(("spec", listed, index, "env", number))
                        yield RayAddress(host, place, container)


def _host_in(address: str) -> str:
    """The host of an address of Ray in another pod; empty for any other text."""
    match = _ADDRESS.fullmatch(address) if len(address) <= _LONGEST else None
    if match is None or match[1] in _IN_THE_POD:
        return ""
    return match[1]


def _is_ip(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
