"""The ports: opened, served, and drained before they close."""

import asyncio
import gc
import resource
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import nullcontext, suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from webhook.server.protocol import BoundedLoop, BoundedProtocol
from webhook.server.readiness import Readiness
from webhook.settings import Settings


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a server until it ends, with as many open files as the system allows.

    Each connection is an open file; the usual limit of 1024 is less than three ports may hold.
    """
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
    with asyncio.Runner(loop_factory=BoundedLoop) as runner:
        runner.run(main)


class Listener(uvicorn.Server):
    """One open port. It ignores signals: `serve` handles them for all listeners together."""

    def __init__(self, config: uvicorn.Config, port: socket.socket) -> None:
        super().__init__(config)
        self._socket = port
        self._stopped = asyncio.Event()
        self.port: int = port.getsockname()[1]

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self.server_state.connections)

    async def serve_until_exit(self) -> None:
        """Serve until `stop` is called, and then until open requests are answered."""
        await self.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Accept no more connections, and end once open requests are answered."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        """Wait for `stop`.

        uvicorn's own loop wakes up ten times a second to look at `should_exit` and to write a date
        that no answer contains: 30 times a second for three ports.
        """
        await self._stopped.wait()

    def close(self) -> None:
        """Close a port that was never served."""
        self._socket.close()

    def capture_signals(self) -> Any:
        return nullcontext()


def open_port(host: IPv4Address | IPv6Address, port: int) -> socket.socket:
    """Listen on a port; 0 chooses a free one. Raises OSError."""
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    # `::` also listens on IPv4, as `0.0.0.0` would.
    dual = family == socket.AF_INET6 and host.is_unspecified and socket.has_dualstack_ipv6()
    # The backlog holds connections that the event loop has not accepted yet: a rollout of a large
    # cluster connects thousands of pods at once.
    return socket.create_server((str(host), port), family=family, backlog=2048, dualstack_ipv6=dual)


def listener(
    app: FastAPI,
    port: socket.socket,
    settings: Settings,
    context: ssl.SSLContext | None = None,
    *,
    keep_alive: int | None = None,
) -> Listener:
    """A server for `app` on an open port, with TLS if `context` is given.

    `keep_alive` (seconds) replaces the setting of that name.
    """

    class Protocol(BoundedProtocol):
        wait_seconds = settings.wait_seconds
        max_connections = settings.max_connections
        max_connection_seconds = settings.max_connection_seconds

    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=keep_alive or settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        ssl_context_factory=(lambda _config, _default: context) if context else None,
    )
    return Listener(config, port)


def _settle_memory() -> None:
    """Exclude everything loaded so far from garbage collection, and collect less often.

    A review creates thousands of short-lived objects and no cycles. Full collections, which visit
    every loaded module, only made the slowest answers slower.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def serve(
    listeners: Iterable[Listener],
    tasks: Iterable[Callable[[], Awaitable[None]]],
    readiness: Readiness,
    settings: Settings,
    stop: asyncio.Event,
) -> None:
    """Serve every port, and run `tasks` beside them, until `stop` is set or one of them ends.

    Then become unready, wait `drain_seconds` for load balancers to notice, and answer open requests
    within `shutdown_seconds`. SIGTERM and SIGINT set `stop`; a second signal skips both waits.
    Raises the exception that a task ended with.
    """
    log = structlog.get_logger()
    listeners, hurry = tuple(listeners), asyncio.Event()
    _handle_signals(listeners, stop, hurry)
    servers = [asyncio.create_task(listener.serve_until_exit()) for listener in listeners]
    background = [asyncio.ensure_future(task()) for task in tasks]
    background.append(asyncio.ensure_future(_announce_ready(listeners, readiness)))
    stopped = asyncio.create_task(stop.wait())
    try:
        await _wait_started(listeners, servers)
        readiness.met("open ports")
        # If any listener or task ends, stop everything: a server that lacks one of them would look
        # healthy and answer wrongly.
        await asyncio.wait((stopped, *servers, *background), return_when=asyncio.FIRST_COMPLETED)
        readiness.drain()
        log.info("draining", seconds=settings.drain_seconds)
        with suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), settings.drain_seconds)
    finally:
        stopped.cancel()
        for listener in listeners:
            listener.stop()
        await asyncio.gather(*servers)
        failures = await _cancel(background)
        log.info("stopped")
    for failure in failures:
        raise failure


async def _cancel(tasks: Iterable[asyncio.Future[None]]) -> list[Exception]:
    """Cancel tasks, and wait for their end; returns the exceptions that they ended with."""
    tasks = tuple(tasks)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return [result for result in results if isinstance(result, Exception)]


async def _wait_started(
    listeners: Iterable[Listener], servers: Iterable[asyncio.Task[None]]
) -> None:
    """Wait until each listener accepts connections, or has ended."""
    for listener, server in zip(listeners, servers, strict=True):
        # uvicorn has no event for this.
        while not (listener.started or server.done()):
            await asyncio.sleep(0.01)


def _handle_signals(
    listeners: Iterable[Listener], stop: asyncio.Event, hurry: asyncio.Event
) -> None:
    def on_signal() -> None:
        if stop.is_set():
            hurry.set()
            for listener in listeners:
                listener.force_exit = True
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)


async def _announce_ready(listeners: Iterable[Listener], readiness: Readiness) -> None:
    """Log once that the server is ready."""
    await readiness.wait()
    _settle_memory()
    structlog.get_logger().info("ready", ports=[listener.port for listener in listeners])
    # A task that ends would stop the server.
    await asyncio.Event().wait()
