"""An organization's own CA above ours: it vouches for cluster CAs to those who verify from outside."""

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
    """The root cannot be used as it is; the message lists everything that is wrong with it."""


class Root:
    """A CA key pair from outside. `chain` (PEM) is what leads from a cluster CA signed by it up to its own root."""

    def __init__(self, certificates: list[x509.Certificate], key: RootKey) -> None:
        self.certificate, self._key = certificates[0], key
        above = [one for one in certificates if one.subject != one.issuer]
        self.chain = b"".join(one.public_bytes(Encoding.PEM) for one in above)

    @classmethod
    def load(cls, certificates: bytes, key: bytes, now: datetime) -> "Root":
        """The root in two PEM files: its certificate, with those above it after it, and its unencrypted key.

        Raises RootError unless it is a CA that may sign the CAs of clusters now.
        """
        try:
            chain = x509.load_pem_x509_certificates(certificates)
        except ValueError:
            raise RootError("no certificate in PEM form") from None
        try:
            private = load_pem_private_key(key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise RootError("no unencrypted private key in PEM form") from None
        if not isinstance(private, RootKey):
            raise RootError("the private key is neither EC, RSA nor Ed25519")
        if problems := (*_problems(chain[0], private, now), *_chain_problems(chain)):
            raise RootError("; ".join(problems))
        return cls(chain, private)

    def cross_sign(self, authority: Authority, domains: Iterable[str]) -> bytes:
        """A certificate for a cluster CA's own name and key, signed by this root, and the chain above it (PEM).

        It is good for names below `domains` alone: who may make Services in a namespace must not get the names of
        others vouched for. Empty where the root ended before the cluster was born.
        """
        theirs = authority.certificate
        not_before = max(theirs.not_valid_before_utc, self.certificate.not_valid_before_utc)
        not_after = min(theirs.not_valid_after_utc, self.certificate.not_valid_after_utc)
        if not_before >= not_after:
            return b""
        permitted = [x509.DNSName(domain) for domain in domains]
        builder = (
            x509.CertificateBuilder()
            .subject_name(theirs.subject)
            .issuer_name(self.certificate.subject)
            .public_key(theirs.public_key())
            .serial_number(self._serial(theirs))
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(sign_certificates=True), critical=True)
            .add_extension(x509.NameConstraints(permitted, None), critical=True)
            .add_extension(
                theirs.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value,
                critical=False,
            )
            .add_extension(_key_identifier(self.certificate), critical=False)
        )
        return self._signed(builder).public_bytes(Encoding.PEM) + self.chain

    def _serial(self, theirs: x509.Certificate) -> int:
        """The same on every replica, and another one once the root was renewed (RFC 5280 4.1.2.2)."""
        digest = hashes.Hash(hashes.SHA256())
        digest.update(
            theirs.fingerprint(hashes.SHA256()) + self.certificate.fingerprint(hashes.SHA256())
        )
        return int.from_bytes(digest.finalize()[:19]) or 1

    def _signed(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Signed so that every replica gets the same bytes."""
        match self._key:
            case ec.EllipticCurvePrivateKey():
                return builder.sign(self._key, hashes.SHA256(), ecdsa_deterministic=True)
            case rsa.RSAPrivateKey():
                return builder.sign(self._key, hashes.SHA256())
            case ed25519.Ed25519PrivateKey():
                return builder.sign(self._key, None)


def _problems(certificate: x509.Certificate, key: RootKey, now: datetime) -> Iterator[str]:
    public = PublicFormat.SubjectPublicKeyInfo
    yield from _weaknesses(key)
    if certificate.public_key().public_bytes(Encoding.DER, public) != key.public_key().public_bytes(
        Encoding.DER, public
    ):
        yield "the private key is not that of the first certificate"
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        yield f"it is valid from {start:%F %T} to {end:%F %T} UTC"
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        yield "it does not say that it is a CA (basicConstraints and keyUsage)"
        return
    if not basic.ca:
        yield "it is no CA certificate"
    if basic.path_length == 0:
        yield "its path length 0 allows no CA below it"
    if not usage.key_cert_sign:
        yield "its key usage does not allow to sign certificates"


def _weaknesses(key: RootKey) -> Iterator[str]:
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
            length = above.extensions.get_extension_for_class(
                x509.BasicConstraints
            ).value.path_length
            if length is not None and length <= number:
                yield f"the path length {length} of {issuer} is too short for what is below it"


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
