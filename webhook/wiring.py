"""Builds the server and its tools from settings: the only module that picks adapters."""

import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from cryptography.x509 import random_serial_number

from certs.identity import Domains
from certs.profile import CertificateProfile
from certs.root import Root
from certs.seed import SEED_BYTES
from policies.config import Policy
from webhook.admission.reviewer import Reviewer, signer_of
from webhook.ca.bundles import Bundles
from webhook.ca.root_files import load_root
from webhook.ca.seed_store import DirectorySeedStore, MemorySeedStore
from webhook.ca.serving_certificate import ServingCertificate, serving_certificate
from webhook.ca.trust import Trust
from webhook.client_certificates.signer import client_signer
from webhook.enrollment.signing import Signing
from webhook.isolation.assembly import IsolationAdapters, controller_for
from webhook.isolation.controller import IsolationController
from webhook.isolation.wanted import NoNetworkPolicies
from webhook.kube.adapters import KubeObjectLists, KubeSeedStore, KubeWebhookConfigurations
from webhook.kube.api import KubeApi
from webhook.kube.client_requests import KubeClientRequests
from webhook.kube.live import KubeLive
from webhook.kube.policy_writer import KubeLeases, KubePolicyWriter
from webhook.kube.token_keys import TokenKeys
from webhook.metrics.clock_skew import ClockSkew
from webhook.metrics.expiry import Lifetimes
from webhook.metrics.lookups import EnrollmentLookups
from webhook.metrics.network_policies import NetworkPolicyMetrics
from webhook.metrics.registry import CaCache, Metrics, Watches
from webhook.policy.watch import PolicyMetrics, PolicyWatch
from webhook.ports import SeedStore, UnavailableError
from webhook.server.observer import Observer
from webhook.server.readiness import Readiness
from webhook.server.reconciler import Reconciler
from webhook.server.routes import admission_app, enrollment_app, operations_app
from webhook.server.server import Dependencies, Server, Task, open_listener
from webhook.settings import Settings, SetupError

if TYPE_CHECKING:
    from webhook.ca.rotation import Rotation
    from webhook.check.collect import Inspection
    from webhook.scan.cluster_scan import ClusterScan


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
    from webhook.manifests.cluster import ManifestCluster

    explicit = {name: getattr(settings, name) for name in settings.model_fields_set}
    names, host = "localhost,127.0.0.1,::1", IPv4Address("127.0.0.1")
    defaults = {"host": host, "drain_seconds": 0, "serving_names": names}
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
    """A server in a cluster, or outside with a kubeconfig; `on_ca_change` as in `dev_server`."""
    skew = ClockSkew(_now)
    api = await _connect(settings, skew.record_date)
    live = KubeLive(api, keys=TokenKeys(api, _now))
    # The caBundle is ours to write only if the serving certificate comes from the seed.
    writes_bundle = bool(settings.webhook_configuration) and settings.tls_cert_file is None
    configurations = KubeWebhookConfigurations(api, settings.webhook_configuration)
    leases = KubeLeases(api, settings.namespace)
    dependencies = Dependencies(
        live=live,
        namespace_states=live,
        seeds=_seeds(settings, api),
        configurations=configurations if writes_bundle else None,
        client_requests=KubeClientRequests(api, _now),
        isolation=IsolationAdapters(live.isolation, KubePolicyWriter(api), leases),
        run_caches=live.run_with,
        cached_resources=live.resources,
        up_to_date=live.up_to_date,
        collectors=(skew, EnrollmentLookups(lambda: live.lookups)),
    )
    return _server(settings, dependencies, on_ca_change)


@asynccontextmanager
async def rotation(settings: Settings) -> AsyncIterator["Rotation"]:
    """Lists and rotates the seed of the cluster in the user's kubeconfig."""
    from webhook.ca.rotation import Rotation

    async with await _connect(settings) as api:
        seeds, objects = _seeds(settings, api), KubeObjectLists(api)
        configurations = KubeWebhookConfigurations(api, settings.webhook_configuration)
        yield Rotation(seeds, objects, configurations, _profile(settings), _now, _new_secret)


@asynccontextmanager
async def registration(settings: Settings) -> AsyncIterator[KubeWebhookConfigurations]:
    """The webhook configurations in the cluster of the user's kubeconfig."""
    async with await _connect(settings) as api:
        yield KubeWebhookConfigurations(api, settings.webhook_configuration)


@asynccontextmanager
async def inspection(settings: Settings) -> AsyncIterator["Inspection"]:
    """Inspects the installation in the cluster of the user's kubeconfig."""
    from webhook.check.collect import Inspection

    async with await _connect(settings) as api:
        yield Inspection(api, settings.namespace, _now)


@asynccontextmanager
async def cluster_scan(
    settings: Settings, context: str, policy: Policy | None
) -> AsyncIterator["ClusterScan"]:
    """Scans the cluster of the user's kubeconfig, by a policy or by that of the server."""
    from webhook.scan.cluster_scan import ClusterScan

    async with await _connect(settings, context=context) as api:
        yield ClusterScan(api, signer_of(settings, b""), policy, _now)


async def _connect(
    settings: Settings,
    on_response_date: Callable[[str], None] = lambda date: None,
    context: str = "",
) -> KubeApi:
    try:
        return await KubeApi.connect(settings.kubeconfig, on_response_date, context=context)
    except UnavailableError as error:
        raise SetupError(str(error)) from None


def _seeds(settings: Settings, api: KubeApi) -> SeedStore:
    if settings.seed_dir:
        return DirectorySeedStore(settings.seed_dir)
    return KubeSeedStore(api, settings.namespace)


def _server(
    settings: Settings, dependencies: Dependencies, on_ca_change: Callable[[bytes], None]
) -> Server:
    policy_watch = PolicyWatch.of(settings, _today)
    root = load_root(settings, _now())
    cluster_domain = policy_watch.policy.inject.cluster_domain
    domains = Domains(cluster_domain, settings.trust_domain, short_names=root is None)
    trust = Trust(root, domains, settings.ca_cache_size)
    certificate = serving_certificate(settings, trust, _now())
    controller = _controller(settings, dependencies.isolation, policy_watch)
    metrics = _metrics(settings, dependencies, policy_watch, root, trust, certificate, controller)
    observer = Observer(metrics, time.perf_counter)
    readiness = Readiness(lambda ready: metrics.ready.set(ready))
    reviewer = _reviewer(settings, dependencies, policy_watch, certificate)
    reconciler = Reconciler(
        dependencies.seeds, trust, certificate, dependencies.configurations,
        readiness, observer, on_ca_change, _now, _new_secret,
    )  # fmt: skip
    beside: list[Task] = [controller.run] if controller else []
    if settings.client_certificates and dependencies.client_requests:
        signer = client_signer(
            settings, dependencies.client_requests, lambda: trust.authorities, trust.domains,
            observer, _now, time.monotonic, random_serial_number,
        )  # fmt: skip
        beside.append(partial(signer.run, readiness.wait))
    tasks = _tasks(settings, dependencies, readiness, reconciler, policy_watch, beside)
    signing = _signing(settings, dependencies, policy_watch, trust, controller)
    bundles = Bundles(dependencies.live, lambda: trust.authorities)
    apps = {
        "admission": admission_app(reviewer, observer, readiness, settings),
        "enrollment": enrollment_app(signing, bundles, observer, settings),
        "operations": operations_app(readiness, observer),
    }
    listeners = {
        name: open_listener(name, app, settings, certificate.context, metrics)
        for name, app in apps.items()
    }
    return Server(
        **listeners, readiness=readiness, settings=settings, certificate=certificate,
        metrics=metrics, tasks=tasks,
    )  # fmt: skip


def _metrics(
    settings: Settings,
    dependencies: Dependencies,
    policy_watch: PolicyWatch,
    root: Root | None,
    trust: Trust,
    certificate: ServingCertificate,
    controller: IsolationController | None,
) -> Metrics:
    network_policies = (NetworkPolicyMetrics(controller),) if controller else ()
    clusters, profile = dependencies.live.ray_clusters, _profile(settings)
    return Metrics(
        CaCache(trust), Lifetimes(clusters, profile, root, lambda: certificate.ends, _now),
        PolicyMetrics(policy_watch, _today),
        Watches(dependencies.cached_resources, dependencies.up_to_date),
        *network_policies, *dependencies.collectors,
    )  # fmt: skip


def _reviewer(
    settings: Settings,
    dependencies: Dependencies,
    policy_watch: PolicyWatch,
    certificate: ServingCertificate,
) -> Reviewer:
    # A signer for each CA; during a rotation, two or three are in use.
    signer = lru_cache(maxsize=4)(partial(signer_of, settings))
    return Reviewer(
        lambda: policy_watch.policy, lambda: signer(certificate.pod_ca(_now())),
        dependencies.namespace_states, _today,
    )  # fmt: skip


def _tasks(
    settings: Settings,
    dependencies: Dependencies,
    readiness: Readiness,
    reconciler: Reconciler,
    policy_watch: PolicyWatch,
    beside: Sequence[Task],
) -> tuple[Task, ...]:
    tasks: list[Task] = [
        partial(reconciler.run, settings.resync_seconds),
        partial(policy_watch.run, settings.resync_seconds),
    ]
    if dependencies.run_caches:
        readiness.expect(*dependencies.cached_resources)
        tasks.append(partial(dependencies.run_caches, readiness.met, beside))
    return tuple(tasks)


def _controller(
    settings: Settings, adapters: IsolationAdapters | None, policy_watch: PolicyWatch
) -> IsolationController | None:
    if adapters is None or not settings.write_network_policies:
        return None
    identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    controller = controller_for(
        adapters, policy_watch.isolation_of, settings, identity, time.monotonic, _now
    )
    policy_watch.on_change = controller.examine
    return controller


def _signing(
    settings: Settings,
    dependencies: Dependencies,
    policy_watch: PolicyWatch,
    trust: Trust,
    controller: IsolationController | None,
) -> Signing:
    return Signing(
        dependencies.live, controller.wanted if controller else NoNetworkPolicies(),
        lambda: policy_watch.policy.network_isolation, lambda: trust.authorities, trust.domains,
        _profile(settings), settings, _now, time.monotonic, random_serial_number,
    )  # fmt: skip


def _profile(settings: Settings) -> CertificateProfile:
    return CertificateProfile(timedelta(days=settings.certificate_days))


def _new_secret() -> bytes:
    return secrets.token_bytes(SEED_BYTES)


def _today() -> date:
    return _now().date()


def _now() -> datetime:
    return datetime.now(UTC)
