"""The certificate of RayWarden's own ports: issued in memory, or mounted as files.

It is renewed in place, without interrupting open connections.
"""

import os
import ssl
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certs.authority import Authority
from certs.profile import SERVER, CertificateProfile
from webhook.ca.trust import Trust
from webhook.ports import UnavailableError
from webhook.settings import Settings, SetupError

# Short, because renewal is automatic; half of it is time to notice that renewal fails.
_LEAF = CertificateProfile(timedelta(days=7))


class ServingCertificate(Protocol):
    """A TLS context whose certificate is renewed. New handshakes use the one loaded last.

    `ends` is the time at which that certificate expires; None before the first one is loaded.
    """

    context: ssl.SSLContext
    ends: datetime | None

    @property
    def ca(self) -> bytes:
        """The CAs that clients must trust (PEM)."""
        ...

    def pod_ca(self, now: datetime) -> bytes:
        """The CAs that a pod which starts now must trust for enrollment (PEM)."""
        ...

    def keep(self, now: datetime, may_change_issuer: bool = True) -> None:
        """Renew the certificate if that is due; raises UnavailableError if it cannot be renewed.

        Without `may_change_issuer`, the CA that issued the current certificate issues the next one.
        """
        ...


class DerivedCertificate:
    """A certificate issued by the serving CA of the seed, renewed after half its lifetime.

    Its private key exists only in the memory of this process.
    """

    def __init__(self, trust: Trust, names: Sequence[str]) -> None:
        self.context = tls_context()
        self._trust = trust
        self._names = [_general_name(name) for name in names]
        self._issuer: Authority | None = None
        self.ends: datetime | None = None

    @property
    def ca(self) -> bytes:
        return self._trust.serving_ca

    def pod_ca(self, now: datetime) -> bytes:
        return self._trust.pod_ca(now)

    def keep(self, now: datetime, may_change_issuer: bool = True) -> None:
        issuer = self._trust.serving
        if self._issuer is not None and not may_change_issuer:
            issuer = self._issuer
        if self._is_due(issuer, now):
            self.ends = self._load_leaf(issuer, now)
            self._issuer = issuer

    def _is_due(self, issuer: Authority, now: datetime) -> bool:
        if self._issuer is None or self.ends is None:
            return True
        if self._issuer.certificate != issuer.certificate:
            return True
        return now > self.ends - _LEAF.lifetime / 2

    def _load_leaf(self, issuer: Authority, now: datetime) -> datetime:
        ca = issuer.certificate
        starts, ends = ca.not_valid_before_utc, ca.not_valid_after_utc
        if not starts <= now < ends:
            raise UnavailableError(
                f"the CA of RayWarden's own ports is valid from {starts:%F} to {ends:%F}: "
                "add a generation with `raywarden ca rotate`, and revoke the oldest one"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        leaf = issuer.issue(key.public_key(), self._names, SERVER, _LEAF.validity(now), serial)
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        load_pem(self.context, key_pem + leaf.public_bytes(Encoding.PEM))
        return leaf.not_valid_after_utc


class MountedCertificate:
    """A certificate in files (PEM) that another tool issues and renews, such as cert-manager."""

    def __init__(self, certificate: Path, key: Path, ca: Path) -> None:
        self.context = tls_context()
        self._certificate, self._key, self._ca = certificate, key, ca
        self._loaded: tuple[bytes, ...] = ()
        self._ca_pem = b""
        self.ends: datetime | None = None

    @property
    def ca(self) -> bytes:
        return self._ca_pem

    def pod_ca(self, now: datetime) -> bytes:
        return self._ca_pem

    def keep(self, now: datetime, may_change_issuer: bool = True) -> None:
        files = f"certificate {self._certificate}, key {self._key} and CA {self._ca}"
        try:
            content = tuple(file.read_bytes() for file in (self._certificate, self._key, self._ca))
            if content != self._loaded:
                self._load(*content)
                self._loaded = content
        except OSError as error:
            # ssl.SSLError is an OSError, too: it means that the key does not match the certificate.
            raise UnavailableError(f"{files} cannot be used together: {error}") from None
        except ValueError:
            raise UnavailableError(
                f"{files}: one of them does not contain a PEM certificate"
            ) from None

    def _load(self, certificate: bytes, key: bytes, ca: bytes) -> None:
        x509.load_pem_x509_certificates(ca)
        leaf = x509.load_pem_x509_certificate(certificate)
        # The files change one after the other. Try the pair in a new context first: loading a key
        # that does not match would remove the good pair from the context in use.
        for context in (tls_context(), self.context):
            load_pem(context, certificate + b"\n" + key)
        self.ends, self._ca_pem = leaf.not_valid_after_utc, ca


def serving_certificate(settings: Settings, trust: Trust, now: datetime) -> ServingCertificate:
    """The serving certificate for these settings; raises SetupError if its files are unusable."""
    files = {
        "RAYWARDEN_TLS_CERT_FILE": settings.tls_cert_file,
        "RAYWARDEN_TLS_KEY_FILE": settings.tls_key_file,
        "RAYWARDEN_SIGNER_CA_FILE": settings.signer_ca_file,
    }
    mounted_files = [file for file in files.values() if file]
    if not mounted_files:
        return DerivedCertificate(trust, tuple(_serving_names(settings)))
    if len(mounted_files) < len(files):
        raise SetupError(f"set all of {', '.join(files)}, or none of them")
    mounted = MountedCertificate(*mounted_files)
    try:
        mounted.keep(now)
    except UnavailableError as error:
        raise SetupError(str(error)) from None
    return mounted


def _serving_names(settings: Settings) -> Iterator[str]:
    yield f"{settings.admission_service}.{settings.namespace}.svc"
    yield urlsplit(settings.signer_url).hostname or ""
    yield from filter(None, map(str.strip, settings.serving_names.split(",")))


def tls_context() -> ssl.SSLContext:
    """A server context, still without a certificate: TLS 1.2 and 1.3, and HTTP/1.1 only.

    HTTP/1.1 is what the API server speaks to a webhook that is registered as a Service.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Neither the API server nor pods resume sessions, and two tickets for each are a seventh of the
    # cost of a handshake.
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    return context


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def load_pem(context: ssl.SSLContext, pem: bytes) -> None:
    """Make `context` use a key and its certificate chain from now on."""
    # OpenSSL's loader accepts only files, and a key must never be written to a disk.
    descriptor = os.memfd_create("raywarden", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        path = f"/proc/self/fd/{descriptor}"
        context.load_cert_chain(path, path)
    finally:
        os.close(descriptor)
