"""CAs are derived byte for byte alike everywhere, and the certificates that they issue verify."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from certs.authority import Authority, cluster_authority, serving_authority
from certs.identity import Cluster
from certs.profile import SERVER
from certs.seed import Generation
from tests.support.live_objects import GENERATION, START

CLUSTER = Cluster("team-a", "demo", "22222222-0000-4000-8000-000000000002", START)
# SHA-256 of the certificates. If these change, an upgrade replaces every CA that is in use, and
# pods that started before it no longer trust pods that started after it.
KNOWN_CLUSTER = "8336d510972ed8828f065e038f0f9ff18b20df59ea2a3b919a57ecfce9bb0ffa"
KNOWN_OPTED_IN = "130398dcad925ad2b32ae15b8d8e515bf2e5b2f0b809a40d85d35cf0d47a3faa"
KNOWN_SERVING = "9717a92e3cf413e3376e045d9ae98faf445e49cd6633e42f20120a26ebea3e9c"


def leaf(ca: Authority, days: int = 90) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    names = (
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.IPAddress(ip_address("::1")),
    )
    return ca.issue(
        key.public_key(), names, SERVER, (START, START + timedelta(days=days)), serial=7
    )


def digest(authority: Authority) -> str:
    return hashlib.sha256(authority.certificate.public_bytes(Encoding.DER)).hexdigest()


def test_the_derived_cas_match_the_known_digests() -> None:
    assert digest(cluster_authority(GENERATION, CLUSTER)) == KNOWN_CLUSTER
    assert digest(cluster_authority(GENERATION, replace(CLUSTER, opted_in=True))) == KNOWN_OPTED_IN
    assert digest(serving_authority(GENERATION)) == KNOWN_SERVING


def test_another_process_derives_the_same_bytes() -> None:
    program = """
import sys
from datetime import datetime
from certs.authority import cluster_authority
from certs.identity import Cluster
from certs.seed import Generation
namespace, name, uid, created, activated, secret = sys.argv[1:]
generation = Generation(datetime.fromisoformat(activated), bytes.fromhex(secret))
cluster = Cluster(namespace, name, uid, datetime.fromisoformat(created))
sys.stdout.buffer.write(cluster_authority(generation, cluster).pem)
"""
    arguments = [CLUSTER.namespace, CLUSTER.name, CLUSTER.uid, START.isoformat()]
    arguments += [GENERATION.activated.isoformat(), GENERATION.secret.hex()]
    process = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, check=True, timeout=30
    )
    assert process.stdout == cluster_authority(GENERATION, CLUSTER).pem


@pytest.mark.parametrize(
    "other_cluster",
    [
        replace(CLUSTER, namespace="team-b"),
        replace(CLUSTER, name="demo2"),
        replace(CLUSTER, uid="22222222-0000-4000-8000-000000000003"),
        replace(CLUSTER, opted_in=True),
        replace(CLUSTER, namespace="team-ad", name="emo"),
        replace(CLUSTER, namespace="team-", name="ademo"),
    ],
)
def test_any_other_cluster_has_another_key(other_cluster: Cluster) -> None:
    authority = cluster_authority(GENERATION, CLUSTER).certificate
    other_authority = cluster_authority(GENERATION, other_cluster).certificate
    assert authority.public_key() != other_authority.public_key()
    assert authority.serial_number != other_authority.serial_number


def test_any_other_generation_gives_another_key() -> None:
    other = Generation(GENERATION.activated, bytes(32))
    derivations: tuple[Callable[[Generation], Authority], ...] = (
        serving_authority,
        lambda generation: cluster_authority(generation, CLUSTER),
    )
    for derive in derivations:
        assert derive(GENERATION).certificate.public_key() != derive(other).certificate.public_key()


def test_a_cluster_ca_lives_ten_years_from_an_hour_before_its_cluster() -> None:
    certificate = cluster_authority(GENERATION, CLUSTER).certificate
    assert certificate.not_valid_before_utc == START - timedelta(hours=1)
    assert certificate.not_valid_after_utc == START - timedelta(hours=1) + timedelta(days=3650)
    assert certificate.subject.rfc4514_string() == "CN=demo,OU=team-a,O=RayWarden"


def test_cas_whose_names_are_truncated_to_the_same_text_have_different_keys() -> None:
    long = cluster_authority(GENERATION, replace(CLUSTER, name="x" * 80)).certificate
    longer = cluster_authority(GENERATION, replace(CLUSTER, name="x" * 81)).certificate
    assert long.subject == longer.subject
    assert long.public_key() != longer.public_key()


def test_issued_certificates_verify_by_name_and_chain() -> None:
    ca = serving_authority(GENERATION)
    verifier = PolicyBuilder().store(Store([ca.certificate])).time(START + timedelta(days=1))
    for name in (x509.DNSName("localhost"), x509.IPAddress(ip_address("::1"))):
        assert verifier.build_server_verifier(name).verify(leaf(ca), [])
    with pytest.raises(VerificationError):
        verifier.build_server_verifier(x509.DNSName("localhost")).verify(
            leaf(cluster_authority(GENERATION, CLUSTER)), []
        )


def test_a_certificate_never_outlives_its_authority() -> None:
    ca = cluster_authority(GENERATION, CLUSTER)
    assert leaf(ca, days=10_000).not_valid_after_utc == ca.certificate.not_valid_after_utc


def test_an_authority_may_sign_leaf_certificates_only() -> None:
    extensions = cluster_authority(GENERATION, CLUSTER).certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign and not usage.digital_signature


def test_repr_and_str_do_not_show_the_private_key() -> None:
    authority = cluster_authority(GENERATION, CLUSTER)
    shown = repr(authority) + str(authority)
    assert "private" not in shown.lower() and "_key" not in shown


def test_the_time_zone_of_the_creation_time_does_not_change_the_ca() -> None:
    assert START.tzinfo is UTC
    other_zone = replace(CLUSTER, created=datetime.fromisoformat("2026-11-20T10:00:00+02:00"))
    expected = cluster_authority(GENERATION, CLUSTER).pem
    assert cluster_authority(GENERATION, other_zone).pem == expected
