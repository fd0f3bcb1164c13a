"""Who dials a cluster's ports in a probe: nobody in particular, a stranger, a member made for the occasion."""

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

# Long enough for a probe, too short for anything else.
_PROFILE = CertificateProfile(timedelta(minutes=10))


class ProbeClient(StrEnum):
    """Who dials."""

    PLAINTEXT = "plaintext"
    NOBODY = "a client without certificate"
    STRANGER = "a certificate of a stranger's CA"
    MEMBER = "a certificate of this cluster"


def callers(
    cluster: Cluster, pod: LivePod, seed: Seed | None, now: datetime
) -> Mapping[ProbeClient, ssl.SSLContext | None]:
    """How each caller dials, None for plaintext; without a seed there is no member.

    Keys and certificates are in memory alone, and end in ten minutes. Only the member looks at what it meets: the
    others are there for what the server does.
    """
    stranger = cluster_authority(Generation(now, secrets.token_bytes(SEED_BYTES)), cluster)
    found = {
        ProbeClient.PLAINTEXT: None,
        ProbeClient.NOBODY: _context(),
        ProbeClient.STRANGER: _context(_credentials(stranger, cluster, pod, now)),
    }
    if seed:
        trust = Authorities(seed).of(cluster)
        member = _context(_credentials(trust.authority, cluster, pod, now) + trust.chain)
        member.load_verify_locations(cadata=trust.bundle.decode())
        member.verify_mode, member.check_hostname = ssl.CERT_REQUIRED, True
        found[ProbeClient.MEMBER] = member
    return found


def _context(credentials: bytes = b"") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # gRPC hangs up on whoever does not offer it.
    context.set_alpn_protocols(["h2"])
    if credentials:
        load_pem(context, credentials)
    return context


def _credentials(authority: Authority, cluster: Cluster, pod: LivePod, now: datetime) -> bytes:
    """Key and certificate (PEM) of a client of this cluster, which holds no address."""
    claim = Membership(cluster.name, "", Role.CLIENT)
    identity = identify(
        claim, replace(pod, addresses=()), replace(cluster, ended=False), (), Domains()
    )
    key, serial = ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number()
    validity = _PROFILE.validity(now)
    leaf = authority.issue(key.public_key(), identity.names, usages(Role.CLIENT), validity, serial)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + leaf.public_bytes(Encoding.PEM)
