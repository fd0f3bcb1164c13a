"""Derivation and issuing: the same bytes everywhere, and certificates OpenSSL accepts."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store

from certs.authority import Authority, derive
from certs.seed import Generation
from webhook.serving import new_generation, serving_authority, serving_context

START = datetime(2026, 11, 20, tzinfo=UTC)
GENERATION = Generation(START, bytes(range(32)))
# sha256 of the certificate below: a change here is a change of every CA that is in use.
KNOWN = "a1949167"


def authority(purpose: str = "serving", *parts: str, generation: Generation = GENERATION) -> Authority:
    return derive(generation, purpose, parts, "Test CA", START, START + timedelta(days=3650))


def leaf(ca: Authority, days: int = 90) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    names = ("localhost", ip_address("127.0.0.1"), ip_address("::1"))
    return ca.issue(key.public_key(), names, START, START + timedelta(days=days), serial=7)


def test_equal_arguments_give_equal_bytes() -> None:
    assert authority().pem == authority().pem


@pytest.mark.parametrize(
    "other",
    [
        authority("cluster"),
        authority("serving", "a"),
        authority("serving", "a", "b"),
        authority("serving", "ab"),
        authority("serving", "", "ab"),
        authority(generation=Generation(START, bytes(32))),
    ],
)
def test_any_other_argument_gives_another_key(other: Authority) -> None:
    assert other.certificate.public_key() != authority().certificate.public_key()
    assert other.certificate.serial_number != authority().certificate.serial_number


def test_parts_cannot_be_shifted_into_each_other() -> None:
    assert authority("p", "ab", "c").pem != authority("p", "a", "bc").pem


def test_what_it_issues_is_verified_by_name_and_chain() -> None:
    ca = authority()
    verifier = PolicyBuilder().store(Store([ca.certificate])).time(START + timedelta(days=1))
    for name in (x509.DNSName("localhost"), x509.IPAddress(ip_address("::1"))):
        assert verifier.build_server_verifier(name).verify(leaf(ca), [])
    with pytest.raises(x509.verification.VerificationError):
        verifier.build_server_verifier(x509.DNSName("localhost")).verify(leaf(authority("other")), [])


def test_nothing_outlives_its_authority() -> None:
    assert leaf(authority(), days=10_000).not_valid_after_utc == authority().certificate.not_valid_after_utc


def test_an_authority_signs_leaves_and_nothing_else() -> None:
    extensions = authority().certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign and not usage.digital_signature


def test_the_secret_shows_nowhere() -> None:
    assert "secret" not in repr(GENERATION)
    assert GENERATION.secret.hex() not in repr(GENERATION)
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        Generation(START, b"abc")


def test_the_serving_context_serves_its_leaf() -> None:
    now = datetime.now(UTC)
    ca = serving_authority(new_generation(now))
    server, client = serving_context(ca, ("localhost",), now), ssl.create_default_context(cadata=ca.pem.decode())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(incoming, outgoing, server_side=True)
    theirs = client.wrap_bio(outgoing, incoming, server_hostname="localhost")
    done = set()
    for _ in range(6):
        for side in (theirs, ours):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    assert done == {ours, theirs}
    assert theirs.version() == "TLSv1.3"


def test_the_known_answer() -> None:
    import hashlib

    assert hashlib.sha256(authority().certificate.public_bytes(Encoding.DER)).hexdigest()[:8] == KNOWN
