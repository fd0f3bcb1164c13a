"""One HTTPS request on a connection of its own.

`http.client` could send it, but the mail parser that it imports for headers takes longer than the
request. HTTP/1.0 keeps the response simple: one body, up to its length or the end.
"""

import socket
import ssl
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

# Far above real sizes: a wrong server must not fill the init container's memory.
_MAX_LINE_BYTES, _MAX_HEADERS = 8 * 1024, 100
_MAX_BODY_BYTES = 1024 * 1024


class NotHttpError(Exception):
    """The server did not answer with HTTP."""


class Response(NamedTuple):
    """An HTTP response; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def post(
    address: tuple[str, int],
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    context: ssl.SSLContext,
    timeout: float,
) -> Response:
    """Send a POST to `address` (host, port); returns the response.

    `timeout` is in seconds, for each time that it waits. It uses no proxy, on purpose: the author
    of the pod controls its environment, and a proxy named there would receive the connection.
    Raises OSError and NotHttpError.
    """
    host, port = address
    name = f"[{host}]" if ":" in host else host
    lines = [f"POST {target} HTTP/1.0", f"Host: {name}:{port}", f"Content-Length: {len(body)}"]
    lines += [f"{header}: {value}" for header, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    # For a name that is text, Python would import tables of Unicode. It is ASCII, as the head is.
    encoded = host.encode("ascii")
    place: tuple[Any, int] = (encoded, port)
    plain = socket.create_connection(place, timeout)
    with plain, context.wrap_socket(plain, server_hostname=encoded) as connection:
        connection.sendall(head + body)
        with connection.makefile("rb") as stream:
            return _response(stream)


def _response(stream: BinaryIO) -> Response:
    version, _, rest = _line(stream).partition(" ")
    status = rest.partition(" ")[0]
    if not version.startswith("HTTP/1.") or len(status) != 3 or not _is_number(status):
        raise NotHttpError
    headers: dict[str, str] = {}
    for _ in range(_MAX_HEADERS):
        line = _line(stream)
        if not line:
            size = headers.get("content-length", "")
            wanted = min(int(size[:9]), _MAX_BODY_BYTES) if _is_number(size) else _MAX_BODY_BYTES
            return Response(int(status), headers, stream.read(wanted))
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    raise NotHttpError


def _line(stream: BinaryIO) -> str:
    line = stream.readline(_MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise NotHttpError
    return line.decode("latin-1").rstrip("\r\n")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
