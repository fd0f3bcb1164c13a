"""An organization's own root is validated before use and never part of a cluster's CA bundle."""

import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from certs.authority import key_usage
from certs.cache import Authorities
from certs.identity import Cluster
from certs.profile import SERVER
from certs.root import Root, RootError
from tests.support.live_objects import NOW, SEED, START
from tests.support.openssl import needs_openssl

DOMAINS = ("team-a.svc", "localhost")
CLUSTER = Cluster("team-a", "demo", "uid", START)
KEY = ec.generate_private_key(ec.SECP384R1())
WEAK, KOBLITZ = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256K1())


def certificate(
    key: Any = KEY,
    *,
    ca: bool | None = True,
    path_length: int | None = None,
    signs: bool = True,
    end: datetime = NOW + timedelta(days=900),
    identified: bool = True,
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Corp Root")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=900))
        .not_valid_after(end)
    )
    if ca is not None:
        builder = builder.add_extension(
            x509.BasicConstraints(ca, path_length if ca else None), critical=True
        )
        builder = builder.add_extension(key_usage(sign_certificates=signs), critical=True)
    if identified:
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


def private(key: Any = KEY, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def verify(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `openssl verify` on the files `leaf` and `chain` in `folder`."""
    command = ["openssl", "verify", "-attime", str(int(NOW.timestamp())), *options]
    return subprocess.run(
        [*command, "-untrusted", "chain", "leaf"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("certificates", "key", "problem"),
    [
        (b"", private(), "the certificate file holds no certificate in PEM form"),
        (certificate(), b"", "the key file holds no unencrypted private key in PEM form"),
        (certificate(), private(password=b"x"), "no unencrypted private key"),
        (
            certificate(),
            private(dsa.generate_private_key(2048)),
            "is not an EC, RSA or Ed25519 key",
        ),
        (
            certificate(),
            private(ec.generate_private_key(ec.SECP256R1())),
            "the private key does not belong to the first",
        ),
        (certificate(end=NOW - timedelta(days=1)), private(), "is valid only from 2024-06-03"),
        (
            certificate(path_length=0),
            private(),
            "the path length 0 of the first certificate allows no CA",
        ),
        (certificate(signs=False), private(), "the key usage .* does not allow it to sign"),
        (certificate(ca=False), private(), "is not a CA .basicConstraints.$"),
        (certificate(ca=None), private(), "is not a CA: it lacks basicConstraints or keyUsage"),
        (
            certificate(ca=False, signs=False),
            private(),
            "not a CA .basicConstraints.; the key usage",
        ),
        (certificate(WEAK), private(WEAK), "RSA of 1024 bits is too weak"),
        (certificate(KOBLITZ), private(KOBLITZ), "curve secp256k1 is not supported"),
        (
            certificate() + certificate(WEAK),
            private(),
            "is not issued by CN=Example Corp Root, which follows it",
        ),
    ],
)
def test_an_unusable_root_is_refused_with_every_reason(
    certificates: bytes, key: bytes, problem: str
) -> None:
    with pytest.raises(RootError, match=problem) as raised:
        Root.load(certificates, key, NOW)
    assert "PRIVATE KEY" not in str(raised.value)


@needs_openssl
@pytest.mark.parametrize(
    "key",
    [KEY, rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()],
    ids=["EC", "RSA", "Ed25519"],
)
@pytest.mark.parametrize("identified", [True, False])
def test_clients_outside_verify_up_to_the_root_and_pods_trust_only_their_cluster(
    tmp_path: Path, key: Any, identified: bool
) -> None:
    root = Root.load(certificate(key, identified=identified), private(key), NOW)
    trust, again = (Authorities(SEED, root).of(CLUSTER) for _ in range(2))
    assert trust.chain == again.chain, "replicas sign different bytes"
    assert trust.bundle == Authorities(SEED).of(CLUSTER).bundle, "the root is in the bundle"
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    validity = (NOW - timedelta(hours=1), NOW + timedelta(days=30))
    leaf = trust.authority.issue(
        leaf_key.public_key(), [x509.DNSName("demo-head-svc.team-a.svc")], SERVER, validity, 5
    )
    files = {"leaf": leaf.public_bytes(Encoding.PEM), "chain": trust.chain, "inside": trust.bundle}
    files["outside"] = certificate(key, identified=identified)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for anchor in ("inside", "outside"):
        process = verify(tmp_path, "-purpose", "sslserver", "-CAfile", anchor)
        assert process.stdout == "leaf: OK\n", process.stderr


@needs_openssl
@pytest.mark.parametrize(
    "name", ["intranet", "mail.dev", "demo-head-svc.team-b.svc", "team-a.svc.example.com"]
)
def test_a_cluster_ca_below_the_root_is_limited_to_names_of_its_namespace(
    tmp_path: Path, name: str
) -> None:
    trust = Authorities(SEED, Root.load(certificate(), private(), NOW)).of(CLUSTER)
    key = ec.generate_private_key(ec.SECP256R1())
    validity = (NOW - timedelta(hours=1), NOW + timedelta(days=30))
    leaf = trust.authority.issue(key.public_key(), [x509.DNSName(name)], SERVER, validity, 5)
    (tmp_path / "leaf").write_bytes(leaf.public_bytes(Encoding.PEM))
    (tmp_path / "chain").write_bytes(trust.chain)
    (tmp_path / "root").write_bytes(certificate())
    process = verify(tmp_path, "-CAfile", "root")
    assert process.returncode != 0
    assert "permitted subtree violation" in process.stdout + process.stderr


def test_a_cluster_created_after_the_root_expired_still_gets_its_bundle() -> None:
    late = Cluster("team-a", "late", "uid", NOW + timedelta(days=1000))
    trust = Authorities(SEED, Root.load(certificate(), private(), NOW)).of(late)
    assert (trust.chain, bool(trust.bundle)) == (b"", True)


def test_a_renewed_root_gives_other_serials() -> None:
    authority = Authorities(SEED).of(CLUSTER).authority

    def root(days: int) -> Root:
        return Root.load(certificate(end=NOW + timedelta(days=days)), private(), NOW)

    def serial(root: Root) -> int:
        return x509.load_pem_x509_certificate(root.cross_sign(authority, DOMAINS)).serial_number

    old, renewed = root(days=100), root(days=200)
    assert serial(old) == serial(old) != serial(renewed)


def test_a_chain_whose_path_length_is_too_short_is_refused() -> None:
    upper = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Corp Root")])
    above = x509.load_pem_x509_certificate(certificate(upper, path_length=1))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Intermediate")]))
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(2)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(key_usage(sign_certificates=True), critical=True)
    )
    chain = [builder.sign(upper, hashes.SHA256()), above]
    pem = b"".join(link.public_bytes(Encoding.PEM) for link in chain)
    with pytest.raises(RootError, match="the path length 1 of CN=Example Corp Root is too short"):
        Root.load(pem, private(), NOW)


def test_a_cross_signed_ca_does_not_outlive_the_root() -> None:
    root = Root.load(certificate(), private(), NOW)
    (signed,) = x509.load_pem_x509_certificates(Authorities(SEED, root).of(CLUSTER).chain)
    assert signed.not_valid_after_utc == root.certificate.not_valid_after_utc
    assert signed.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_the_chain_leads_up_to_the_root_and_does_not_include_it() -> None:
    above = Root.load(certificate(), private(), NOW)
    middle = Authorities(SEED, above).of(CLUSTER).authority
    signed = x509.load_pem_x509_certificates(above.cross_sign(middle, DOMAINS))
    intermediate = signed[0].public_bytes(Encoding.PEM)
    assert above.chain == b""
    both = Root([*x509.load_pem_x509_certificates(intermediate + certificate())], KEY)
    assert both.chain == intermediate
