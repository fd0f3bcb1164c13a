"""The name server of the cluster: A records of Services, over UDP (RFC 1035).

/etc/hosts would not be enough: gRPC queries the name server in /etc/resolv.conf.
"""

import socket
import struct
import threading
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Self

_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_ANSWER = struct.Struct("!HHHIH4s")
_A, _IN, _NO_SUCH_NAME = 1, 1, 3
# The flags of an authoritative response, and a pointer to the name in the question, which follows
# the header.
_ANSWERED, _SAME_NAME = 0x8580, 0xC00C
_TTL = 5


class NameServer:
    """A name server at `address`.

    `records` maps names without the last dot to IPv4 addresses; it may change at any time.
    """

    def __init__(self, address: str) -> None:
        self.records: dict[str, str] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._socket.settimeout(0.2)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                message, sender = self._socket.recvfrom(1500)
                self._socket.sendto(answer(message, self.records), sender)


def answer(message: bytes, records: dict[str, str]) -> bytes:
    """The response to a query with one question."""
    number, *_ = _HEADER.unpack_from(message)
    name, end = _name(message)
    kind, _ = _QUESTION.unpack_from(message, end)
    address = records.get(name)
    record = b""
    if address and kind == _A:
        packed = IPv4Address(address).packed
        record = _ANSWER.pack(_SAME_NAME, _A, _IN, _TTL, 4, packed)
    code = _ANSWERED | (0 if address else _NO_SUCH_NAME)
    header = _HEADER.pack(number, code, 1, 1 if record else 0, 0, 0)
    return header + message[_HEADER.size : end + _QUESTION.size] + record


def _name(message: bytes) -> tuple[str, int]:
    """The name in the question, in lower case, and the position after it."""
    labels, place = [], _HEADER.size
    while length := message[place]:
        labels.append(message[place + 1 : place + 1 + length].decode("ascii").lower())
        place += 1 + length
    return ".".join(labels), place + 1
