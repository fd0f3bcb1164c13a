"""What a person's request may name: one cluster, in one form, and nothing else."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from certs.client import ClusterName, requested_cluster
from certs.csr import CsrError

KEY = ec.generate_private_key(ec.SECP256R1())
NAMES = {
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "L": NameOID.LOCALITY_NAME,
}


def attributes(*pairs: tuple[str, str]) -> list[x509.NameAttribute[str]]:
    return [x509.NameAttribute(NAMES[name], value) for name, value in pairs]


def csr(subject: x509.Name, *names: x509.GeneralName, key: object = KEY) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        extension = x509.SubjectAlternativeName(names)
        builder = builder.add_extension(extension, critical=False)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    "name",
    [
        ClusterName("ml", "train"),
        ClusterName("ml", "train", opted_in=True),
        ClusterName("n" * 63, "c" * 63),
        ClusterName("0", "Label_value.1", opted_in=True),
    ],
    ids=str,
)
def test_the_subject_of_a_name_is_read_back(name: ClusterName) -> None:
    assert requested_cluster(csr(name.subject)) == (name, KEY.public_key())


@pytest.mark.parametrize(
    "pairs",
    [
        (),
        (("CN", "ml/train"),),
        (("OU", "ml"), ("CN", "train")),
        (("O", "ray"), ("CN", "train"), ("OU", "ml")),
        (("O", "ray"), ("OU", "ml"), ("CN", "train"), ("CN", "other")),
        (("O", "ray"), ("OU", "ml"), ("CN", "train"), ("L", "here")),
        (("O", "Ray"), ("OU", "ml"), ("CN", "train")),
        (("O", "system:masters"), ("OU", "ml"), ("CN", "train")),
        (("O", "ray"), ("OU", "ML"), ("CN", "train")),
        (("O", "ray"), ("OU", "ml\n"), ("CN", "train")),
        (("O", "ray"), ("OU", "m" * 64), ("CN", "train")),
        (("O", "ray"), ("OU", "ml"), ("CN", "../train")),
        (("O", "ray"), ("OU", "ml"), ("CN", "train/x")),
        (("O", "ray"), ("OU", "ml"), ("CN", "-train")),
        (("O", "ray"), ("OU", "ml"), ("CN", "train\u0430")),
        (("O", "ray"), ("OU", "ml"), ("CN", "t\u0000rain")),
    ],
)
def test_other_subjects_are_refused(pairs: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(CsrError, match="its subject must be O=ray, OU=NAMESPACE, CN=CLUSTER"):
        requested_cluster(csr(x509.Name(attributes(*pairs))))


def test_attributes_in_one_rdn_have_no_order_and_are_refused() -> None:
    # DER sorts them by length, so these two have the expected order.
    first = x509.RelativeDistinguishedName(attributes(("O", "ray"), ("OU", "longer")))
    last = x509.RelativeDistinguishedName(attributes(("CN", "train")))
    with pytest.raises(CsrError, match="names no cluster"):
        requested_cluster(csr(x509.Name([first, last])))


def test_names_that_a_server_could_use_are_refused() -> None:
    subject = ClusterName("ml", "train").subject
    for name in (x509.DNSName("train-head-svc"), x509.DNSName("localhost")):
        with pytest.raises(CsrError, match="the CSR requests extensions"):
            requested_cluster(csr(subject, name))


def test_a_huge_request_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(CsrError, match="larger than 8192 bytes"):
        requested_cluster(b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"A" * 10_000_000)


def test_weak_keys_and_stolen_requests_are_refused() -> None:
    subject = ClusterName("ml", "train").subject
    with pytest.raises(CsrError, match="RSA of 1024 bits"):
        requested_cluster(csr(subject, key=rsa.generate_private_key(65537, 1024)))
    der = bytearray(x509.load_pem_x509_csr(csr(subject)).public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(CsrError, match="signature does not match"):
        requested_cluster(forged)


VALID = x509.load_pem_x509_csr(csr(ClusterName("ml", "train").subject)).public_bytes(Encoding.DER)


@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=6))
def test_damaged_requests_are_refused_or_name_the_same_cluster(
    changes: list[tuple[int, int]],
) -> None:
    """Only the holder of the key can write another name."""
    der = bytearray(VALID)
    for place, value in changes:
        der[place] = value
    body = base64.encodebytes(bytes(der)).decode()
    pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"
    try:
        name, key = requested_cluster(pem.encode())
    except CsrError:
        return
    assert (name, key) == (ClusterName("ml", "train"), KEY.public_key())


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(NAMES)), st.text(min_size=1, max_size=64)), max_size=5
    )
)
def test_any_subject_is_refused_or_read_exactly(pairs: list[tuple[str, str]]) -> None:
    try:
        subject = x509.Name(attributes(*pairs))
        pem = csr(subject)
    except ValueError:
        return
    try:
        name, _ = requested_cluster(pem)
    except CsrError:
        return
    assert name.is_valid and name.subject == subject


@given(st.binary(max_size=300))
def test_bytes_that_are_no_request_are_refused(content: bytes) -> None:
    with pytest.raises(CsrError):
        requested_cluster(content)
