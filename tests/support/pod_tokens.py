"""Service account tokens as an API server issues them to pods, and the keys that verify them."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.factory import Object

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCE = "raywarden.io"
ACCOUNT_UID = "44444444-0000-4000-8000-000000000004"
DISCOVERY, JWKS = "/.well-known/openid-configuration", "/openid/v1/jwks"
_HASHES = {"ES256": hashes.SHA256(), "ES384": hashes.SHA384(), "RS256": hashes.SHA256()}


def encoded(content: bytes) -> str:
    """Base64url without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def part(document: Any) -> str:
    """A header or the claims of a token."""
    return encoded(json.dumps(document, separators=(",", ":")).encode())


class TokenSigner:
    """An API server's key for service account tokens: RS256, ES256 or ES384."""

    def __init__(self, algorithm: str = "RS256") -> None:
        self.algorithm = algorithm
        self.key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        if algorithm == "RS256":
            self.key = rsa.generate_private_key(65537, 2048)
        else:
            curve = ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1()
            self.key = ec.generate_private_key(curve)
        der = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key_id = encoded(hashlib.sha256(der).digest())

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as the API server publishes it."""
        common = {"use": "sig", "kid": self.key_id, "alg": self.algorithm}
        if isinstance(self.key, rsa.RSAPrivateKey):
            numbers = self.key.public_key().public_numbers()
            size = self.key.key_size // 8
            return {**common, "kty": "RSA", "n": encoded(numbers.n.to_bytes(size)), "e": "AQAB"}
        point = self.key.public_key().public_numbers()
        size = (self.key.key_size + 7) // 8
        x, y = encoded(point.x.to_bytes(size)), encoded(point.y.to_bytes(size))
        return {**common, "kty": "EC", "crv": f"P-{self.key.key_size}", "x": x, "y": y}

    def sign(self, header: str, claims: str) -> str:
        """A token with these encoded parts."""
        content = f"{header}.{claims}".encode()
        return f"{header}.{claims}.{encoded(self.signature(content))}"

    def signature(self, content: bytes) -> bytes:
        digest = _HASHES[self.algorithm]
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(content, padding.PKCS1v15(), digest)
        size = (self.key.key_size + 7) // 8
        numbers = decode_dss_signature(self.key.sign(content, ec.ECDSA(digest)))
        return b"".join(number.to_bytes(size) for number in numbers)

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": self.algorithm, "kid": self.key_id}

    def token(self, pod: Object, issued: float, **claims: Any) -> str:
        """The token of a pod; `claims` replace those that the API server would set."""
        return self.sign(part(self.header), part({**claims_of(pod, issued), **claims}))


def claims_of(pod: Object, issued: float) -> dict[str, Any]:
    """The claims of the token that the kubelet projects into a pod."""
    metadata, account = pod["metadata"], pod["spec"]["serviceAccountName"]
    return {
        "aud": [AUDIENCE],
        "exp": int(issued) + 600,
        "iat": int(issued),
        "nbf": int(issued),
        "iss": ISSUER,
        "jti": "55555555-0000-4000-8000-000000000005",
        "sub": f"system:serviceaccount:{metadata['namespace']}:{account}",
        "kubernetes.io": {
            "namespace": metadata["namespace"],
            "node": {"name": "node-1", "uid": "66666666-0000-4000-8000-000000000006"},
            "pod": {"name": metadata["name"], "uid": metadata["uid"]},
            "serviceaccount": {"name": account, "uid": ACCOUNT_UID},
        },
    }


def key_set(*signers: TokenSigner) -> dict[str, Any]:
    """The JSON Web Key Set of these keys."""
    return {"keys": [signer.jwk for signer in signers]}


def published(*signers: TokenSigner) -> Mapping[str, Any]:
    """What an API server answers at its discovery paths."""
    return {DISCOVERY: {"issuer": ISSUER, "jwks_uri": ISSUER + JWKS}, JWKS: key_set(*signers)}
