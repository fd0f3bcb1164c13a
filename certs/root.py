"""An organization's own CA can sign the cluster CAs, for clients outside the Ray clusters."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from certs.authority import Authority, key_usage

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

RootKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class RootError(ValueError):
    """The root cannot be used; the message lists everything that is wrong with it."""


class Root:
    """A CA certificate of the organization, with its private key.

    `chain` (PEM) holds the intermediate certificates between a cluster CA and the organization's
    self-signed root, without the root itself.
    """

    def __init__(self, certificates: list[x509.Certificate], key: RootKey) -> None:
        self.certificate, self._key = certificates[0], key
        intermediates = [
            certificate for certificate in certificates if certificate.subject != certificate.issuer
        ]
        self.chain = b"".join(
            certificate.public_bytes(Encoding.PEM) for certificate in intermediates
        )

    @classmethod
    def load(cls, certificates: bytes, key: bytes, now: datetime) -> "Root":
        """Read a root from two PEM files.

        `certificates` is the content of the first: the CA certificate, followed by the certificates
        above it. `key` is the content of the second: the private key, not encrypted.

        Raises RootError unless the CA may sign cluster CAs now.
        """
        try:
            chain = x509.load_pem_x509_certificates(certificates)
        except ValueError:
            raise RootError("the certificate file holds no certificate in PEM form") from None
        try:
            private = load_pem_private_key(key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise RootError("the key file holds no unencrypted private key in PEM form") from None
        if not isinstance(private, RootKey):
            raise RootError("the private key is not an EC, RSA or Ed25519 key")
        problems = (*_problems(chain[0], private, now), *_chain_problems(chain))
        if problems:
            raise RootError("; ".join(problems))
        return cls(chain, private)

    def cross_sign(self, authority: Authority, domains: Iterable[str]) -> bytes:
        """A certificate for a cluster CA's name and key, signed by this root, and `chain` (PEM).

        It is valid only for names below `domains`: an author who may create Services in a
        namespace must not get certificates that the organization trusts for other names. Empty if
        the root expired before the cluster was created.
        """
        cluster_ca = authority.certificate
        not_before = max(cluster_ca.not_valid_before_utc, self.certificate.not_valid_before_utc)
        not_after = min(cluster_ca.not_valid_after_utc, self.certificate.not_valid_after_utc)
        if not_before >= not_after:
            return b""
        permitted = [x509.DNSName(domain) for domain in domains]
        subject_key = cluster_ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            x509.CertificateBuilder()
            .subject_name(cluster_ca.subject)
            .issuer_name(self.certificate.subject)
            .public_key(cluster_ca.public_key())
            .serial_number(self._serial(cluster_ca))
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(sign_certificates=True), critical=True)
            .add_extension(x509.NameConstraints(permitted, None), critical=True)
            .add_extension(subject_key, critical=False)
            .add_extension(_key_identifier(self.certificate), critical=False)
        )
        return self._signed(builder).public_bytes(Encoding.PEM) + self.chain

    def _serial(self, cluster_ca: x509.Certificate) -> int:
        """A serial number that is the same on every replica, and a new one for a renewed root.

        RFC 5280 (4.1.2.2) requires an issuer's serial numbers to be unique and at most 20 octets.
        """
        digest = hashes.Hash(hashes.SHA256())
        digest.update(cluster_ca.fingerprint(hashes.SHA256()))
        digest.update(self.certificate.fingerprint(hashes.SHA256()))
        return int.from_bytes(digest.finalize()[:19]) or 1

    def _signed(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Sign deterministically, so that every replica gets the same bytes."""
        match self._key:
            case ec.EllipticCurvePrivateKey():
                return builder.sign(self._key, hashes.SHA256(), ecdsa_deterministic=True)
            case rsa.RSAPrivateKey():
                return builder.sign(self._key, hashes.SHA256())
            case ed25519.Ed25519PrivateKey():
                return builder.sign(self._key, None)


def _problems(certificate: x509.Certificate, key: RootKey, now: datetime) -> Iterator[str]:
    yield from _weaknesses(key)
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    certified = certificate.public_key().public_bytes(*form)
    if certified != key.public_key().public_bytes(*form):
        yield "the private key does not belong to the first certificate"
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now < end:
        yield f"the first certificate is valid only from {start:%F %T} to {end:%F %T} UTC"
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        yield "the first certificate is not a CA: it lacks basicConstraints or keyUsage"
        return
    if not basic.ca:
        yield "the first certificate is not a CA (basicConstraints)"
    if basic.path_length == 0:
        yield "the path length 0 of the first certificate allows no CA below it"
    if not usage.key_cert_sign:
        yield "the key usage of the first certificate does not allow it to sign certificates"


def _weaknesses(key: RootKey) -> Iterator[str]:
    # NIST SP 800-57 requires at least 2048 bits.
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < 2048:
        yield f"RSA of {key.key_size} bits is too weak"
    if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, _CURVES):
        yield f"curve {key.curve.name} is not supported"


def _chain_problems(chain: list[x509.Certificate]) -> Iterator[str]:
    for number, (below, above) in enumerate(pairwise(chain), start=1):
        issuer = above.subject.rfc4514_string()
        try:
            below.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature):
            yield f"{below.subject.rfc4514_string()} is not issued by {issuer}, which follows it"
        with suppress(x509.ExtensionNotFound):
            basic = above.extensions.get_extension_for_class(x509.BasicConstraints).value
            # `above` has `number` CAs of this file below it, and the cluster CA below those.
            if basic.path_length is not None and basic.path_length <= number:
                yield (
                    f"the path length {basic.path_length} of {issuer} is too short for the CAs "
                    "below it"
                )


def _key_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        subject = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        key = certificate.public_key()
        assert isinstance(
            key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
        )
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject.value)
