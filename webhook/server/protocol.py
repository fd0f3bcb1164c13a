"""HTTP/1.1 from untrusted clients: every wait has a deadline, and memory per client is bounded.

Anyone who can connect to a port can send anything, before any authentication.
"""

import asyncio
import random
from typing import Any, cast

import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Room for the longest header of a real request, a bearer token of 16 KiB.
_MAX_HEADER_BYTES = 32 * 1024
# The API server and the init container send about ten.
_MAX_HEADERS = 100
# For the TLS handshake and the TLS shutdown: during both, BoundedProtocol does not see the
# connection, so none of its limits apply.
_TLS_SECONDS = 5.0
# Time for a client to read a 400 response before its connection is aborted.
_BAD_REQUEST_SECONDS = 1.0
# In the scope of a request: its whole body has arrived, so receiving it does not wait.
BODY_HAS_ARRIVED = "raywarden.body_has_arrived"
_INTERIM = b"HTTP/1.1 100 "


class _RefusedError(Exception):
    """Stops the parser; uvicorn then answers 400 and closes the connection."""


class _OneWrite:
    """Sends the head of a response together with its body.

    uvicorn writes them one after the other: with TLS these are two records, two system calls and
    often two wake-ups of the client.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head or data.startswith(_INTERIM):
            self._transport.write(self._head + data)
            self._head = b""
        else:
            self._head = data

    def flush(self) -> None:
        """Send a head that has no body."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self.flush()
        self._transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits for headers, unread answers and the number of connections.

    uvicorn starts its only timer when a response is complete, and any byte stops that timer. A
    client that connects and sends nothing, sends a header one byte at a time, or sends an empty
    line after an answer, would hold its connection forever. Such a connection is aborted; a clean
    TLS shutdown would wait for the client once more.

    A connection is closed after the first answer past its age: the API server keeps connections,
    and so it would never call a replica that was added after it connected.

    Pipelined requests and trailers are refused: uvicorn keeps any number of both in memory, and no
    client of RayWarden sends them.
    """

    wait_seconds: float = 10.0
    max_connections: int = 1000
    max_connection_seconds: float = 60.0

    def connection_made(  # type: ignore[override]  # as in uvicorn's own class
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._header_bytes = 0
        self._in_header = True
        self._has_request = False
        # Runs while the client does not read an answer.
        self._write_deadline: asyncio.TimerHandle | None = None
        # Runs while the client does not complete a header.
        self._header_deadline: asyncio.TimerHandle | None = None
        self._idle_since = self.loop.time()
        # Different for each connection: many that began together should not end together.
        self._old_at = self._idle_since + self.max_connection_seconds * random.uniform(0.5, 1)
        self._start_header_deadline()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_header_deadline()
        if self._write_deadline:
            self._write_deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_header:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_header and self._header_bytes > _MAX_HEADER_BYTES:
            self.transport.abort()
        # The data was not the start of a request: an empty line, or the rest of a request that is
        # answered already. It has stopped uvicorn's timer, so start ours.
        elif not self._in_header and self.cycle.response_complete and self._header_deadline is None:
            self._start_header_deadline()

    def on_message_begin(self) -> None:
        if self._has_request and not self.cycle.response_complete:
            raise _RefusedError("one request at a time")
        super().on_message_begin()
        if not self._in_header:
            self._in_header = True
            self._header_bytes = 0
            self._cancel_header_deadline()
            self._start_header_deadline()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_header:
            raise _RefusedError("no trailers")
        super().on_header(name, value)
        if len(self.headers) > _MAX_HEADERS:
            raise _RefusedError("too many headers")

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._response = _OneWrite(self.transport)
        self.cycle.transport = cast(asyncio.Transport, self._response)
        if self.loop.time() >= self._old_at:
            # uvicorn announces it in the answer, so no request is lost.
            self.cycle.keep_alive = False
        self._in_header = False
        self._has_request = True
        self._cancel_header_deadline()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        cast(dict[str, object], self.scope)[BODY_HAS_ARRIVED] = True

    def on_response_complete(self) -> None:
        self._response.flush()
        super().on_response_complete()
        self._idle_since = self.loop.time()
        if self.transport.is_closing():
            self.loop.call_later(self.wait_seconds, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self.loop.call_later(_BAD_REQUEST_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_deadline = self.loop.call_later(self.wait_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_deadline:
            self._write_deadline.cancel()

    def _make_room(self) -> None:
        """If there are too many connections, abort the one that has been idle longest.

        uvicorn's own limit counts a connection only once its header is complete, and then refuses
        the new one: idle clients would keep the API server out.
        """
        if len(self.connections) <= self.max_connections:
            return
        idle = [
            connection
            for connection in self.connections
            if isinstance(connection, BoundedProtocol) and connection.is_idle
        ]
        longest_idle = min(idle, key=lambda connection: connection._idle_since, default=self)
        longest_idle.transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self._in_header or self.cycle.response_complete

    def _start_header_deadline(self) -> None:
        self._header_deadline = self.loop.call_later(self.wait_seconds, self.transport.abort)

    def _cancel_header_deadline(self) -> None:
        if self._header_deadline:
            self._header_deadline.cancel()
            self._header_deadline = None


class BoundedLoop(uvloop.Loop):
    """An event loop with a shorter deadline for TLS handshakes; uvicorn has no setting for it.

    asyncio's default is a minute.
    """

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        if options.get("ssl"):
            options |= {"ssl_handshake_timeout": _TLS_SECONDS, "ssl_shutdown_timeout": _TLS_SECONDS}
        return await super().create_server(*arguments, **options)
