"""Certificates and keys for the servers of a test run."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


class Pki:
    """A CA in a folder: `ca.crt`, and `NAME.crt` and `NAME.key` for each certificate it issued."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA for tests")])
        builder = self._builder(self._name, self._key.public_key())
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        certificate = builder.add_extension(constraints, critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(certificate.public_bytes(Encoding.PEM))

    def certify(
        self,
        name: str,
        organization: str = "",
        address: str = "127.0.0.1",
        host: str = "",
        *,
        now: datetime | None = None,
    ) -> tuple[Path, Path]:
        """Issue a certificate for client and server; returns its file and that of its key.

        It is valid from a day before `now` to a day after it.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if organization:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        alternatives: list[x509.GeneralName] = [x509.IPAddress(ip_address(address))]
        if host:
            alternatives.append(x509.DNSName(host))
        names = x509.SubjectAlternativeName(alternatives)
        subject = x509.Name(attributes)
        builder = self._builder(subject, key.public_key(), now).add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        certificate_file = self.folder / f"{name}.crt"
        key_file = write_key(self.folder / f"{name}.key", key)
        certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        return certificate_file, key_file

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime | None = None
    ) -> x509.CertificateBuilder:
        now = now or datetime.now(UTC)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        )
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - _DAY)
        return builder.not_valid_after(now + _DAY)


def write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    """Write a private key to a file that only its owner may read."""
    file.touch(mode=0o600)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


def signing_keys(folder: Path) -> tuple[Path, Path]:
    """A key pair that signs service account tokens: the private and the public file."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = folder / "tokens.pub"
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return write_key(folder / "tokens.key", key), public
