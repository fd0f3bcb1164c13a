"""Free ports for servers whose port must be known before they start."""

import os
import socket
from contextlib import suppress
from itertools import cycle

# Below the ports that the system assigns to clients (Linux: 32768 and up), because a client could
# take such a port before the server listens. Each test process has its own range.
_FIRST = 10_000 + os.getpid() % 200 * 100
_CANDIDATES = cycle(range(_FIRST, _FIRST + 100))


def free_port() -> int:
    """A port that is not in use, and that was not returned lately."""
    for port in _CANDIDATES:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("unreachable: the candidates never end")
