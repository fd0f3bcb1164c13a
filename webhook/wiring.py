"""Settings in, running objects out: the only place that picks adapters and reads the clock."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from certs.identity import Domains
from certs.profile import Profile
from certs.root import Root, RootError
from certs.seed import SEED_BYTES
from policies.model import Signer
from webhook import __version__
from webhook.app import admission_app, enrolment_app, operations_app
from webhook.kube_api import KubeApi
from webhook.kube_live import KubeLive, KubeObjectLists, KubeSeedStore, KubeWebhookConfigurations
from webhook.manifest_cluster import ManifestCluster
from webhook.manifests import Manifest, read
from webhook.observe import Metrics, Observer
from webhook.policy_file import load_policy
from webhook.ports import LiveObjects, Namespaces, SeedStore, UnavailableError, WebhookConfigurations
from webhook.readiness import Readiness
from webhook.review import Reviewer
from webhook.rotation import Rotation
from webhook.seed_store import DirectorySeedStore, MemorySeedStore
from webhook.serving import Listener, listener, open_port, serve
from webhook.serving_certificate import DerivedCertificate, MountedCertificate, ServingCertificate
from webhook.settings import Settings, SetupError
from webhook.signing import Signing, random_serial
from webhook.trust import Trust
from webhook.upkeep import Upkeep

_CACHES = "watch caches"
_DEV_NAMES = ("localhost", "127.0.0.1", "::1")
# Pods connect, enrol and go: an idle connection on that port is nobody's.
_ENROLMENT_KEEP_ALIVE_SECONDS = 5
# Stands where a real signer's CA would, in reviews that no pod will ever come of, and until the seed is known.
_NO_CA = b"-----BEGIN CERTIFICATE-----\n(the signer's CA)\n-----END CERTIFICATE-----\n"


@dataclass(frozen=True)
class Surroundings:
    """What the server stands in: the cluster, where the seed is, and what must go on while it serves."""

    live: LiveObjects
    namespaces: Namespaces
    seeds: SeedStore
    configurations: WebhookConfigurations | None = None
    upkeep: Callable[[Readiness], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """Everything that serves, put together and not yet started."""

    admission: Listener
    enrolment: Listener
    operations: Listener
    readiness: Readiness
    settings: Settings
    certificate: ServingCertificate
    _upkeep: tuple[Callable[[], Awaitable[None]], ...]

    @property
    def ca(self) -> bytes:
        """What clients must trust (PEM); known from the time it is ready."""
        return self.certificate.ca

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, or SIGTERM or SIGINT sets it."""
        listeners = (self.admission, self.enrolment, self.operations)
        await serve(listeners, self._upkeep, self.readiness, self.settings, stop)


def offline_reviewer(settings: Settings, policy_file: Path | None, namespaces: Namespaces) -> Reviewer:
    """A reviewer that needs neither cluster nor keys, for the command line."""
    return Reviewer(load_policy(policy_file), _signer(settings, _NO_CA), namespaces, _today)


async def dev_server(
    settings: Settings, token_dir: Path | None = None, told: Callable[[bytes], None] | None = None
) -> Server:
    """A server that needs no cluster: seed in memory, serving certificate for localhost, on loopback, without drain.

    What the settings say themselves about host, drain and seed goes before. Each pod of the manifests gets a token,
    written below `token_dir`. `told` gets the CA that clients must trust (PEM).
    """
    chosen = {name: getattr(settings, name) for name in settings.model_fields_set}
    defaults = {"host": IPv4Address("127.0.0.1"), "drain_seconds": 0, "serving_names": ",".join(_DEV_NAMES)}
    settings = settings.model_copy(update={**defaults, **chosen})
    cluster = _manifest_cluster(settings, token_dir)
    seeds = DirectorySeedStore(settings.seed_dir) if settings.seed_dir else MemorySeedStore()
    structlog.get_logger().warning("development mode: the cluster is a set of manifests", seed=str(settings.seed_dir))
    return _server(settings, Surroundings(cluster, cluster, seeds), told)


async def server(settings: Settings, told: Callable[[bytes], None] | None = None) -> Server:
    """A server in a cluster, or beside one by kubeconfig. `told` gets the CA that clients must trust (PEM)."""
    try:
        api = await KubeApi.connect(settings.kubeconfig)
    except UnavailableError as error:
        raise SetupError(f"{error}; or start with --dev") from None
    live = KubeLive(api)
    ours = bool(settings.webhook_configuration) and settings.tls_cert_file is None
    around = Surroundings(
        live=live,
        namespaces=live,
        seeds=DirectorySeedStore(settings.seed_dir) if settings.seed_dir else KubeSeedStore(api, settings.namespace),
        configurations=KubeWebhookConfigurations(api, settings.webhook_configuration) if ours else None,
        upkeep=partial(_follow, api, live),
    )
    return _server(settings, around, told)


@asynccontextmanager
async def rotation(settings: Settings) -> AsyncIterator[Rotation]:
    """The seed of the cluster that the user's kubeconfig names, to look at and to rotate."""
    try:
        api = await KubeApi.connect(settings.kubeconfig)
    except UnavailableError as error:
        raise SetupError(str(error)) from None
    async with api:
        seeds = DirectorySeedStore(settings.seed_dir) if settings.seed_dir else KubeSeedStore(api, settings.namespace)
        profile = Profile(timedelta(days=settings.certificate_days))
        yield Rotation(seeds, KubeObjectLists(api), profile, _now, _new_secret)


async def _follow(api: KubeApi, live: KubeLive, readiness: Readiness) -> None:
    """Keep up with the API server; what is in memory is complete once everything has been listed."""
    async with api, asyncio.TaskGroup() as group:
        group.create_task(live.run())
        await live.wait_synced()
        readiness.met(_CACHES)


def _manifest_cluster(settings: Settings, token_dir: Path | None) -> ManifestCluster:
    file = settings.objects_file
    found = list(read(str(file))) if file else []
    if broken := [one for one in found if not isinstance(one, Manifest)]:
        raise SetupError(f"{broken[0].source}: {broken[0].why}")
    documents = (one.document for one in found if isinstance(one, Manifest))
    try:
        cluster = ManifestCluster(documents, partial(secrets.token_urlsafe, 32))
        if token_dir:
            cluster.write_tokens(token_dir)
    except OSError as error:
        raise SetupError(f"{token_dir}: {error.strerror}") from None
    except ValueError as error:
        raise SetupError(f"{file}: not an object as the API server stores it: {error}") from None
    return cluster


def _server(settings: Settings, around: Surroundings, told: Callable[[bytes], None] | None) -> Server:
    policy = load_policy(settings.policy_file)
    trust = Trust(_root(settings), settings.ca_cache_size)
    observer = Observer(Metrics(trust), time.perf_counter)
    readiness = Readiness(lambda ready: observer.metrics.ready.set(ready))
    if around.upkeep:
        readiness.expect(_CACHES)
    reviewer = Reviewer(policy, _signer(settings, _NO_CA), around.namespaces, _today)
    certificate = _certificate(settings, trust)

    def changed(ca: bytes) -> None:
        reviewer.inject(_signer(settings, ca))
        if told:
            told(ca)

    upkeep = Upkeep(
        around.seeds,
        trust,
        certificate,
        around.configurations,
        readiness,
        observer,
        changed,
        _now,
        _new_secret,
        settings.upkeep_seconds,
    )
    domains = Domains(policy.inject.cluster_domain, settings.trust_domain)
    signing = Signing(around.live, lambda: trust.authorities, domains, settings, _now, time.monotonic, _new_serial)
    tls = certificate.context
    return Server(
        admission=listener(
            admission_app(reviewer, observer, readiness, settings), _open(settings, "admission"), settings, tls
        ),
        enrolment=listener(
            enrolment_app(signing, observer, settings),
            _open(settings, "enrolment"),
            settings,
            tls,
            keep_alive=_ENROLMENT_KEEP_ALIVE_SECONDS,
        ),
        operations=listener(operations_app(readiness, observer), _open(settings, "operations"), settings),
        readiness=readiness,
        settings=settings,
        certificate=certificate,
        _upkeep=(upkeep.run, *((partial(around.upkeep, readiness),) if around.upkeep else ())),
    )


def _root(settings: Settings) -> Root | None:
    files = (settings.root_cert_file, settings.root_key_file)
    if None in files:
        if any(files):
            raise SetupError("RAYWARDEN_ROOT_CERT_FILE and RAYWARDEN_ROOT_KEY_FILE go together")
        return None
    try:
        certificate, key = (Path(str(file)).read_bytes() for file in files)
        return Root.load(certificate, key, _now())
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}") from None
    except RootError as error:
        raise SetupError(f"root {files[0]}, {files[1]}: {error}") from None


def _certificate(settings: Settings, trust: Trust) -> ServingCertificate:
    files = (settings.tls_cert_file, settings.tls_key_file, settings.signer_ca_file)
    names = ("RAYWARDEN_TLS_CERT_FILE", "RAYWARDEN_TLS_KEY_FILE", "RAYWARDEN_SIGNER_CA_FILE")
    if any(files):
        if missing := [name for name, file in zip(names, files, strict=True) if file is None]:
            raise SetupError(f"set {' and '.join(missing)} too, or none of {', '.join(names)}")
        certificate = MountedCertificate(*(Path(str(file)) for file in files))
        try:
            certificate.keep(_now())
        except UnavailableError as error:
            raise SetupError(str(error)) from None
        return certificate
    return DerivedCertificate(trust, tuple(_serving_names(settings)))


def _serving_names(settings: Settings) -> Iterable[str]:
    yield f"{settings.admission_service}.{settings.namespace}.svc"
    yield urlsplit(settings.signer_url).hostname or ""
    yield from filter(None, map(str.strip, settings.serving_names.split(",")))


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


def _new_secret() -> bytes:
    return secrets.token_bytes(SEED_BYTES)


def _new_serial() -> int:
    return random_serial(secrets.randbits)


def _today() -> date:
    return _now().date()


def _now() -> datetime:
    return datetime.now(UTC)
