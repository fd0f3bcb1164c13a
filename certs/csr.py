"""Certificate signing requests: the public key is taken from them, and nothing else."""

from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from certs.profile import PublicKey, key_problems

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class CsrError(ValueError):
    """A certificate signing request that is not signed; `problems` is everything that is wrong with it."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def public_key(pem: bytes) -> PublicKey:
    """The public key of a PKCS #10 request (RFC 2986) in PEM form, proved to be held by its sender.

    Raises CsrError. The subject is not looked at: names are derived, not asked for. Extensions are refused, because
    who asks for names or for a CA certificate would otherwise believe to have got them.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise CsrError(
            ("not a certificate signing request in PEM form with a key we can read",)
        ) from None
    # A signature of a key that is refused anyway is not verified: giant ones take as long as their sender likes.
    problems = tuple(key_problems(key)) or tuple(_signature_problems(request))
    problems += tuple(_extension_problems(request))
    if problems or not isinstance(key, PublicKey):
        raise CsrError(problems)
    return key


def _signature_problems(request: x509.CertificateSigningRequest) -> Iterator[str]:
    try:
        algorithm = request.signature_hash_algorithm
        valid = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        yield "its signature algorithm is not supported: sign with SHA-256"
        return
    if algorithm is not None and not isinstance(algorithm, _HASHES):
        yield f"it is signed with {algorithm.name}: sign with SHA-256"
    if not valid:
        yield "its signature is not made with its own key"


def _extension_problems(request: x509.CertificateSigningRequest) -> Iterator[str]:
    try:
        asked = len(request.extensions)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        yield "its extensions cannot be read: leave them out"
        return
    if asked:
        yield "it asks for extensions: leave them out, names and usages follow from the pod"
