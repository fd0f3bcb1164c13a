"""Dials a port as gRPC or as a browser would, and says what was heard; every dial ends within three seconds."""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

_SECONDS = 3.0
# RFC 9113 3.4: the client's preface, and its SETTINGS frame, which may be empty.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_HEADER_BYTES, _TYPE, _SETTINGS = 9, 3, 4
_MOST_FRAME_BYTES = 16_384
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r\n]")
_MOST_BYTES = 4096


class Answer(StrEnum):
    """What a dial came to."""

    UNREACHABLE = "unreachable"
    SILENT = "it accepts connections, and says nothing"
    CLOSED = "it hangs up, without a word of TLS"
    REFUSED = "it speaks TLS, and does not let us in"
    UNTRUSTED = "it speaks TLS, with a certificate that is not to be trusted"
    HTTP2 = "it speaks HTTP/2 with us"
    HTTP = "it answers a request"
    OTHER = "it says something else"


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, more of it in words, and the status code of an HTTP one."""

    answer: Answer
    detail: str = ""
    code: int = 0


@dataclass(frozen=True, slots=True)
class Port:
    """Where to dial; `name` is the address its certificate must hold, also where it is reached by another."""

    address: str
    number: int
    name: str = ""

    def __str__(self) -> str:
        return (
            f"[{self.address}]:{self.number}"
            if ":" in self.address
            else f"{self.address}:{self.number}"
        )


_Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Heard]]


async def greet(port: Port, context: ssl.SSLContext | None, seconds: float = _SECONDS) -> Heard:
    """What a gRPC server says to a client that begins; without `context` in plaintext."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Heard:
        if context and (problem := await _encrypt(writer, context, port.name or port.address)):
            return problem
        try:
            writer.write(_PREFACE)
            header = await reader.readexactly(_FRAME_HEADER_BYTES)
        # A TLS 1.3 server looks at the client's certificate after the handshake is done for the client.
        except (OSError, EOFError) as error:
            return Heard(Answer.REFUSED if context else Answer.CLOSED, _reason(error))
        settings = (
            header[_TYPE] == _SETTINGS and int.from_bytes(header[:_TYPE]) <= _MOST_FRAME_BYTES
        )
        return Heard(Answer.HTTP2 if settings else Answer.OTHER)

    return await _dial(port, talk, seconds)


async def get(port: Port, path: str, seconds: float = _SECONDS) -> Heard:
    """The status code of a plain `GET`, without any credentials."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Heard:
        request = f"GET {path} HTTP/1.1\r\nHost: {port}\r\nUser-Agent: raywarden\r\nConnection: close\r\n\r\n"
        try:
            writer.write(request.encode())
            said = await reader.read(_MOST_BYTES)
        except OSError as error:
            return Heard(Answer.CLOSED, _reason(error))
        found = _STATUS_LINE.match(said)
        if found:
            return Heard(Answer.HTTP, code=int(found[1]))
        return Heard(Answer.OTHER if said else Answer.CLOSED)

    return await _dial(port, talk, seconds)


async def _dial(port: Port, talk: _Talk, seconds: float) -> Heard:
    writer = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(port.address, port.number)
            return await talk(reader, writer)
    # Before OSError, which it is.
    except TimeoutError:
        if writer is None:
            return Heard(Answer.UNREACHABLE, f"no answer within {seconds:g} s")
        return Heard(Answer.SILENT, f"for {seconds:g} s")
    # UnicodeError is what a name is that DNS could not know.
    except (OSError, UnicodeError) as error:
        return Heard(Answer.UNREACHABLE, _reason(error))
    finally:
        if writer:
            # No farewell, and no waiting for the end: whoever says nothing would have us wait for theirs.
            writer.transport.abort()


async def _encrypt(
    writer: asyncio.StreamWriter, context: ssl.SSLContext, name: str
) -> Heard | None:
    """Begin to speak TLS; gives what was heard instead."""
    try:
        await writer.start_tls(context, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        return Heard(Answer.UNTRUSTED, error.verify_message)
    except ssl.SSLError as error:
        # Alerts are TLS's own words; all else was no TLS.
        return Heard(
            Answer.REFUSED if "ALERT" in (error.reason or "") else Answer.CLOSED, _reason(error)
        )
    except (OSError, EOFError) as error:
        return Heard(Answer.CLOSED, _reason(error))
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS failed").replace("_", " ").lower()
    if isinstance(error, socket.gaierror | UnicodeError):
        return "there is no such name"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return "no connection, or no longer"
