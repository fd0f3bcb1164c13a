"""Certificate signing requests: which public keys are accepted, and why others are refused."""

import base64
import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from certs.csr import CsrError, public_key
from tests.support.openssl import needs_openssl

P256 = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ignored")])


def request(key: Any, algorithm: Any = None, *extensions: x509.ExtensionType) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(NAME)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, algorithm or hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    "key",
    [P256, ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=["P-256", "P-384", "RSA-2048"],
)
def test_keys_that_ray_can_use_are_accepted(key: Any) -> None:
    assert public_key(request(key)) == key.public_key()


@pytest.mark.parametrize(
    "algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()], ids=lambda a: a.name
)
def test_every_sha_2_hash_is_accepted(algorithm: hashes.HashAlgorithm) -> None:
    assert public_key(request(P256, algorithm)) == P256.public_key()


@pytest.mark.parametrize(
    ("key", "algorithm", "problem"),
    [
        (
            ec.generate_private_key(ec.SECP521R1()),
            None,
            "curve secp521r1 is not supported; use EC P-256 or P-384",
        ),
        (ec.generate_private_key(ec.SECP256K1()), None, "curve secp256k1 is not supported"),
        (ec.generate_private_key(ec.SECP224R1()), None, "curve secp224r1 is not supported"),
        (rsa.generate_private_key(65537, 1024), None, "RSA of 1024 bits is not supported"),
        (rsa.generate_private_key(3, 2048), None, "the RSA exponent is not 65537"),
        (dsa.generate_private_key(2048), None, "DSA keys are not supported"),
    ],
    ids=["P-521", "K-256", "P-224", "RSA-1024", "RSA-e3", "DSA"],
)
def test_keys_that_are_weak_or_that_ray_cannot_use_are_refused(
    key: Any, algorithm: Any, problem: str
) -> None:
    with pytest.raises(CsrError, match=problem):
        public_key(request(key, algorithm))


@pytest.mark.parametrize(
    "key", [ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()]
)
def test_edwards_keys_are_refused(key: Any) -> None:
    pem = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(NAME)
        .sign(key, None)
        .public_bytes(Encoding.PEM)
    )
    expected = r"^Ed(25519|448) keys are not supported; use EC P-256 or P-384, or RSA"
    with pytest.raises(CsrError, match=expected):
        public_key(pem)


def test_the_sender_must_hold_the_private_key() -> None:
    der = bytearray(x509.load_pem_x509_csr(request(P256)).public_bytes(Encoding.DER))
    der[-1] ^= 1
    pem = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(CsrError, match=r"^the CSR's signature does not match its public key$"):
        public_key(pem)


def test_the_error_lists_every_problem() -> None:
    alternative = x509.SubjectAlternativeName(
        [x509.DNSName("victim-head-svc"), x509.IPAddress(ip_address("10.0.0.1"))]
    )
    weak = request(rsa.generate_private_key(3, 1024), None, alternative)
    with pytest.raises(CsrError) as raised:
        public_key(weak)
    starts = [" ".join(problem.split()[:3]) for problem in raised.value.problems]
    assert starts == ["RSA of 1024", "the RSA exponent", "the CSR requests"]
    assert "leave them out, RayWarden derives names and usages" in raised.value.problems[-1]
    assert "victim" not in str(raised.value)


def test_a_request_for_a_ca_certificate_is_refused() -> None:
    with pytest.raises(CsrError, match="the CSR requests extensions"):
        public_key(request(P256, None, x509.BasicConstraints(ca=True, path_length=None)))


@needs_openssl
def test_a_request_made_by_openssl_is_accepted(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("key", "csr")]
    command = [
        "openssl",
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]
    subprocess.run(
        [*command, "-subj", "/", "-keyout", files[0], "-out", files[1]],
        check=True,
        capture_output=True,
    )
    assert isinstance(public_key(Path(files[1]).read_bytes()), ec.EllipticCurvePublicKey)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"x",
        b"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
        b"\xff" * 100,
    ],
)
def test_malformed_requests_are_refused(nonsense: bytes) -> None:
    with pytest.raises(CsrError, match=r"^the CSR is not a PKCS #10 request in PEM form"):
        public_key(nonsense)


VALID = x509.load_pem_x509_csr(request(P256)).public_bytes(Encoding.DER)


def test_a_request_of_another_version_is_refused() -> None:
    der = bytearray(VALID)
    der[der.index(b"\x02\x01\x00") + 2] = 1
    with pytest.raises(CsrError, match="the CSR is not a PKCS #10 request"):
        public_key(in_pem(bytes(der)))


def test_the_signature_is_not_verified_if_the_key_is_refused() -> None:
    refused = rsa.generate_private_key(3, 1024)
    der = bytearray(x509.load_pem_x509_csr(request(refused)).public_bytes(Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(CsrError) as raised:
        public_key(in_pem(bytes(der)))
    assert not any("signature" in problem for problem in raised.value.problems)


@given(st.data())
def test_a_corrupted_request_raises_nothing_but_csr_errors(data: st.DataObject) -> None:
    der = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(der) - 1))
        der[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    body = in_pem(bytes(der))
    try:
        key = public_key(body)
    except CsrError as error:
        assert error.problems and all(problem.isprintable() for problem in error.problems)
    else:
        assert key == P256.public_key()


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_raise_nothing_but_csr_errors(text: bytes) -> None:
    with pytest.raises(CsrError):
        public_key(text)


def in_pem(der: bytes) -> bytes:
    lines = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + lines + b"-----END CERTIFICATE REQUEST-----\n"
