"""Ports for servers that are told beforehand where to listen."""

import os
import socket
from contextlib import suppress
from itertools import cycle

# Below those the system gives to clients (Linux: 32768 and up), of which one could be in the way by the time the server
# listens; and away from those of test processes beside this one.
_FIRST = 10_000 + os.getpid() % 200 * 100
_CANDIDATES = cycle(range(_FIRST, _FIRST + 100))


def free_port() -> int:
    """A port nobody listens on; not one of those given last."""
    for port in _CANDIDATES:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("a cycle does not end")
