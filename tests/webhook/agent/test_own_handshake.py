"""Which certificates the init container's program accepts."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.authority import key_usage
from webhook.agent.key import PodKey
from webhook.agent.own_handshake import verify
from webhook.agent.signer_client import EnrollError

ADDRESS = "10.0.0.1"
CA_KEY = ec.generate_private_key(ec.SECP256R1())
CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca of the test")])
NOW = datetime.now(UTC)
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def authority(key: ec.EllipticCurvePrivateKey) -> str:
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    builder = _builder(key.public_key()).subject_name(CA_NAME).add_extension(constraints, True)
    usage = key_usage(sign_certificates=True)
    return _pem(builder.add_extension(usage, True), key)


def _builder(
    key: ec.EllipticCurvePublicKey, ends: datetime | None = None
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(CA_NAME)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=2))
        .not_valid_after(ends or NOW + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
    )


def _pem(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> str:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(CA_KEY.public_key())
    signed = builder.add_extension(issuer, False).sign(key, hashes.SHA256())
    return signed.public_bytes(Encoding.PEM).decode()


CA = authority(CA_KEY)


class Pod:
    """A pod with a key, which gets certificates."""

    def __init__(self, folder: Path) -> None:
        self._chain, self._key = folder / "tls.crt", folder / "tls.key"
        own = PodKey()
        self._key.write_text(own.pkcs8())
        key = load_pem_private_key(own.pkcs8().encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._public = key.public_key()

    def verify(
        self,
        bundle: str = CA,
        address: str = ADDRESS,
        ends: datetime | None = None,
        usages: Sequence[x509.ObjectIdentifier] = BOTH,
        expected: str = ADDRESS,
    ) -> str:
        builder = _builder(self._public, ends).subject_name(x509.Name([]))
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        extended = x509.ExtendedKeyUsage(usages)
        leaf = builder.add_extension(names, True).add_extension(extended, False)
        return self.verify_chain(_pem(leaf, CA_KEY), bundle, expected)

    def verify_chain(self, chain: str, bundle: str = CA, expected: str = ADDRESS) -> str:
        self._chain.write_text(chain)
        return verify(str(self._chain), str(self._key), bundle, ip_address(expected))


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_a_certificate_of_the_ca_is_accepted(pod: Pod) -> None:
    assert str(NOW.year) in pod.verify(ends=NOW.replace(month=12, day=31) + timedelta(hours=1))


def test_several_cas_may_be_in_the_bundle(pod: Pod) -> None:
    other = authority(ec.generate_private_key(ec.SECP256R1()))
    assert pod.verify(bundle=other + CA)


def test_a_pod_that_only_connects_gets_a_certificate_for_that_alone(pod: Pod) -> None:
    assert pod.verify(usages=[ExtendedKeyUsageOID.CLIENT_AUTH])


def test_a_certificate_for_servers_alone_is_refused(pod: Pod) -> None:
    with pytest.raises(EnrollError, match=r"does not verify .*: unsuitable certificate purpose"):
        pod.verify(usages=[ExtendedKeyUsageOID.SERVER_AUTH])


def test_an_address_of_either_family_is_found(pod: Pod) -> None:
    assert pod.verify(address="fd00::1", expected="fd00::1")
    with pytest.raises(EnrollError, match="does not contain this pod's IP address fd00::2"):
        pod.verify(address="fd00::1", expected="fd00::2")


def test_another_ca_is_refused(pod: Pod) -> None:
    with pytest.raises(EnrollError, match="does not verify against its CA bundle: "):
        pod.verify(bundle=authority(ec.generate_private_key(ec.SECP256R1())))


def test_an_expired_certificate_is_refused(pod: Pod) -> None:
    with pytest.raises(EnrollError, match="CA bundle: certificate has expired"):
        pod.verify(ends=NOW - timedelta(days=1))


def test_another_address_is_refused(pod: Pod) -> None:
    with pytest.raises(EnrollError, match=r"does not contain this pod's IP address 10\.0\.0\.1"):
        pod.verify(address="10.0.0.2")


@pytest.mark.parametrize("bundle", ["", "no PEM", "é", CA[:100]], ids=["empty", "text", "é", "cut"])
def test_a_bundle_that_cannot_be_read_is_refused(pod: Pod, bundle: str) -> None:
    with pytest.raises(EnrollError, match="cannot be read"):
        pod.verify(bundle=bundle)


@pytest.mark.parametrize("chain", ["", "no PEM", CA[:100]], ids=["empty", "text", "cut"])
def test_a_chain_that_cannot_be_read_is_refused(pod: Pod, chain: str) -> None:
    with pytest.raises(EnrollError, match="cannot be read"):
        pod.verify_chain(chain)


def test_the_certificate_of_another_key_is_refused(pod: Pod) -> None:
    with pytest.raises(EnrollError, match="belongs to another key"):
        pod.verify_chain(CA)
