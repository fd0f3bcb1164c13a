"""HTTP/1.1 from strangers: every wait for them ends, and nothing of theirs is kept that nobody asked for."""

import asyncio
from typing import Any

import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEADER_BYTES = 32 * 1024
_MAX_HEADERS = 100
# Both before and after HTTP: until then a connection is a socket that no limit of ours sees.
_TLS_SECONDS = 5.0
# For whom did not keep to the rules, time to read that.
_FAREWELL_SECONDS = 1.0


class _RefusedError(Exception):
    """Ends the parsing of what came; uvicorn answers 400 and hangs up."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a deadline and a size limit for the header of every request, and for unread answers.

    uvicorn starts its only timer when a response is complete, and any byte stops it: a client that connects and sends
    nothing, a header one byte at a time, or an empty line after an answer, would hold its connection for ever. Such a
    connection is aborted: a polite end of TLS would wait for the client once more. Requests sent before the last one is
    answered, and trailers, are refused: uvicorn keeps any number of both in memory, and nobody we serve sends them.
    """

    wait_seconds: float = 10.0
    most_connections: int = 1000

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn's own
        super().connection_made(transport)
        self._header_bytes = 0
        self._in_header = True
        self._asked = False
        self._reader: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._waiting_since = self.loop.time()
        self._wait()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        if self._reader:
            self._reader.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_header:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_header and self._header_bytes > _MAX_HEADER_BYTES:
            self.transport.abort()
        # It was no request, or the rest of one that is answered: uvicorn's timer is off, and no other is on.
        elif not self._in_header and self.cycle.response_complete and self._deadline is None:
            self._wait()

    def on_message_begin(self) -> None:
        if self._asked and not self.cycle.response_complete:
            raise _RefusedError("one request at a time")
        super().on_message_begin()
        if not self._in_header:
            self._in_header = True
            self._header_bytes = 0
            self._wait_no_more()
            self._wait()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_header:
            raise _RefusedError("no trailers")
        super().on_header(name, value)
        if len(self.headers) > _MAX_HEADERS:
            raise _RefusedError("too many headers")

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_header = False
        self._asked = True
        self._wait_no_more()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._waiting_since = self.loop.time()
        if self.transport.is_closing():
            self.loop.call_later(self.wait_seconds, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self.loop.call_later(_FAREWELL_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader = self.loop.call_later(self.wait_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reader:
            self._reader.cancel()

    def _make_room(self) -> None:
        """Where there are too many connections, end the one that has waited longest to be asked something.

        uvicorn's own limit counts them only once a header is complete, and then refuses whoever comes: idle strangers
        would keep the API server out.
        """
        if len(self.connections) > self.most_connections:
            waiting = [
                one for one in self.connections if isinstance(one, BoundedProtocol) and one.waits
            ]
            min(waiting, key=lambda one: one._waiting_since, default=self).transport.abort()

    @property
    def waits(self) -> bool:
        """Whether no request is being answered."""
        return self._in_header or self.cycle.response_complete

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.wait_seconds, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None


class BoundedLoop(uvloop.Loop):
    """An event loop that gives TLS handshakes five seconds instead of a minute; uvicorn has no setting for it."""

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        if options.get("ssl"):
            options |= {"ssl_handshake_timeout": _TLS_SECONDS, "ssl_shutdown_timeout": _TLS_SECONDS}
        return await super().create_server(*arguments, **options)
