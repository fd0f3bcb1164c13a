"""Secrets as cert-manager writes them for the Certificates of a manifest.

Source: cert-manager's documentation of Certificate and of the issuers SelfSigned and CA. A leaf of
a CA issuer has the issuer's certificate in `ca.crt`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.factory import Object

_USAGES = {
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
}
_CURVES = {256: ec.SECP256R1()}
_GROUP = "cert-manager.io/v1"

_Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def secrets_of(documents: Sequence[Object]) -> dict[str, dict[str, bytes]]:
    """The files of each Secret by its name."""
    certificates = [one for one in documents if _is(one, "Certificate")]
    issuers = {one["metadata"]["name"]: one["spec"] for one in documents if _is(one, "Issuer")}
    authorities: dict[str, _Authority] = {}
    secrets = {}
    for certificate in certificates:
        spec = certificate["spec"]
        issuer = issuers[spec["issuerRef"]["name"]]
        authority = authorities[issuer["ca"]["secretName"]] if "ca" in issuer else None
        leaf, key = _issued(spec, authority)
        authorities[spec["secretName"]] = leaf, key
        ca = authority[0] if authority else leaf
        secrets[spec["secretName"]] = {
            "tls.crt": leaf.public_bytes(Encoding.PEM),
            "tls.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "ca.crt": ca.public_bytes(Encoding.PEM),
        }
    return secrets


def _is(document: Object, kind: str) -> bool:
    return (document["apiVersion"], document["kind"]) == (_GROUP, kind)


def _issued(
    spec: Mapping[str, Any], authority: _Authority | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(_CURVES[spec["privateKey"]["size"]])
    subject = _name(spec.get("commonName", ""))
    issuer, signer = (authority[0].subject, authority[1]) if authority else (subject, key)
    now, hours = datetime.now(UTC), int(spec["duration"].removesuffix("h"))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=hours))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(spec.get("isCA", False), None), critical=True)
    )
    names = [*map(x509.DNSName, spec.get("dnsNames", ()))]
    addresses = [x509.IPAddress(ip_address(text)) for text in spec.get("ipAddresses", ())]
    if names or addresses:
        alternatives = x509.SubjectAlternativeName([*names, *addresses])
        builder = builder.add_extension(alternatives, critical=False)
    usages = [_USAGES[usage] for usage in spec.get("usages", ()) if usage in _USAGES]
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(signer, hashes.SHA256()), key


def _name(common_name: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    return x509.Name(attributes)
