"""How Ingress controllers, which are written in Go, read the values of annotations."""

import re
from collections.abc import Iterable

from policies.network.addresses import has_few_addresses

# What `strconv.ParseBool` accepts. It does not strip blanks.
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
# What `net.ParseIP` and `net.ParseCIDR` accept, as far as the characters show it. Python accepts
# more, such as netmasks (10.0.0.0/255.0.0.0) and zones (fe80::1%eth0).
_NETWORK = re.compile(r"[0-9a-fA-F.:]{2,45}(?:/[0-9]{1,3})?")


def parse_bool(value: str) -> bool | None:
    """The boolean that `strconv.ParseBool` reads; None if it returns an error."""
    return _BOOLEANS.get(value)


def split(value: str, separator: str = ",") -> list[str]:
    """The parts of a list, stripped, without the empty ones."""
    parts = (part.strip() for part in value.split(separator))
    return [part for part in parts if part]


def are_few_networks(networks: Iterable[str]) -> bool:
    """True if these are networks or addresses to Go, and few addresses in all."""
    known = list(networks)
    return all(map(_NETWORK.fullmatch, known)) and has_few_addresses(known)
