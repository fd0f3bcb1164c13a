"""Settings in, running objects out: the only place that picks adapters and reads the clock."""

import asyncio
import os
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from cryptography.x509 import random_serial_number
from fastapi import FastAPI

from certs.identity import Domains
from certs.profile import CertificateProfile
from certs.seed import SEED_BYTES
from policies.config import Policy
from policies.model import Signer
from webhook import __version__
from webhook.admission.reviewer import Reviewer
from webhook.ca.root_files import load_root
from webhook.ca.rotation import Rotation
from webhook.ca.seed_store import DirectorySeedStore, MemorySeedStore
from webhook.ca.serving_certificate import ServingCertificate, serving_certificate
from webhook.ca.trust import Trust
from webhook.check.collect import Inspection
from webhook.enrollment.signing import Signing
from webhook.kube.adapters import (
    KubeLive,
    KubeObjectLists,
    KubeSeedStore,
    KubeWebhookConfigurations,
)
from webhook.kube.api import KubeApi
from webhook.manifests import report
from webhook.manifests.cluster import ManifestCluster
from webhook.metrics.clock_skew import ClockSkew
from webhook.metrics.expiry import Lifetimes
from webhook.metrics.registry import CaCache, LookedUp, Metrics, Watches
from webhook.policy.file import parse_policy, read_policy
from webhook.policy.watch import PolicyMetrics, PolicyWatch
from webhook.ports import (
    LiveObjects,
    NamespaceStates,
    SeedStore,
    UnavailableError,
    WebhookConfigurations,
)
from webhook.server.listener import Listener, listener, open_port, serve
from webhook.server.observer import Observer
from webhook.server.readiness import Readiness
from webhook.server.reconciler import Reconciler
from webhook.server.routes import admission_app, enrollment_app, operations_app
from webhook.settings import Settings, SetupError

_DEV_NAMES = ("localhost", "127.0.0.1", "::1")
# Pods connect, enroll and go: an idle connection on that port is nobody's.
_KEEP_ALIVE_SECONDS = {"enrollment": 5}
# Stands where a real signer's CA would, in reviews that no pod will ever come of.
_NO_CA = b"-----BEGIN CERTIFICATE-----\n(the signer's CA)\n-----END CERTIFICATE-----\n"


@dataclass(frozen=True)
class Dependencies:
    """What the server stands in: the cluster, where the seed is, and what follows the cluster where that is needed.

    `remembered` names what `follow` has to list before anybody can be served, and `current` says whether it keeps up.
    """

    live: LiveObjects
    namespace_states: NamespaceStates
    seeds: SeedStore
    configurations: WebhookConfigurations | None = None
    follow: Callable[[Readiness], Awaitable[None]] | None = None
    remembered: tuple[str, ...] = ()
    current: Callable[[], Mapping[str, bool]] = dict
    collectors: tuple[LookedUp, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """Everything that serves, put together and not yet started."""

    admission: Listener
    enrollment: Listener
    operations: Listener
    readiness: Readiness
    settings: Settings
    certificate: ServingCertificate
    metrics: Metrics
    tasks: tuple[Callable[[], Awaitable[None]], ...]

    @property
    def ca(self) -> bytes:
        """What clients must trust (PEM); known from the time it is ready."""
        return self.certificate.ca

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, or SIGTERM or SIGINT sets it."""
        listeners = (self.admission, self.enrollment, self.operations)
        await serve(listeners, self.tasks, self.readiness, self.settings, stop)


def offline_reviewer(
    settings: Settings, policy: Policy, namespace_states: NamespaceStates
) -> Reviewer:
    """A reviewer that needs neither cluster nor keys, for the command line."""
    signer = _signer(settings, _NO_CA)
    return Reviewer(lambda: policy, lambda: signer, namespace_states, _today)


def policy_notes(policy: Policy) -> list[str]:
    """What whoever keeps the policy should hear of it today."""
    return report.policy_notes(policy, _today())


async def dev_server(
    settings: Settings,
    token_dir: Path | None = None,
    on_ca_change: Callable[[bytes], None] = lambda ca: None,
) -> Server:
    """A server that needs no cluster: seed in memory, serving certificate for localhost, on loopback, without drain.

    What the settings say themselves about host, drain and seed goes before. Each pod of the manifests gets a token,
    written below `token_dir`. `on_ca_change` gets the CA that clients must trust (PEM).
    """
    chosen = {name: getattr(settings, name) for name in settings.model_fields_set}
    defaults = {
        "host": IPv4Address("127.0.0.1"),
        "drain_seconds": 0,
        "serving_names": ",".join(_DEV_NAMES),
    }
    settings = settings.model_copy(update={**defaults, **chosen})
    cluster = ManifestCluster.load(
        settings.objects_file, token_dir, partial(secrets.token_urlsafe, 32)
    )
    seeds = DirectorySeedStore(settings.seed_dir) if settings.seed_dir else MemorySeedStore()
    structlog.get_logger().warning("development mode: manifests stand for the cluster")
    return _server(settings, Dependencies(cluster, cluster, seeds), on_ca_change)


async def server(
    settings: Settings, on_ca_change: Callable[[bytes], None] = lambda ca: None
) -> Server:
    """A server in a cluster, or beside one by kubeconfig. `on_ca_change` gets the CA that clients must trust (PEM)."""
    skew = ClockSkew(_now)
    api = await _connect(settings, skew.record_date)
    live = KubeLive(api)
    ours = bool(settings.webhook_configuration) and settings.tls_cert_file is None
    dependencies = Dependencies(
        live=live,
        namespace_states=live,
        seeds=_seeds(settings, api),
        configurations=KubeWebhookConfigurations(api, settings.webhook_configuration)
        if ours
        else None,
        follow=partial(_follow, api, live),
        remembered=live.resources,
        current=live.current,
        collectors=(skew,),
    )
    return _server(settings, dependencies, on_ca_change)


@asynccontextmanager
async def rotation(settings: Settings) -> AsyncIterator[Rotation]:
    """The seed of the cluster that the user's kubeconfig names, to look at and to rotate."""
    async with await _connect(settings) as api:
        configurations = KubeWebhookConfigurations(api, settings.webhook_configuration)
        objects = KubeObjectLists(api)
        yield Rotation(
            _seeds(settings, api), objects, configurations, _profile(settings), _now, _new_secret
        )


@asynccontextmanager
async def inspection(settings: Settings) -> AsyncIterator[Inspection]:
    """What can be asked of the cluster that the user's kubeconfig names, about the installation in it."""
    async with await _connect(settings) as api:
        yield Inspection(api, settings.namespace, _now)


async def _connect(
    settings: Settings, on_response_date: Callable[[str], None] = lambda date: None
) -> KubeApi:
    try:
        return await KubeApi.connect(settings.kubeconfig, on_response_date)
    except UnavailableError as error:
        raise SetupError(str(error)) from None


def _seeds(settings: Settings, api: KubeApi) -> SeedStore:
    return (
        DirectorySeedStore(settings.seed_dir)
        if settings.seed_dir
        else KubeSeedStore(api, settings.namespace)
    )


async def _follow(api: KubeApi, live: KubeLive, readiness: Readiness) -> None:
    """Keep up with the API server; what is in memory is complete once everything has been listed."""
    async with api, asyncio.TaskGroup() as group:
        group.create_task(live.run())
        await live.wait_synced(readiness.met)


def _server(
    settings: Settings, dependencies: Dependencies, on_ca_change: Callable[[bytes], None]
) -> Server:
    watch, profile = _policy_watch(settings.policy_file), _profile(settings)
    root = load_root(settings, _now())
    domains = Domains(
        watch.policy.inject.cluster_domain, settings.trust_domain, short_names=root is None
    )
    trust = Trust(root, domains, settings.ca_cache_size)
    certificate = serving_certificate(settings, trust, _now())
    lifetimes = Lifetimes(
        dependencies.live.ray_clusters, profile, root, lambda: certificate.ends, _now
    )
    watches = Watches(dependencies.remembered, dependencies.current)
    metrics = Metrics(
        CaCache(trust), lifetimes, PolicyMetrics(watch, _today), watches, *dependencies.collectors
    )
    observer = Observer(metrics, time.perf_counter)
    readiness = Readiness(lambda ready: metrics.ready.set(ready))
    signer = lru_cache(maxsize=4)(partial(_signer, settings))
    reviewer = Reviewer(
        lambda: watch.policy,
        lambda: signer(certificate.pod_ca(_now())),
        dependencies.namespace_states,
        _today,
    )
    reconciler = Reconciler(
        dependencies.seeds,
        trust,
        certificate,
        dependencies.configurations,
        readiness,
        observer,
        on_ca_change,
        _now,
        _new_secret,
    )
    tasks: list[Callable[[], Awaitable[None]]] = [
        partial(one.run, settings.resync_seconds) for one in (reconciler, watch)
    ]
    if dependencies.follow:
        readiness.expect(*dependencies.remembered)
        tasks.append(partial(dependencies.follow, readiness))
    signing = Signing(
        dependencies.live,
        lambda: trust.authorities,
        domains,
        profile,
        settings,
        _now,
        time.monotonic,
        random_serial_number,
    )
    admission = admission_app(reviewer, observer, readiness, settings)
    enrollment = enrollment_app(signing, observer, settings)
    operations = operations_app(readiness, observer)
    apps = {"admission": admission, "enrollment": enrollment, "operations": operations}
    listeners = {
        name: _listener(name, app, settings, certificate.context, metrics)
        for name, app in apps.items()
    }
    return Server(
        **listeners,
        readiness=readiness,
        settings=settings,
        certificate=certificate,
        metrics=metrics,
        tasks=tuple(tasks),
    )


def _listener(
    which: str, app: FastAPI, settings: Settings, context: ssl.SSLContext, metrics: Metrics
) -> Listener:
    secure = None if which == "operations" else context
    made = listener(
        app, _open(settings, which), settings, secure, keep_alive=_KEEP_ALIVE_SECONDS.get(which)
    )
    metrics.connections.labels(which).set_function(lambda: made.connections)
    return made


def _policy_watch(file: Path | None) -> PolicyWatch:
    return PolicyWatch(partial(read_policy, file), partial(parse_policy, file), _today)


def _open(settings: Settings, which: str) -> socket.socket:
    port: int = getattr(settings, f"{which}_port")
    try:
        return open_port(settings.host, port)
    except OSError as error:
        variable = f"RAYWARDEN_{which.upper()}_PORT"
        raise SetupError(
            f"port {port} cannot be opened ({os.strerror(error.errno or 0)}): set {variable} to another"
        ) from None


def _signer(settings: Settings, ca: bytes) -> Signer:
    return Signer(
        image=settings.enroll_image,
        url=settings.signer_url,
        ca=ca.decode(),
        namespace=settings.namespace,
        port=urlsplit(settings.signer_url).port or 443,
        version=__version__,
    )


def _profile(settings: Settings) -> CertificateProfile:
    return CertificateProfile(timedelta(days=settings.certificate_days))


def _new_secret() -> bytes:
    return secrets.token_bytes(SEED_BYTES)


def _today() -> date:
    return _now().date()


def _now() -> datetime:
    return datetime.now(UTC)
