"""Our own TLS and the listeners behind it: bounded in header size and time, drained before they end."""

import asyncio
import gc
import os
import secrets
import signal
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import structlog
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from certs.authority import Authority, derive
from certs.seed import SEED_BYTES, Generation
from webhook.app import Readiness
from webhook.settings import Settings

_CA_YEARS = timedelta(days=3650)
_LEAF_LIFETIME = timedelta(days=90)
# Clocks of pods and nodes differ; a certificate of this very second would be refused by some.
_BACKDATED = timedelta(hours=1)
_MAX_HEADER_BYTES = 64 * 1024


def new_generation(now: datetime) -> Generation:
    """A fresh seed generation from the operating system's randomness."""
    return Generation(now, secrets.token_bytes(SEED_BYTES))


def serving_authority(generation: Generation) -> Authority:
    """The CA behind our own ports: what webhook configurations carry as `caBundle` and pods trust for enrolment."""
    start = generation.activated - _BACKDATED
    return derive(generation, "serving", (), "RayWarden serving CA", start, start + _CA_YEARS)


def serving_context(authority: Authority, names: Iterable[str], now: datetime) -> ssl.SSLContext:
    """A TLS context with a leaf made here and now; its key is never in a file that has a name."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = secrets.randbits(152) | 1
    leaf = authority.issue(key.public_key(), map(_name, names), now - _BACKDATED, now + _LEAF_LIFETIME, serial)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with _in_memory(key_pem + leaf.public_bytes(Encoding.PEM) + authority.pem) as path:
        return tls_context(path, path)


def tls_context(cert_file: str, key_file: str) -> ssl.SSLContext:
    """TLS 1.2 and 1.3, HTTP/1.1 only: what the API server speaks to a service."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(cert_file, key_file)
    return context


def _name(name: str) -> str | IPv4Address | IPv6Address:
    try:
        return ip_address(name)
    except ValueError:
        return name


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """`content` as a path: OpenSSL's loader takes only files, and a key must not lie on a disk."""
    descriptor = os.memfd_create("raywarden", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a deadline and a size limit for the header of every request.

    uvicorn starts its only timer when a response is complete: a client that connects and sends nothing, or a header
    one byte at a time, would hold its connection for ever. Such a connection is aborted: a polite end of TLS would
    wait for the client once more.
    """

    header_timeout: float = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn's own
        super().connection_made(transport)
        self._header_bytes = 0
        self._in_header = True
        self._deadline = self.loop.call_later(self.header_timeout, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_header:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_header and self._header_bytes > _MAX_HEADER_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_header:
            self._in_header = True
            self._header_bytes = 0
            self._deadline = self.loop.call_later(self.header_timeout, self.transport.abort)

    def on_headers_complete(self) -> None:
        self._in_header = False
        self._deadline.cancel()
        super().on_headers_complete()


class Listener(uvicorn.Server):
    """One open port. Signals are left to `serve`, which has more than one of these to end."""

    def __init__(self, config: uvicorn.Config, port: socket.socket) -> None:
        super().__init__(config)
        self._socket = port
        self.port: int = port.getsockname()[1]

    async def run_until_told(self) -> None:
        """Serve until `should_exit` is set, and then until open requests are answered."""
        await self.serve(sockets=[self._socket])

    def capture_signals(self) -> Any:
        return nullcontext()


def open_port(host: IPv4Address | IPv6Address, port: int) -> socket.socket:
    """Listen on a port (0: any that is free); raises OSError."""
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    dual = family == socket.AF_INET6 and host.is_unspecified and socket.has_dualstack_ipv6()
    return socket.create_server((str(host), port), family=family, backlog=2048, dualstack_ipv6=dual)


def listener(app: FastAPI, port: socket.socket, settings: Settings, context: ssl.SSLContext | None = None) -> Listener:
    """A server for `app` on an open port, with TLS where a context is given."""

    class Protocol(BoundedProtocol):
        header_timeout = settings.header_timeout_seconds

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
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        limit_concurrency=settings.max_connections,
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


async def serve(listeners: Iterable[Listener], readiness: Readiness, settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop`: ready once every port listens; then unready, a pause for load balancers to notice, and the end.

    SIGTERM and SIGINT set `stop`. Open requests are answered within `shutdown_seconds`.
    """
    log = structlog.get_logger()
    listeners = tuple(listeners)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = [asyncio.create_task(one.run_until_told()) for one in listeners]
    stopped = asyncio.create_task(stop.wait())
    try:
        while not all(one.started or task.done() for one, task in zip(listeners, running, strict=True)):
            await asyncio.sleep(0.01)
        _settle_memory()
        readiness.set(True)
        log.info("ready", ports=[one.port for one in listeners])
        # A port that ends on its own takes the others along: half a server is none.
        await asyncio.wait((stopped, *running), return_when=asyncio.FIRST_COMPLETED)
        readiness.set(False)
        log.info("draining", seconds=settings.drain_seconds)
        await asyncio.sleep(settings.drain_seconds)
    finally:
        stopped.cancel()
        for one in listeners:
            one.should_exit = True
        await asyncio.gather(*running)
        log.info("stopped")
