"""The pod's private key (P-256), and the two documents that hold it and prove its possession.

`cryptography` could write both, but the modules it imports for that take longer than all else that
the program does. The documents of a P-256 key always have the same bytes around the numbers.
"""

import base64

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

_COORDINATE_BYTES = 32
# RFC 5480: SubjectPublicKeyInfo of an uncompressed point on P-256, up to the point.
_PUBLIC_KEY = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
# RFC 5208 and RFC 5915: PrivateKeyInfo of a P-256 key, up to the private number, and from there to
# the point.
_PRIVATE_KEY = bytes.fromhex(
    "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"
)
_PRIVATE_KEY_POINT = bytes.fromhex("a144034200")
# RFC 2986: version 0 and an empty subject; no attributes.
_CSR_START, _CSR_END = bytes.fromhex("0201003000"), bytes.fromhex("a000")
# RFC 5758: ecdsa-with-SHA256.
_ALGORITHM = bytes.fromhex("300a06082a8648ce3d040302")
_SEQUENCE, _BIT_STRING = 0x30, 0x03


class _Signature(ec.ECDSA):
    """ECDSA with SHA-256. `ECDSA` itself imports every algorithm of the library when created."""

    algorithm = SHA256()
    deterministic_signing = False

    def __init__(self) -> None:
        pass


class PodKey:
    """A new private key."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.private_numbers()
        x, y = numbers.public_numbers.x, numbers.public_numbers.y
        self._private = numbers.private_value.to_bytes(_COORDINATE_BYTES, "big")
        self._point = b"\x04" + b"".join(n.to_bytes(_COORDINATE_BYTES, "big") for n in (x, y))

    def csr(self) -> str:
        """A CSR (PEM) with the public key and nothing else: RayWarden chooses the names."""
        content = _CSR_START + _PUBLIC_KEY + self._point + _CSR_END
        request = _tagged(_SEQUENCE, content)
        signature = self._key.sign(request, _Signature())
        # A bit string starts with the number of bits that its last byte does not use.
        signed = request + _ALGORITHM + _tagged(_BIT_STRING, b"\x00" + signature)
        return _pem("CERTIFICATE REQUEST", _tagged(_SEQUENCE, signed))

    def pkcs8(self) -> str:
        """The private key (PEM), not encrypted."""
        return _pem("PRIVATE KEY", _PRIVATE_KEY + self._private + _PRIVATE_KEY_POINT + self._point)


def _tagged(tag: int, content: bytes) -> bytes:
    """`content` with its tag and length (DER); here it always has less than 256 bytes."""
    size = len(content)
    length = bytes([size]) if size < 0x80 else bytes([0x81, size])
    return bytes([tag]) + length + content


def _pem(label: str, content: bytes) -> str:
    # RFC 7468: lines of 64 characters, which are 48 bytes.
    lines = [base64.b64encode(content[start : start + 48]) for start in range(0, len(content), 48)]
    text = b"\n".join(lines).decode()
    return f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"
