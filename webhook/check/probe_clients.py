"""The clients of a probe: plaintext, no certificate, a foreign certificate, a valid certificate."""

import secrets
import ssl
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certs.authority import Authority, cluster_authority
from certs.cache import Authorities
from certs.identity import Cluster, Domains, LivePod, Membership, Role, identify
from certs.profile import CertificateProfile, usages
from certs.seed import SEED_BYTES, Generation, Seed
from webhook.ca.serving_certificate import load_pem

# Long enough for a probe, and too short to be of use to anyone else.
_PROFILE = CertificateProfile(timedelta(minutes=10))


class ProbeClient(StrEnum):
    """A client of a probe, in the words of a finding."""

    PLAINTEXT = "plaintext"
    NO_CERTIFICATE = "a client without a certificate"
    FOREIGN = "a certificate from another CA"
    MEMBER = "a certificate from this cluster's CA"

    @property
    def id(self) -> str:
        """The client as part of a finding's id."""
        return self.name.lower().replace("_", "-")


def probe_clients(
    cluster: Cluster, pod: LivePod, seed: Seed | None, now: datetime
) -> Mapping[ProbeClient, ssl.SSLContext | None]:
    """The TLS context of each client: None for plaintext, and no member without a seed.

    Keys and certificates stay in memory and expire in ten minutes. Only the member verifies the
    server's certificate. The intruders test how the server behaves, so they accept any certificate.
    """
    foreign = cluster_authority(Generation(now, secrets.token_bytes(SEED_BYTES)), cluster)
    contexts = {
        ProbeClient.PLAINTEXT: None,
        ProbeClient.NO_CERTIFICATE: _context(),
        ProbeClient.FOREIGN: _context(_credentials(foreign, cluster, pod, now)),
    }
    if seed:
        trust = Authorities(seed).of(cluster)
        member = _context(_credentials(trust.authority, cluster, pod, now) + trust.chain)
        member.load_verify_locations(cadata=trust.bundle.decode())
        member.verify_mode, member.check_hostname = ssl.CERT_REQUIRED, True
        contexts[ProbeClient.MEMBER] = member
    return contexts


def https_stranger() -> ssl.SSLContext:
    """The TLS context of a stranger that speaks HTTP, and accepts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _context(credentials: bytes = b"") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # A gRPC server closes the connection if the client does not offer HTTP/2.
    context.set_alpn_protocols(["h2"])
    if credentials:
        load_pem(context, credentials)
    return context


def _credentials(authority: Authority, cluster: Cluster, pod: LivePod, now: datetime) -> bytes:
    """Key and certificate (PEM) of a client of this cluster; the certificate names no address."""
    claim = Membership(cluster.name, "", Role.CLIENT)
    identity = identify(
        claim, replace(pod, addresses=()), replace(cluster, ended=False), (), Domains()
    )
    key, serial = ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number()
    validity = _PROFILE.validity(now)
    leaf = authority.issue(key.public_key(), identity.names, usages(Role.CLIENT), validity, serial)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + leaf.public_bytes(Encoding.PEM)
