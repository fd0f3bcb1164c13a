"""What a certificate is like: key types, lifetimes, usages."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.identity import Role

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

# Clocks of pods and nodes differ; a certificate of this very second would be refused by some.
BACKDATED = timedelta(hours=1)
AUTHORITY_LIFETIME = timedelta(days=3650)
# What ends within this time is reported: enough to plan a restart.
SOON = timedelta(days=60)

_CURVES = (ec.SECP256R1, ec.SECP384R1)
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
# Larger exponents are as good, and make verifying slow.
_RSA_EXPONENT = 65537
_ACCEPTED = "use EC P-256 or P-384, or RSA of 2048 to 8192 bits"

SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
# Every Ray process dials and is dialled with the same certificate; one usage alone fails.
_MEMBER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
_CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True, slots=True)
class CertificateProfile:
    """How long certificates of pods live. Ray never reads its files again, so that must be longer than any pod does."""

    lifetime: timedelta = timedelta(days=730)

    def validity(self, now: datetime) -> tuple[datetime, datetime]:
        """notBefore and notAfter of a certificate issued now."""
        return now - BACKDATED, now + self.lifetime


def usages(role: Role) -> x509.ExtendedKeyUsage:
    """The extended key usages of a role."""
    return _CLIENT if role is Role.CLIENT else _MEMBER


def key_problems(key: CertificatePublicKeyTypes) -> Iterator[str]:
    """What is wrong with a public key. Ray's gRPC refuses Ed25519 and P-521 (NO_COMMON_SIGNATURE_ALGORITHMS)."""
    match key:
        case ec.EllipticCurvePublicKey():
            if not isinstance(key.curve, _CURVES):
                yield f"curve {key.curve.name} is not supported: {_ACCEPTED}"
        case rsa.RSAPublicKey():
            if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
                yield f"RSA of {key.key_size} bits is not supported: {_ACCEPTED}"
            if key.public_numbers().e != _RSA_EXPONENT:
                yield f"the RSA exponent is not {_RSA_EXPONENT}"
        case _:
            kind = type(key).__name__.removesuffix("PublicKey").lstrip("_")
            yield f"{kind} keys are not supported: {_ACCEPTED}"
