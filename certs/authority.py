"""Certificate authorities are derived from the seed: every replica derives the same bytes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache

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
# X.509 serial numbers are positive and at most 20 octets (RFC 5280 4.1.2.2): 19 bytes fit even if
# DER adds a leading zero octet to keep the number positive.
_SERIAL_BYTES = 19


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its certificate, and a key that never leaves this process."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> bytes:
        """The certificate of the CA in PEM form."""
        return self.certificate.public_bytes(Encoding.PEM)

    @cached_property
    def _template(self) -> x509.CertificateBuilder:
        """The fields that all certificates of this CA share.

        Their subject is empty, so RFC 5280 (4.2.1.6) requires the alternative names to be critical.
        """
        extensions = self.certificate.extensions
        subject_key = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)
        constraints = x509.BasicConstraints(ca=False, path_length=None)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .add_extension(_encoded(constraints), critical=True)
            .add_extension(_encoded(key_usage(sign_certificates=False)), critical=True)
            .add_extension(_encoded(issuer_key), critical=False)
        )

    def issue(
        self,
        public_key: PublicKey,
        names: Iterable[x509.GeneralName],
        usages: x509.ExtendedKeyUsage,
        validity: tuple[datetime, datetime],
        serial: int,
    ) -> x509.Certificate:
        """Issue a certificate for `public_key` with `names` as its subject alternative names.

        `validity` is notBefore and notAfter. The certificate never outlives this CA.
        """
        not_before, not_after = validity
        builder = (
            self._template.public_key(public_key)
            .serial_number(serial)
            .not_valid_before(not_before)
            .not_valid_after(min(not_after, self.certificate.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(_encoded(usages), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256(), ecdsa_deterministic=True)


# A cluster's CA has a key identifier of its own, and there are few kinds of usages.
@lru_cache(maxsize=32)
def _encoded(extension: x509.ExtensionType) -> x509.UnrecognizedExtension:
    """The same extension as bytes: a sixth of the time of a certificate goes into encoding them."""
    return x509.UnrecognizedExtension(extension.oid, extension.public_bytes())


def serving_authority(generation: Generation) -> Authority:
    """The CA that signs RayWarden's own server certificate.

    Webhook configurations carry it as `caBundle`; pods trust it when they enroll.
    """
    name = _name((NameOID.COMMON_NAME, "RayWarden serving CA"))
    return _derive(generation, ("serving",), name, generation.activated)


def serving_bundle(seed: Seed) -> bytes:
    """What clients of RayWarden must trust (PEM): every generation's serving CA, oldest first."""
    return b"".join(serving_authority(generation).pem for generation in seed.generations)


def cluster_authority(generation: Generation, cluster: Cluster) -> Authority:
    """The CA of one Ray cluster.

    A certificate signed by this CA *is* membership of the cluster: Ray accepts every peer whose
    certificate this CA has signed, whatever names it holds.
    """
    # Separate derivations: a namespace's opted-in cluster must not get the CA of a RayCluster.
    purpose = "opted-in" if cluster.opted_in else "cluster"
    name = _name(
        (NameOID.ORGANIZATION_NAME, "RayWarden"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, cluster.namespace),
        (NameOID.COMMON_NAME, cluster.name),
    )
    info = (purpose, cluster.namespace, cluster.name, cluster.uid)
    return _derive(generation, info, name, cluster.created)


def _derive(
    generation: Generation, info: tuple[str, ...], name: x509.Name, since: datetime
) -> Authority:
    """Derive the authority for `info` from `generation`; equal arguments give equal bytes.

    The key is HKDF-SHA256 output (RFC 5869), reduced to a scalar as in FIPS 186-5 A.2.1. The
    signature is deterministic ECDSA (RFC 6979).
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
    # RFC 5280 (appendix A.1) allows 64 characters in each attribute. Two CAs whose names are cut to
    # the same text still differ in their keys.
    return x509.Name([x509.NameAttribute(oid, text[:64]) for oid, text in attributes])


def _expand(generation: Generation, length: int, info: tuple[str, ...]) -> bytes:
    """`length` bytes of HKDF output for the generation's secret and `info`.

    Each part of `info` is prefixed with its length. Without the prefix, two clusters whose names
    concatenate to the same text would get the same key.
    """
    parts = [text.encode() for text in info]
    encoded = b"".join(len(part).to_bytes(4) + part for part in parts)
    hkdf = HKDF(algorithm=hashes.SHA256(), length=length, salt=_SALT, info=encoded)
    return hkdf.derive(generation.secret)


def _scalar(material: bytes) -> int:
    """A private scalar in [1, n-1] from 48 bytes.

    That is 128 bits more than the order of the curve, so the bias of the modulo is negligible.
    """
    return int.from_bytes(material) % (_ORDER - 1) + 1


def key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    """The key usage of a CA if `sign_certificates`, otherwise that of a leaf certificate."""
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
