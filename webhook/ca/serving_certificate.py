"""The certificate of our own ports: made in memory, or mounted; renewed in place while connections go on."""

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

_LEAF = CertificateProfile(timedelta(days=7))


class ServingCertificate(Protocol):
    """A TLS context whose certificate is kept fresh. New handshakes use what was loaded last."""

    context: ssl.SSLContext
    ends: datetime | None

    @property
    def ca(self) -> bytes:
        """What clients must trust (PEM)."""
        ...

    def pod_ca(self, now: datetime) -> bytes:
        """What a pod that starts now must trust for enrollment (PEM)."""
        ...

    def keep(self, now: datetime, may_change: bool = True) -> None:
        """Renew it where that is due, and set when it `ends`; raises UnavailableError where there is none to be had.

        Where its issuer may not change, it is renewed by the one it has.
        """
        ...


class DerivedCertificate:
    """A leaf of the serving CA, for a key that exists in this process only; renewed at half its life."""

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

    def keep(self, now: datetime, may_change: bool = True) -> None:
        issuer = self._trust.serving if may_change or self._issuer is None else self._issuer
        same = self._issuer is not None and self._issuer.certificate == issuer.certificate
        if not same or self.ends is None or now > self.ends - _LEAF.lifetime / 2:
            self.ends = self._load_leaf(issuer, now)
            self._issuer = issuer

    def _load_leaf(self, issuer: Authority, now: datetime) -> datetime:
        ca = issuer.certificate
        if not ca.not_valid_before_utc <= now < ca.not_valid_after_utc:
            raise UnavailableError(
                f"the CA of our own ports is valid from {ca.not_valid_before_utc:%F} to {ca.not_valid_after_utc:%F}: "
                "add a generation with raywarden ca rotate, and revoke the oldest"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        leaf = issuer.issue(key.public_key(), self._names, SERVER, _LEAF.validity(now), serial)
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        load_pem(self.context, key_pem + leaf.public_bytes(Encoding.PEM))
        return leaf.not_valid_after_utc


class MountedCertificate:
    """A certificate that somebody else makes and renews, in files (PEM)."""

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

    def keep(self, now: datetime, may_change: bool = True) -> None:
        files = f"certificate {self._certificate}, key {self._key} and CA {self._ca}"
        try:
            content = tuple(file.read_bytes() for file in (self._certificate, self._key, self._ca))
            if content != self._loaded:
                self._take(*content)
                self._loaded = content
        except OSError as error:
            # ssl.SSLError is an OSError too: a key that does not fit its certificate ends here as well.
            raise UnavailableError(f"{files} cannot be used together: {error}") from None
        except ValueError:
            raise UnavailableError(
                f"{files}: one of them holds no certificate in PEM form"
            ) from None

    def _take(self, certificate: bytes, key: bytes, ca: bytes) -> None:
        x509.load_pem_x509_certificates(ca)
        leaf = x509.load_pem_x509_certificate(certificate)
        # Files change one after the other. A pair that does not fit would take the context's good one away.
        for context in (tls_context(), self.context):
            load_pem(context, certificate + b"\n" + key)
        self.ends, self._ca_pem = leaf.not_valid_after_utc, ca


def serving_certificate(settings: Settings, trust: Trust, now: datetime) -> ServingCertificate:
    """The certificate that the settings ask for; raises SetupError where it is to be mounted and is not right."""
    files = {
        "RAYWARDEN_TLS_CERT_FILE": settings.tls_cert_file,
        "RAYWARDEN_TLS_KEY_FILE": settings.tls_key_file,
        "RAYWARDEN_SIGNER_CA_FILE": settings.signer_ca_file,
    }
    given = [file for file in files.values() if file]
    if not given:
        return DerivedCertificate(trust, tuple(_serving_names(settings)))
    if len(given) < len(files):
        raise SetupError(f"{', '.join(files)} go together")
    mounted = MountedCertificate(*given)
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
    """TLS 1.2 and 1.3, HTTP/1.1 only: what the API server speaks to a service. It has no certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def load_pem(context: ssl.SSLContext, pem: bytes) -> None:
    """Have `context` use a key and its certificates from now on."""
    # OpenSSL's loader takes only files, and a key must not lie on a disk.
    descriptor = os.memfd_create("raywarden", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        path = f"/proc/self/fd/{descriptor}"
        context.load_cert_chain(path, path)
    finally:
        os.close(descriptor)
