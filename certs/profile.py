"""The properties of a certificate: key types, lifetimes, usages."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.identity import Role

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

# The clocks of nodes differ: a node whose clock is slow would refuse a certificate that starts now.
BACKDATED = timedelta(hours=1)
# Longer than any Ray cluster runs: a CA cannot be replaced under a running cluster.
AUTHORITY_LIFETIME = timedelta(days=3650)
# Certificates that expire within this time are reported: it is enough to plan a restart.
EXPIRY_WARNING = timedelta(days=60)

_CURVES = (ec.SECP256R1, ec.SECP384R1)
# Shorter RSA keys are weak (NIST SP 800-57); verifying longer ones costs the server and every peer.
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
# Larger exponents are no more secure and make verification slow.
_RSA_EXPONENT = 65537
_ACCEPTED = "use EC P-256 or P-384, or RSA of 2048 to 8192 bits"

SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
# A Ray process uses one certificate both as a client and as a server, so it needs both usages.
_MEMBER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
_CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True, slots=True)
class CertificateProfile:
    """The lifetime of pod certificates.

    Ray reads its certificate files once, at the start, so a certificate must outlive its pod.
    """

    lifetime: timedelta = timedelta(days=730)

    def validity(self, now: datetime) -> tuple[datetime, datetime]:
        """notBefore and notAfter of a certificate issued now."""
        return now - BACKDATED, now + self.lifetime


def usages(role: Role) -> x509.ExtendedKeyUsage:
    """The extended key usages of a role."""
    return _CLIENT if role is Role.CLIENT else _MEMBER


def key_problems(key: CertificatePublicKeyTypes) -> Iterator[str]:
    """What is wrong with a public key; empty for a key that is accepted.

    The gRPC in Ray refuses Ed25519 and P-521 with NO_COMMON_SIGNATURE_ALGORITHMS.
    """
    match key:
        case ec.EllipticCurvePublicKey():
            if not isinstance(key.curve, _CURVES):
                yield f"curve {key.curve.name} is not supported; {_ACCEPTED}"
        case rsa.RSAPublicKey():
            if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
                yield f"RSA of {key.key_size} bits is not supported; {_ACCEPTED}"
            if key.public_numbers().e != _RSA_EXPONENT:
                yield f"the RSA exponent is not {_RSA_EXPONENT}"
        case _:
            kind = type(key).__name__.removesuffix("PublicKey").lstrip("_")
            yield f"{kind} keys are not supported; {_ACCEPTED}"
