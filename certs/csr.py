"""RayWarden takes the public key from a certificate signing request (CSR), and nothing else."""

from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from certs.profile import PublicKey, key_problems

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class CsrError(ValueError):
    """A certificate signing request is refused; `problems` lists everything wrong with it."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def public_key(pem: bytes) -> PublicKey:
    """The public key of a PKCS #10 request (RFC 2986) in PEM form.

    The signature of the request proves that its sender holds the private key. The subject is
    ignored, because RayWarden derives all names from the live pod. Extensions are refused, not
    ignored: a sender that requests names or a CA certificate must not believe that it got them.

    Raises CsrError.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise CsrError(
            ("the CSR is not a PKCS #10 request in PEM form with a readable public key",)
        ) from None
    # The signature is verified only if the key is acceptable: with a giant key, an attacker could
    # make verification take arbitrarily long.
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
        yield "the CSR's signature algorithm is not supported; sign with SHA-256"
        return
    if algorithm is not None and not isinstance(algorithm, _HASHES):
        yield f"the CSR is signed with {algorithm.name}; sign with SHA-256"
    if not valid:
        yield "the CSR's signature does not match its public key"


def _extension_problems(request: x509.CertificateSigningRequest) -> Iterator[str]:
    try:
        extensions = len(request.extensions)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        yield "the CSR's extensions cannot be read; leave them out"
        return
    if extensions:
        yield "the CSR requests extensions; leave them out, RayWarden derives names and usages"
