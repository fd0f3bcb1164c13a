"""A forged CA and certificate: the names of real ones, with other keys."""

from collections.abc import Mapping
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_KEYED = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)


class Forger:
    """Creates `tls.crt`, `tls.key` and `ca.crt` that imitate real ones."""

    def __init__(self, model: Mapping[str, bytes]) -> None:
        self._leaf, ca = (
            x509.load_pem_x509_certificate(model[name]) for name in ("tls.crt", "ca.crt")
        )
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._ca = _copied(ca, self._key, self._key)

    def files(self, address: str = "") -> dict[str, bytes]:
        """A certificate with the names of the model, or with `address` instead."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        leaf = _copied(self._leaf, key, self._key, address)
        ca = self._ca.public_bytes(Encoding.PEM)
        return {"tls.crt": leaf.public_bytes(Encoding.PEM), "tls.key": private, "ca.crt": ca}


def _copied(
    model: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    address: str = "",
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(model.subject)
        .issuer_name(model.issuer)
        .serial_number(model.serial_number)
        .not_valid_before(model.not_valid_before_utc)
        .not_valid_after(model.not_valid_after_utc)
        .public_key(key.public_key())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    for extension in model.extensions:
        value = extension.value
        if address and isinstance(value, x509.SubjectAlternativeName):
            names = [x509.IPAddress(ip_address(text)) for text in (address, "127.0.0.1")]
            value = x509.SubjectAlternativeName(names)
        if not isinstance(value, _KEYED):
            builder = builder.add_extension(value, extension.critical)
    return builder.sign(signer, hashes.SHA256())
