"""The ports: opened, served, drained before they end."""

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
    """Run a server until it ends, with as many open files as the system lets it have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=BoundedLoop) as runner:
        runner.run(main)


class Listener(uvicorn.Server):
    """One open port. Signals are left to `serve`, which has more than one of these to end."""

    def __init__(self, config: uvicorn.Config, port: socket.socket) -> None:
        super().__init__(config)
        self._socket = port
        self.port: int = port.getsockname()[1]

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.server_state.connections)

    async def run_until_told(self) -> None:
        """Serve until `should_exit` is set, and then until open requests are answered."""
        await self.serve(sockets=[self._socket])

    def close(self) -> None:
        """Give up a port that was never served."""
        self._socket.close()

    def capture_signals(self) -> Any:
        return nullcontext()


def open_port(host: IPv4Address | IPv6Address, port: int) -> socket.socket:
    """Listen on a port (0: any that is free); raises OSError."""
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    dual = family == socket.AF_INET6 and host.is_unspecified and socket.has_dualstack_ipv6()
    return socket.create_server((str(host), port), family=family, backlog=2048, dualstack_ipv6=dual)


def listener(
    app: FastAPI,
    port: socket.socket,
    settings: Settings,
    context: ssl.SSLContext | None = None,
    *,
    keep_alive: int | None = None,
) -> Listener:
    """A server for `app` on an open port, with TLS where a context is given; `keep_alive` in seconds."""

    class Protocol(BoundedProtocol):
        wait_seconds = settings.wait_seconds
        most_connections = settings.max_connections

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
    """Take what was loaded at start out of the garbage collector's sight, and let it look less often.

    A review makes thousands of short-lived objects and no cycles; full collections over all of Python's modules only
    stretched the slowest answers.
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
    """Run until `stop`: every port and, beside them, `tasks`; then unready, a pause for load balancers, and the end.

    SIGTERM and SIGINT set `stop`. Open requests are answered within `shutdown_seconds`; a second one waits for nobody.
    """
    log = structlog.get_logger()
    listeners, hurry = tuple(listeners), asyncio.Event()
    _listen_to_signals(listeners, stop, hurry)
    running = [asyncio.create_task(one.run_until_told()) for one in listeners]
    keeping = [asyncio.ensure_future(one()) for one in tasks]
    keeping.append(asyncio.ensure_future(_announce(listeners, readiness)))
    stopped = asyncio.create_task(stop.wait())
    try:
        while not all(
            one.started or task.done() for one, task in zip(listeners, running, strict=True)
        ):
            await asyncio.sleep(0.01)
        readiness.met("open ports")
        # A port, or what keeps it up to date, that ends on its own takes the others along: half a server is none.
        await asyncio.wait((stopped, *running, *keeping), return_when=asyncio.FIRST_COMPLETED)
        readiness.drain()
        log.info("draining", seconds=settings.drain_seconds)
        with suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), settings.drain_seconds)
    finally:
        stopped.cancel()
        for one in listeners:
            one.should_exit = True
        await asyncio.gather(*running)
        for keeper in keeping:
            keeper.cancel()
        ended = await asyncio.gather(*keeping, return_exceptions=True)
        log.info("stopped")
    for end in ended:
        if isinstance(end, Exception):
            raise end


def _listen_to_signals(
    listeners: Iterable[Listener], stop: asyncio.Event, hurry: asyncio.Event
) -> None:
    def told() -> None:
        if stop.is_set():
            hurry.set()
            for one in listeners:
                one.force_exit = True
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told)


async def _announce(listeners: Iterable[Listener], readiness: Readiness) -> None:
    """Say once that everything is in place."""
    await readiness.wait()
    _settle_memory()
    structlog.get_logger().info("ready", ports=[one.port for one in listeners])
    await asyncio.Event().wait()
