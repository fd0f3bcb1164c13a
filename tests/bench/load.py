"""A client that sends requests to a server as fast as it can."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from tests.support.live_server import RunningServer


@dataclass(frozen=True)
class Run:
    """The result of a run: its duration in seconds, that of each request, and the last response."""

    seconds: float
    took: Sequence[float]
    last: bytes

    @property
    def rate(self) -> float:
        return len(self.took) / self.seconds


def rounds(runs: Sequence[Run]) -> tuple[list[float], list[float], list[float]]:
    """Of each run its requests per second, and p50 and p99 of its requests in milliseconds."""
    percentiles = [statistics.quantiles(run.took, n=100) for run in runs]
    return (
        [run.rate for run in runs],
        [values[49] * 1e3 for values in percentiles],
        [values[98] * 1e3 for values in percentiles],
    )


def cpu_seconds(process: int) -> float:
    """The CPU time of a process and all its threads so far."""
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """An HTTP/1.1 POST of JSON."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def over_kept_connections(
    server: RunningServer, port: int, requests: Iterator[bytes], at_once: int, count: int
) -> Run:
    """Send `count` requests over `at_once` connections; each sends again after its response."""

    async def main() -> Run:
        return await _kept(
            server, port, [_Caller(requests, count // at_once) for _ in range(at_once)]
        )

    return uvloop.run(main())


def paced(
    server: RunningServer, port: int, requests: Iterator[bytes], pause: float, count: int
) -> Run:
    """Send `count` requests over one connection, with `pause` seconds after each response."""

    async def main() -> Run:
        return await _kept(server, port, [_Caller(requests, count, pause)])

    return uvloop.run(main())


async def _kept(server: RunningServer, port: int, callers: Sequence["_Caller"]) -> Run:
    for caller in callers:
        caller.reconnect = partial(_connect, server, port, caller)
        await caller.reconnect()
    started = time.perf_counter()
    for caller in callers:
        caller.begin()
    await asyncio.gather(*(caller.done for caller in callers))
    return _run(started, callers)


def over_new_connections(
    server: RunningServer, port: int, requests: Iterator[bytes], at_once: int, count: int
) -> Run:
    """Send `count` requests, `at_once` at a time, each on a new connection with a TLS handshake."""

    async def main() -> Run:
        slots = asyncio.Semaphore(at_once)
        callers = [_Caller(requests, 1) for _ in range(count)]

        async def call(caller: _Caller) -> None:
            async with slots:
                caller.sent = time.perf_counter()
                await _connect(server, port, caller)
                caller.send()
                await caller.done

        started = time.perf_counter()
        await asyncio.gather(*map(call, callers))
        return _run(started, callers)

    return uvloop.run(main())


def _run(started: float, callers: Sequence["_Caller"]) -> Run:
    seconds = time.perf_counter() - started
    return Run(seconds, [took for caller in callers for took in caller.took], callers[-1].answer)


async def _connect(server: RunningServer, port: int, caller: "_Caller") -> None:
    await asyncio.get_running_loop().create_connection(
        lambda: caller, "localhost", port, ssl=server.trust
    )


class _Caller(asyncio.Protocol):
    """A connection that sends the next request `pause` seconds after it has received a response."""

    def __init__(self, requests: Iterator[bytes], count: int, pause: float = 0) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.took: list[float] = []
        self.sent = 0.0
        self.answer = b""
        self._requests = requests
        self._left = count
        self._pause = pause
        self.reconnect: Callable[[], Awaitable[None]] | None = None
        self._is_announced = False
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop behave like those of asyncio, but do not derive from them.
        self._transport = cast(asyncio.WriteTransport, transport)

    def begin(self) -> None:
        self.sent = time.perf_counter()
        self.send()

    def send(self) -> None:
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        self.took.append(time.perf_counter() - self.sent)
        self._received, self.answer = b"", body
        self._left -= 1
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(AssertionError(head.decode()))
        elif self._left and b"\r\nconnection: close" in head.lower():
            # As Go's client does: the server closes old connections.
            self._is_announced = True
        elif self._left and self._pause:
            asyncio.get_running_loop().call_later(self._pause, self.begin)
        elif self._left:
            self.begin()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_announced and self.reconnect:
            self._is_announced = False
            self._again = asyncio.create_task(self._connect_again(self.reconnect))
        elif not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    async def _connect_again(self, reconnect: Callable[[], Awaitable[None]]) -> None:
        await reconnect()
        self.begin()


def _content_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
