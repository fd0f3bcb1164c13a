"""Verifies service account tokens with the keys that the API server publishes.

This accepts exactly what Kubernetes issues (`pkg/serviceaccount`): a JWS in compact form (RFC 7515)
by RS256, ES256 or ES384. Every other token is a question for the API server, so there is no need
for a library that understands all of JOSE.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from certs.identity import TokenIdentity
from certs.profile import PublicKey, key_problems
from policies.cluster.rbac import user_name
from policies.documents.untyped import as_dict, as_str, dict_items, str_items

# An API server publishes a key, and during a rotation two. Tokens of further keys are left to it.
_MAX_KEYS = 32
# The modulus of an RSA key of 8192 bits in base64 has 1366 characters.
_MAX_NUMBER_CHARACTERS = 1400
# The enrollment port lets no longer token through.
_MAX_TOKEN_CHARACTERS = 16_384
_PARTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# The clocks of nodes differ. The API server allows the same (`jwt.DefaultLeeway`).
_LEEWAY_SECONDS = 60
# Pods get tokens of ten minutes. The API server refuses a token as soon as its service account is
# deleted, and this module cannot know that: a token that is valid for long is left to it.
_MAX_LIFETIME_SECONDS = 3600
_CURVES: Mapping[str, tuple[ec.EllipticCurve, str, hashes.HashAlgorithm]] = {
    "P-256": (ec.SECP256R1(), "ES256", hashes.SHA256()),
    "P-384": (ec.SECP384R1(), "ES384", hashes.SHA384()),
}


class InvalidTokenError(Exception):
    """The token is certainly not one of a pod for RayWarden: the API server need not be asked."""


class UndecidedTokenError(Exception):
    """Only the API server can say whether the token is valid."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A public key, and the only algorithm that it verifies."""

    algorithm: str
    key: PublicKey
    hash: hashes.HashAlgorithm

    def verify(self, signature: bytes, content: bytes) -> None:
        """Raises InvalidSignature unless `signature` is that of `content` by this key."""
        if isinstance(self.key, rsa.RSAPublicKey):
            self.key.verify(signature, content, padding.PKCS1v15(), self.hash)
            return
        # RFC 7518, 3.4: both numbers, each as long as the order of the curve.
        length = (self.key.key_size + 7) // 8
        if len(signature) != 2 * length:
            raise InvalidSignature
        numbers = int.from_bytes(signature[:length]), int.from_bytes(signature[length:])
        self.key.verify(encode_dss_signature(*numbers), content, ec.ECDSA(self.hash))


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues tokens: the `iss` of its tokens, and its keys by their ids."""

    name: str
    keys: Mapping[str, TokenKey]

    def caller(self, token: str, audience: str, now: datetime) -> TokenIdentity:
        """The pod that a token for `audience` is bound to.

        Raises InvalidTokenError and UndecidedTokenError.
        """
        parts = _PARTS.fullmatch(token) if len(token) <= _MAX_TOKEN_CHARACTERS else None
        if parts is None:
            raise InvalidTokenError("the token is not a JWT")
        header = _json(parts[1])
        key = self.keys.get(as_str(header.get("kid")))
        if key is None:
            raise UndecidedTokenError("the key of the token is not known")
        # The key decides about the algorithm. A token that names another one, or an extension that
        # must be understood (`crit`), is not from Kubernetes.
        if header.get("alg") != key.algorithm or "crit" in header:
            raise InvalidTokenError("the token is not signed like one of this key")
        signature, content = _decoded(parts[3]), token[: parts.end(2)].encode()
        try:
            key.verify(signature, content)
        except (InvalidSignature, ValueError):
            raise InvalidTokenError("the signature of the token is wrong") from None
        return _caller(_json(parts[2]), self.name, audience, now.timestamp())


def keys_in(document: Mapping[str, Any]) -> Mapping[str, TokenKey]:
    """The usable keys in a JSON Web Key Set (RFC 7517) by their ids."""
    keys: dict[str, TokenKey] = {}
    ambiguous = set()
    for number, entry in dict_items(document.get("keys")):
        key_id, key = as_str(entry.get("kid")), _key(entry)
        if number >= _MAX_KEYS:
            break
        if key_id in keys:
            ambiguous.add(key_id)
        if key_id and key:
            keys[key_id] = key
    return {key_id: key for key_id, key in keys.items() if key_id not in ambiguous}


def _key(entry: Mapping[str, Any]) -> TokenKey | None:
    """The key in a JSON Web Key; None for one that signs no tokens or that is not acceptable."""
    try:
        key = _rsa_key(entry) if entry.get("kty") == "RSA" else _ec_key(entry)
    except ValueError:
        return None
    if entry.get("use", "sig") != "sig" or entry.get("alg", key.algorithm) != key.algorithm:
        return None
    return None if any(key_problems(key.key)) else key


def _rsa_key(entry: Mapping[str, Any]) -> TokenKey:
    numbers = rsa.RSAPublicNumbers(_number(entry, "e"), _number(entry, "n"))
    return TokenKey("RS256", numbers.public_key(), hashes.SHA256())


def _ec_key(entry: Mapping[str, Any]) -> TokenKey:
    name = as_str(entry.get("crv"))
    if entry.get("kty") != "EC" or name not in _CURVES:
        raise ValueError("unknown type of key")
    curve, algorithm, digest = _CURVES[name]
    numbers = ec.EllipticCurvePublicNumbers(_number(entry, "x"), _number(entry, "y"), curve)
    return TokenKey(algorithm, numbers.public_key(), digest)


def _number(entry: Mapping[str, Any], name: str) -> int:
    text = as_str(entry.get(name))
    if not 0 < len(text) <= _MAX_NUMBER_CHARACTERS:
        raise ValueError(f"{name} is missing or too long")
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def _caller(claims: Mapping[str, Any], issuer: str, audience: str, now: float) -> TokenIdentity:
    """The pod in the claims of a token whose signature is valid."""
    audiences = claims.get("aud")
    listed = [audiences] if isinstance(audiences, str) else [a for _, a in str_items(audiences)]
    if audience not in listed:
        raise InvalidTokenError("the token is for another audience")
    issued, starts, ends = (_seconds(claims.get(name)) for name in ("iat", "nbf", "exp"))
    if ends is None or issued is None:
        raise UndecidedTokenError("the token does not say when it was issued or expires")
    if now > ends + _LEEWAY_SECONDS:
        raise InvalidTokenError("the token has expired")
    # Our own clock may be slow: a token from the API server's future is not necessarily wrong.
    if starts is None or starts > now + _LEEWAY_SECONDS:
        raise UndecidedTokenError("the token is not valid yet")
    if ends - issued > _MAX_LIFETIME_SECONDS:
        raise UndecidedTokenError("the token is valid for a long time")
    # An API server may have several issuers, and publishes one.
    if claims.get("iss") != issuer:
        raise UndecidedTokenError("the token has another issuer")
    return _bound_pod(claims)


def _bound_pod(claims: Mapping[str, Any]) -> TokenIdentity:
    bound = as_dict(claims.get("kubernetes.io"))
    pod, account = as_dict(bound.get("pod")), as_dict(bound.get("serviceaccount"))
    namespace, name = as_str(bound.get("namespace")), as_str(account.get("name"))
    identity = TokenIdentity(namespace, name, as_str(pod.get("name")), as_str(pod.get("uid")))
    stated = (namespace, name, as_str(account.get("uid")), identity.pod, identity.pod_uid)
    if not all(stated) or claims.get("sub") != user_name(namespace, name):
        raise UndecidedTokenError("the token is not bound to a pod in the usual way")
    return identity


def _json(text: str) -> Mapping[str, Any]:
    """The JSON object in a part of a token."""
    try:
        value = orjson.loads(_decoded(text))
    except orjson.JSONDecodeError:
        raise InvalidTokenError("the token is not a JWT") from None
    return as_dict(value)


def _decoded(text: str) -> bytes:
    """The bytes of a part of a token (RFC 7515: base64url without padding)."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise InvalidTokenError("the token is not a JWT") from None


def _seconds(value: Any) -> float | None:
    """The time in a claim (RFC 7519, NumericDate); None if it is not a number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None
