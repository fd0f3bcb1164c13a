"""Settings in, running objects out: the only place that picks adapters and reads the clock."""

import asyncio
import os
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from cryptography import x509

from policies.config import Policy, PolicyError
from policies.model import Signer
from policies.untrusted_yaml import UntrustedYamlError, load_all
from webhook import __version__
from webhook.app import Readiness, admission_app, operations_app
from webhook.manifests import Manifest, read
from webhook.namespaces import NamespaceManifests
from webhook.observe import Metrics, Observer
from webhook.ports import Namespaces
from webhook.review import Reviewer
from webhook.serving import (
    Listener,
    listener,
    new_generation,
    open_port,
    serve,
    serving_authority,
    serving_context,
    tls_context,
)
from webhook.settings import Settings

_DEV_NAMES = ("localhost", "127.0.0.1", "::1")
# Stands where a real signer's CA would, in reviews that no pod will ever come of.
_NO_CA = "-----BEGIN CERTIFICATE-----\n(the signer's CA)\n-----END CERTIFICATE-----\n"


class SetupError(Exception):
    """RayWarden cannot start as it is set up; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Server:
    """Everything that serves, put together and not yet started. `ca` is what clients must trust (PEM)."""

    admission: Listener
    operations: Listener
    readiness: Readiness
    settings: Settings
    ca: bytes

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, or SIGTERM or SIGINT sets it."""
        await serve((self.admission, self.operations), self.readiness, self.settings, stop)


def offline_reviewer(settings: Settings, policy_file: Path | None, namespaces: Namespaces) -> Reviewer:
    """A reviewer that needs neither cluster nor keys, for the command line."""
    return Reviewer(load_policy(policy_file), _signer(settings, _NO_CA), namespaces, _today)


def dev_server(settings: Settings) -> Server:
    """A server that needs no cluster: seed in memory, serving certificate for localhost, on loopback, without drain.

    What the settings say themselves about host and drain goes before.
    """
    chosen = {name: getattr(settings, name) for name in settings.model_fields_set}
    settings = settings.model_copy(update={"host": IPv4Address("127.0.0.1"), "drain_seconds": 0, **chosen})
    authority = serving_authority(new_generation(_now()))
    context = serving_context(authority, _DEV_NAMES, _now())
    structlog.get_logger().warning("development mode: the seed is in memory and ends with this process")
    return _server(settings, authority.pem, authority.pem, context)


def server(settings: Settings) -> Server:
    """A server with the certificate it was given."""
    files = (settings.tls_cert_file, settings.tls_key_file, settings.signer_ca_file)
    names = ("RAYWARDEN_TLS_CERT_FILE", "RAYWARDEN_TLS_KEY_FILE", "RAYWARDEN_SIGNER_CA_FILE")
    if missing := [name for name, file in zip(names, files, strict=True) if file is None]:
        raise SetupError(f"set {' and '.join(missing)}, or start with --dev")
    cert, key, signer_ca = (str(file) for file in files)
    try:
        context = tls_context(cert, key)
    except OSError as error:
        # ssl.SSLError is an OSError too: a key that does not fit its certificate ends here as well.
        raise SetupError(f"certificate {cert} and key {key} cannot be used together: {error}") from None
    return _server(settings, _certificates(signer_ca), Path(cert).read_bytes(), context)


def _certificates(file: str) -> bytes:
    """The PEM certificates in a file, which must hold at least one."""
    try:
        content = Path(file).read_bytes()
        x509.load_pem_x509_certificates(content)
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from None
    except ValueError:
        raise SetupError(f"{file}: no certificate in PEM form") from None
    return content


def load_policy(file: Path | None) -> Policy:
    """The policy in `file`, the default policy for None; raises SetupError with every problem and its place."""
    if file is None:
        return Policy.parse(None)
    try:
        documents = list(load_all(file.read_text()))
        if len(documents) > 1:
            raise PolicyError("a policy file holds one document")
        return Policy.parse(documents[0] if documents else None)
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SetupError(f"{file}: not UTF-8 text") from None
    except (PolicyError, UntrustedYamlError) as error:
        raise SetupError("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from None


def _server(settings: Settings, signer_ca: bytes, ca: bytes, context: ssl.SSLContext) -> Server:
    observer = Observer(Metrics(), time.perf_counter)
    readiness = Readiness(observer.metrics)
    reviewer = Reviewer(
        load_policy(settings.policy_file), _signer(settings, signer_ca.decode()), _namespaces(settings), _today
    )
    return Server(
        admission=listener(
            admission_app(reviewer, observer, readiness, settings), _open(settings, "admission"), settings, context
        ),
        operations=listener(operations_app(readiness, observer), _open(settings, "operations"), settings),
        readiness=readiness,
        settings=settings,
        ca=ca,
    )


def _open(settings: Settings, which: str) -> socket.socket:
    port: int = getattr(settings, f"{which}_port")
    try:
        return open_port(settings.host, port)
    except OSError as error:
        variable = f"RAYWARDEN_{which.upper()}_PORT"
        raise SetupError(
            f"port {port} cannot be opened ({os.strerror(error.errno or 0)}): set {variable} to another"
        ) from None


def _signer(settings: Settings, ca: str) -> Signer:
    return Signer(
        image=settings.enroll_image,
        url=settings.signer_url,
        ca=ca,
        namespace=settings.namespace,
        port=urlsplit(settings.signer_url).port or 443,
        version=__version__,
    )


def _namespaces(settings: Settings) -> Namespaces:
    if settings.namespaces_file is None:
        return NamespaceManifests(())
    found = list(read(str(settings.namespaces_file)))
    if broken := [one for one in found if not isinstance(one, Manifest)]:
        raise SetupError(f"{broken[0].source}: {broken[0].why}")
    namespaces = NamespaceManifests(one.document for one in found if isinstance(one, Manifest))
    if not namespaces:
        raise SetupError(f"{settings.namespaces_file}: no Namespace in it")
    return namespaces


def _today() -> date:
    return _now().date()


def _now() -> datetime:
    return datetime.now(UTC)
