"""Builds objects from settings: the only module that picks adapters and reads the clock."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from cryptography.x509 import random_serial_number

from certs.identity import Domains
from certs.profile import CertificateProfile
from certs.root import Root
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
from webhook.metrics.registry import CaCache, Metrics, Watches
from webhook.policy.file import parse_policy, read_policy
from webhook.policy.watch import PolicyMetrics, PolicyWatch
from webhook.ports import (
    NamespaceStates,
    SeedStore,
    UnavailableError,
)
from webhook.server.observer import Observer
from webhook.server.readiness import Readiness
from webhook.server.reconciler import Reconciler
from webhook.server.routes import admission_app, enrollment_app, operations_app
from webhook.server.server import Dependencies, Server, open_listener
from webhook.settings import Settings, SetupError

# Stands for the signer's CA in offline reviews, whose objects never become pods.
_NO_CA = b"-----BEGIN CERTIFICATE-----\n(the signer's CA)\n-----END CERTIFICATE-----\n"


def offline_reviewer(
    settings: Settings, policy: Policy, namespace_states: NamespaceStates
) -> Reviewer:
    """A reviewer for the command line, which needs no cluster and no keys."""
    signer = _signer(settings, _NO_CA)
    return Reviewer(lambda: policy, lambda: signer, namespace_states, _today)


def policy_notes(policy: Policy) -> list[str]:
    """Notes for the author of the policy today, such as expired exemptions."""
    return report.policy_notes(policy, _today())


async def dev_server(
    settings: Settings,
    token_dir: Path | None = None,
    on_ca_change: Callable[[bytes], None] = lambda ca: None,
) -> Server:
    """A server that needs no cluster.

    By default, the seed is in memory, the serving certificate is for localhost, and the server
    listens on loopback and does not drain; explicit settings take precedence. Each pod in the
    manifests gets a token, which is written below `token_dir`. `on_ca_change` receives the CA that
    clients must trust (PEM).
    """
    explicit = {name: getattr(settings, name) for name in settings.model_fields_set}
    defaults = {
        "host": IPv4Address("127.0.0.1"),
        "drain_seconds": 0,
        "serving_names": "localhost,127.0.0.1,::1",
    }
    settings = settings.model_copy(update={**defaults, **explicit})
    cluster = ManifestCluster.load(
        settings.objects_file, token_dir, partial(secrets.token_urlsafe, 32)
    )
    seeds = DirectorySeedStore(settings.seed_dir) if settings.seed_dir else MemorySeedStore()
    structlog.get_logger().warning("development mode")
    return _server(settings, Dependencies(cluster, cluster, seeds), on_ca_change)


async def server(
    settings: Settings, on_ca_change: Callable[[bytes], None] = lambda ca: None
) -> Server:
    """A server in a cluster, or outside with a kubeconfig.

    `on_ca_change` receives the CA that clients must trust (PEM).
    """
    skew = ClockSkew(_now)
    api = await _connect(settings, skew.record_date)
    live = KubeLive(api)
    # The caBundle is ours to write only if the serving certificate comes from the seed.
    writes_bundle = bool(settings.webhook_configuration) and settings.tls_cert_file is None
    configurations = KubeWebhookConfigurations(api, settings.webhook_configuration)
    dependencies = Dependencies(
        live=live,
        namespace_states=live,
        seeds=_seeds(settings, api),
        configurations=configurations if writes_bundle else None,
        run_caches=partial(_run_caches, api, live),
        cached_resources=live.resources,
        up_to_date=live.up_to_date,
        collectors=(skew,),
    )
    return _server(settings, dependencies, on_ca_change)


@asynccontextmanager
async def rotation(settings: Settings) -> AsyncIterator[Rotation]:
    """Lists and rotates the seed of the cluster in the user's kubeconfig."""
    async with await _connect(settings) as api:
        seeds, objects = _seeds(settings, api), KubeObjectLists(api)
        configurations = KubeWebhookConfigurations(api, settings.webhook_configuration)
        yield Rotation(seeds, objects, configurations, _profile(settings), _now, _new_secret)


@asynccontextmanager
async def inspection(settings: Settings) -> AsyncIterator[Inspection]:
    """Inspects the installation in the cluster of the user's kubeconfig."""
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
    if settings.seed_dir:
        return DirectorySeedStore(settings.seed_dir)
    return KubeSeedStore(api, settings.namespace)


async def _run_caches(api: KubeApi, live: KubeLive, readiness: Readiness) -> None:
    """Follow the API server; each resource that has been listed meets a condition of readiness."""
    async with api, asyncio.TaskGroup() as group:
        group.create_task(live.run())
        group.create_task(live.follow_kuberay())
        await live.wait_synced(readiness.met)


def _server(
    settings: Settings, dependencies: Dependencies, on_ca_change: Callable[[bytes], None]
) -> Server:
    policy_watch = _policy_watch(settings.policy_file)
    root = load_root(settings, _now())
    cluster_domain = policy_watch.policy.inject.cluster_domain
    domains = Domains(cluster_domain, settings.trust_domain, short_names=root is None)
    trust = Trust(root, domains, settings.ca_cache_size)
    certificate = serving_certificate(settings, trust, _now())
    metrics = _metrics(settings, dependencies, policy_watch, root, trust, certificate)
    observer = Observer(metrics, time.perf_counter)
    readiness = Readiness(lambda ready: metrics.ready.set(ready))
    reviewer = _reviewer(settings, dependencies, policy_watch, certificate)
    reconciler = Reconciler(
        dependencies.seeds, trust, certificate, dependencies.configurations,
        readiness, observer, on_ca_change, _now, _new_secret,
    )  # fmt: skip
    tasks = _tasks(settings, dependencies, readiness, reconciler, policy_watch)
    signing = _signing(settings, dependencies, trust, domains)
    apps = {
        "admission": admission_app(reviewer, observer, readiness, settings),
        "enrollment": enrollment_app(signing, observer, settings),
        "operations": operations_app(readiness, observer),
    }
    listeners = {
        name: open_listener(name, app, settings, certificate.context, metrics)
        for name, app in apps.items()
    }
    return Server(
        **listeners,
        readiness=readiness,
        settings=settings,
        certificate=certificate,
        metrics=metrics,
        tasks=tasks,
    )


def _metrics(
    settings: Settings,
    dependencies: Dependencies,
    policy_watch: PolicyWatch,
    root: Root | None,
    trust: Trust,
    certificate: ServingCertificate,
) -> Metrics:
    clusters, profile = dependencies.live.ray_clusters, _profile(settings)
    return Metrics(
        CaCache(trust),
        Lifetimes(clusters, profile, root, lambda: certificate.ends, _now),
        PolicyMetrics(policy_watch, _today),
        Watches(dependencies.cached_resources, dependencies.up_to_date),
        *dependencies.collectors,
    )


def _reviewer(
    settings: Settings,
    dependencies: Dependencies,
    policy_watch: PolicyWatch,
    certificate: ServingCertificate,
) -> Reviewer:
    # A signer for each CA; during a rotation, two or three are in use.
    signer = lru_cache(maxsize=4)(partial(_signer, settings))
    return Reviewer(
        lambda: policy_watch.policy,
        lambda: signer(certificate.pod_ca(_now())),
        dependencies.namespace_states,
        _today,
    )


def _tasks(
    settings: Settings,
    dependencies: Dependencies,
    readiness: Readiness,
    reconciler: Reconciler,
    policy_watch: PolicyWatch,
) -> tuple[Callable[[], Awaitable[None]], ...]:
    tasks: list[Callable[[], Awaitable[None]]] = [
        partial(reconciler.run, settings.resync_seconds),
        partial(policy_watch.run, settings.resync_seconds),
    ]
    if dependencies.run_caches:
        readiness.expect(*dependencies.cached_resources)
        tasks.append(partial(dependencies.run_caches, readiness))
    return tuple(tasks)


def _signing(
    settings: Settings, dependencies: Dependencies, trust: Trust, domains: Domains
) -> Signing:
    return Signing(
        dependencies.live,
        lambda: trust.authorities,
        domains,
        _profile(settings),
        settings,
        _now,
        time.monotonic,
        random_serial_number,
    )


def _policy_watch(file: Path | None) -> PolicyWatch:
    return PolicyWatch(partial(read_policy, file), partial(parse_policy, file), _today)


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
