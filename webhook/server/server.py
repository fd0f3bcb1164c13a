"""A server: its dependencies, its three listeners, and the tasks that run beside them."""

import asyncio
import os
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from webhook.ca.serving_certificate import ServingCertificate
from webhook.isolation.assembly import IsolationAdapters
from webhook.metrics.registry import LabeledCollector, Metrics
from webhook.ports import (
    ClientRequests,
    LiveObjects,
    NamespaceStates,
    SeedStore,
    WebhookConfigurations,
)
from webhook.server.listener import Listener, listener, open_port, serve
from webhook.server.readiness import Readiness
from webhook.settings import Settings, SetupError

# A pod connects, enrolls and goes: its idle connection is of no further use.
_KEEP_ALIVE_SECONDS = {"enrollment": 5}

Task = Callable[[], Coroutine[Any, Any, None]]
RunCaches = Callable[[Callable[[str], None], Sequence[Task]], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Dependencies:
    """The adapters that a server uses.

    `client_requests` is None if RayWarden issues no certificates to people.
    `isolation` is None if the server writes no NetworkPolicies.
    `run_caches` fills RayWarden's caches and keeps them up to date while it runs, beside tasks that
    use the same connection. It gives the name of each resource that has been listed.
    `cached_resources` names the resources that it must list before the server is ready, and
    `up_to_date` says which caches are up to date.
    """

    live: LiveObjects
    namespace_states: NamespaceStates
    seeds: SeedStore
    configurations: WebhookConfigurations | None = None
    client_requests: ClientRequests | None = None
    isolation: IsolationAdapters | None = None
    run_caches: RunCaches | None = None
    cached_resources: tuple[str, ...] = ()
    up_to_date: Callable[[], Mapping[str, bool]] = dict
    collectors: tuple[LabeledCollector, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """Everything that serves, assembled but not started."""

    admission: Listener
    enrollment: Listener
    operations: Listener
    readiness: Readiness
    settings: Settings
    certificate: ServingCertificate
    metrics: Metrics
    tasks: tuple[Task, ...]

    @property
    def ca(self) -> bytes:
        """The CA that clients must trust (PEM); known once the server is ready."""
        return self.certificate.ca

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, or SIGTERM or SIGINT sets it."""
        listeners = (self.admission, self.enrollment, self.operations)
        await serve(listeners, self.tasks, self.readiness, self.settings, stop)


def open_listener(
    name: str, app: FastAPI, settings: Settings, context: ssl.SSLContext, metrics: Metrics
) -> Listener:
    """A listener for `app` on the port that the settings give it; counts its connections.

    `name` is "admission", "enrollment" or "operations"; all but the last use TLS. Raises SetupError
    if the port cannot be opened.
    """
    port: int = getattr(settings, f"{name}_port")
    try:
        socket = open_port(settings.host, port)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise SetupError(
            f"port {port} cannot be opened ({reason}): "
            f"set RAYWARDEN_{name.upper()}_PORT to another port"
        ) from None
    tls = None if name == "operations" else context
    opened = listener(app, socket, settings, tls, keep_alive=_KEEP_ALIVE_SECONDS.get(name))
    metrics.connections.labels(name).set_function(lambda: opened.connections)
    return opened
