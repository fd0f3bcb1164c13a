"""CA certificates as a SPIFFE bundle, for programs that verify peers by SPIFFE ids."""

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

# In seconds. A rotation adds a CA five minutes before anything uses it.
_REFRESH_HINT = 120


def spiffe_bundle(pem: bytes) -> dict[str, Any]:
    """The CAs in a PEM bundle as a JWK Set (SPIFFE Trust Domain and Bundle, sections 4 and 5).

    The keys of the CAs are on P-256.
    """
    keys = [_key(certificate) for certificate in x509.load_pem_x509_certificates(pem)]
    return {"keys": keys, "spiffe_refresh_hint": _REFRESH_HINT}


def _key(certificate: x509.Certificate) -> dict[str, Any]:
    public_key = certificate.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise ValueError("the key of this CA is not on an elliptic curve")
    point, size = public_key.public_numbers(), (public_key.key_size + 7) // 8
    return {
        "kty": "EC",
        "crv": "P-256",
        "use": "x509-svid",
        "x": _base64url(point.x.to_bytes(size)),
        "y": _base64url(point.y.to_bytes(size)),
        # RFC 7517, 4.7: plain base64, unlike the coordinates.
        "x5c": [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()],
    }


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
