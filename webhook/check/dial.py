"""Dials a port like a gRPC client or a browser; every dial ends within three seconds."""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")

# A server in the same network answers within milliseconds. A probe dials many ports, so it must not
# wait much longer for a server that hangs.
_TIMEOUT_SECONDS = 3.0
# RFC 9113 3.4: the client's preface, then its SETTINGS frame, which may be empty.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
# RFC 9113 4.1: a frame begins with its length (3 bytes) and its type (1 byte).
_FRAME_HEADER_BYTES, _TYPE, _SETTINGS = 9, 3, 4
# RFC 9113 4.2: no server may send a longer frame before the client allows it.
_MAX_FRAME_BYTES = 16_384
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r\n]")
# Only the status line matters. An attacker must not make the command read more.
_MAX_RESPONSE_BYTES = 4096
_ANY_PORT = 9


class Answer(StrEnum):
    """The outcome of a dial."""

    UNREACHABLE = "it cannot be reached"
    CONNECTED = "it accepts the connection"
    SILENT = "it accepts the connection, but sends nothing"
    CLOSED = "it closes the connection without a TLS answer"
    REFUSED = "it speaks TLS, but rejects the client"
    UNTRUSTED = "it speaks TLS, but its certificate cannot be trusted"
    HTTP2 = "it speaks HTTP/2 with the client"
    HTTP = "it answers the HTTP request"
    OTHER = "it answers with another protocol"


@dataclass(frozen=True, slots=True)
class DialResult:
    """The outcome of a dial, details in words, and the status code if the answer is HTTP.

    `is_refused`: the host answered that nothing listens on the port.
    """

    answer: Answer
    detail: str = ""
    code: int = 0
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """Where to dial.

    `name` is the address that the server's certificate must contain. It differs from `address`
    behind `kubectl port-forward`.
    """

    address: str
    number: int
    name: str = ""

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.number}"


_Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[DialResult]]


async def dial_grpc(
    port: Port, context: ssl.SSLContext | None, seconds: float = _TIMEOUT_SECONDS
) -> DialResult:
    """How a gRPC server answers a client that opens HTTP/2; in plaintext without `context`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> DialResult:
        if context:
            failure = await _start_tls(writer, context, port.name or port.address)
            if failure:
                return failure
        try:
            writer.write(_PREFACE)
            header = await reader.readexactly(_FRAME_HEADER_BYTES)
        # A TLS 1.3 server verifies the client certificate after the client's side of the handshake
        # is done, so a rejection arrives only here.
        except (OSError, EOFError) as error:
            answer = Answer.REFUSED if context else Answer.CLOSED
            return DialResult(answer, _reason(error))
        length = int.from_bytes(header[:_TYPE])
        if header[_TYPE] == _SETTINGS and length <= _MAX_FRAME_BYTES:
            return DialResult(Answer.HTTP2)
        return DialResult(Answer.OTHER)

    return await _dial(port, talk, seconds)


async def dial_http(
    port: Port,
    path: str,
    context: ssl.SSLContext | None = None,
    seconds: float = _TIMEOUT_SECONDS,
) -> DialResult:
    """The status code of a `GET` without credentials; in plaintext without `context`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> DialResult:
        if context:
            failure = await _start_tls(writer, context, port.name or port.address)
            if failure:
                return failure
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {port}\r\nUser-Agent: raywarden\r\n"
            "Connection: close\r\n\r\n"
        )
        try:
            writer.write(request.encode())
            response = await reader.read(_MAX_RESPONSE_BYTES)
        except OSError as error:
            return DialResult(Answer.CLOSED, _reason(error))
        status = _STATUS_LINE.match(response)
        if status:
            return DialResult(Answer.HTTP, code=int(status[1]))
        return DialResult(Answer.OTHER if response else Answer.CLOSED)

    return await _dial(port, talk, seconds)


async def dial_tcp(port: Port, seconds: float = _TIMEOUT_SECONDS) -> DialResult:
    """Whether a port accepts a connection."""

    async def talk(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> DialResult:
        return DialResult(Answer.CONNECTED)

    return await _dial(port, talk, seconds)


def local_address(remote: str) -> str:
    """The address from which this process connects to `remote`; empty if there is no route."""
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    # A datagram socket sends nothing when it connects: the kernel only chooses a route.
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, _ANY_PORT))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


async def within(limit: asyncio.Semaphore, dial: Awaitable[T]) -> T:
    """The result of a dial that waits for its turn."""
    async with limit:
        return await dial


async def _dial(port: Port, talk: _Talk, seconds: float) -> DialResult:
    writer = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(port.address, port.number)
            return await talk(reader, writer)
    # TimeoutError is a subclass of OSError, so it must come first.
    except TimeoutError:
        if writer is None:
            return DialResult(Answer.UNREACHABLE, f"no answer within {seconds:g} s")
        return DialResult(Answer.SILENT, f"for {seconds:g} s")
    # UnicodeError: the name is not a valid DNS name.
    except (OSError, UnicodeError) as error:
        is_refused = isinstance(error, ConnectionRefusedError)
        return DialResult(Answer.UNREACHABLE, _reason(error), is_refused=is_refused)
    finally:
        if writer:
            # Abort instead of closing: a silent server would never confirm the end of TLS.
            writer.transport.abort()


async def _start_tls(
    writer: asyncio.StreamWriter, context: ssl.SSLContext, name: str
) -> DialResult | None:
    """Start TLS; returns None on success, else what happened."""
    try:
        await writer.start_tls(context, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        return DialResult(Answer.UNTRUSTED, error.verify_message)
    except ssl.SSLError as error:
        # Only a TLS server sends alerts. After any other failure the peer may not speak TLS at all.
        is_alert = "ALERT" in (error.reason or "")
        return DialResult(Answer.REFUSED if is_alert else Answer.CLOSED, _reason(error))
    except (OSError, EOFError) as error:
        return DialResult(Answer.CLOSED, _reason(error))
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS failed").replace("_", " ").lower()
    if isinstance(error, socket.gaierror | UnicodeError):
        return "the name does not exist"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return "the connection ended"
