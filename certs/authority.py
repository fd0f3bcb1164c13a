"""Certificate authorities derived from the seed, byte for byte the same on every replica, and what they issue."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.seed import Generation

_SALT = b"raywarden/v1"
_CURVE = ec.SECP256R1()
# The order of P-256 (FIPS 186-5, SP 800-186 3.2.1.3).
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# X.509 serials are positive and at most 20 octets (RFC 5280 4.1.2.2).
_SERIAL_BYTES = 19


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its certificate, and the key only this process holds."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        public_key: ec.EllipticCurvePublicKey,
        names: Iterable[str | IPv4Address | IPv6Address],
        not_before: datetime,
        not_after: datetime,
        serial: int,
    ) -> x509.Certificate:
        """A server certificate for `public_key` that holds `names` (DNS names and addresses) and never outlives its CA.

        The subject is empty, so the alternative names are critical (RFC 5280 4.2.1.6).
        """
        general = [x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name) for name in names]
        issuer_key = self.certificate.public_key()
        assert isinstance(issuer_key, ec.EllipticCurvePublicKey)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(serial)
            .not_valid_before(not_before)
            .not_valid_after(min(not_after, self.certificate.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName(general), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256(), ecdsa_deterministic=True)


def derive(
    generation: Generation,
    purpose: str,
    parts: Iterable[str],
    common_name: str,
    not_before: datetime,
    not_after: datetime,
) -> Authority:
    """The authority that `generation` gives for `purpose` and `parts`; equal arguments give equal bytes.

    Key: HKDF-SHA256 (RFC 5869) reduced to a scalar as in FIPS 186-5 A.2.1; signature: deterministic ECDSA (RFC 6979).
    """
    parts = tuple(parts)
    key = ec.derive_private_key(_scalar(_expand(generation, 48, purpose, *parts)), _CURVE)
    serial = int.from_bytes(_expand(generation, _SERIAL_BYTES, purpose, *parts, "serial")) or 1
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True), key)


def _expand(generation: Generation, length: int, *info: str) -> bytes:
    """`length` bytes of HKDF output; each part of `info` is preceded by its length, so that no two lists look alike."""
    encoded = b"".join(len(part).to_bytes(4) + part for part in (text.encode() for text in info))
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=_SALT, info=encoded).derive(generation.secret)


def _scalar(material: bytes) -> int:
    """A private scalar in [1, n-1] from 48 bytes: 128 bits more than the order, so the bias cannot be seen."""
    return int.from_bytes(material) % (_ORDER - 1) + 1


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
