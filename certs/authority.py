"""Certificate authorities derived from the seed, byte for byte the same on every replica, and what they issue."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certs.identity import Cluster
from certs.profile import AUTHORITY_LIFETIME, BACKDATED, PublicKey
from certs.seed import Generation, Seed

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
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @cached_property
    def _template(self) -> x509.CertificateBuilder:
        """What all its certificates have in common. Their subject is empty, so that the names have to be critical."""
        subject = self.certificate.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        ).value
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(sign_certificates=False), critical=True)
            .add_extension(identifier, critical=False)
        )

    def issue(
        self,
        public_key: PublicKey,
        names: Iterable[x509.GeneralName],
        usages: x509.ExtendedKeyUsage,
        validity: tuple[datetime, datetime],
        serial: int,
    ) -> x509.Certificate:
        """A certificate for `public_key` that holds `names` (RFC 5280 4.2.1.6) and never outlives its authority."""
        not_before, not_after = validity
        builder = (
            self._template.public_key(public_key)
            .serial_number(serial)
            .not_valid_before(not_before)
            .not_valid_after(min(not_after, self.certificate.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(usages, critical=False)
        )
        return builder.sign(self._key, hashes.SHA256(), ecdsa_deterministic=True)


def serving_authority(generation: Generation) -> Authority:
    """The CA behind our own ports: what webhook configurations carry as `caBundle` and pods trust for enrollment."""
    name = _name((NameOID.COMMON_NAME, "RayWarden serving CA"))
    return _derive(generation, ("serving",), name, generation.activated)


def serving_bundle(seed: Seed) -> bytes:
    """What clients of our own ports must trust (PEM): the serving CA of every generation, oldest first."""
    return b"".join(serving_authority(generation).pem for generation in seed.generations)


def cluster_authority(generation: Generation, cluster: Cluster) -> Authority:
    """The CA of one Ray cluster. To be signed by it *is* to be a member: Ray asks nothing else of a certificate."""
    purpose = "opted-in" if cluster.opted_in else "cluster"
    name = _name(
        (NameOID.ORGANIZATION_NAME, "RayWarden"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, cluster.namespace),
        (NameOID.COMMON_NAME, cluster.name),
    )
    return _derive(
        generation, (purpose, cluster.namespace, cluster.name, cluster.uid), name, cluster.created
    )


def _derive(
    generation: Generation, info: tuple[str, ...], name: x509.Name, since: datetime
) -> Authority:
    """The authority that `generation` gives for `info`; equal arguments give equal bytes.

    Key: HKDF-SHA256 (RFC 5869) reduced to a scalar as in FIPS 186-5 A.2.1; signature: deterministic ECDSA (RFC 6979).
    """
    key = ec.derive_private_key(_scalar(_expand(generation, 48, info)), _CURVE)
    serial = int.from_bytes(_expand(generation, _SERIAL_BYTES, (*info, "serial"))) or 1
    start = since - BACKDATED
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(start + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True), key)


def _name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    # RFC 5280 (appendix A.1) allows 64 characters in each; a name cut short is still told apart by its key.
    return x509.Name([x509.NameAttribute(oid, text[:64]) for oid, text in attributes])


def _expand(generation: Generation, length: int, info: tuple[str, ...]) -> bytes:
    """`length` bytes of HKDF output; each part of `info` is preceded by its length, so that no two lists look alike."""
    encoded = b"".join(len(part).to_bytes(4) + part for part in (text.encode() for text in info))
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=_SALT, info=encoded).derive(
        generation.secret
    )


def _scalar(material: bytes) -> int:
    """A private scalar in [1, n-1] from 48 bytes: 128 bits more than the order, so the bias cannot be seen."""
    return int.from_bytes(material) % (_ORDER - 1) + 1


def key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    """The key usage of an authority, or of what it issues."""
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
