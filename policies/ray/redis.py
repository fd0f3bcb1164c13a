"""The Redis in which Ray keeps its state (GCS fault tolerance): where it is.

Source: Ray 2.60 `get_address`; KubeRay 1.7 `configureGCSFaultTolerance`.
"""

from collections.abc import Iterator

VARIABLE = "RAY_REDIS_ADDRESS"
OPTIONS = "gcsFaultToleranceOptions"
TLS, PLAIN = "rediss://", "redis://"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DEFAULT_PORT = 6379


def is_outside(address: str) -> bool:
    """True if there is an address, and one of its parts is not in the pod itself."""
    return bool(address) and any(True for _ in ports_outside(address))


def ports_outside(address: str) -> Iterator[int]:
    """The port of each part of an address that is not in the pod itself."""
    for part in address.split(",") if address else ():
        host, _, port = part.rpartition("://")[2].rpartition(":")
        if host.strip("[]") not in _LOOPBACK:
            yield int(port) if port.isdecimal() and len(port) < 6 else _DEFAULT_PORT
