"""The documents of a pod's key, as `cryptography` reads them."""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from webhook.agent.key import PodKey

# Signatures have different lengths: each number in them is as long as it must be.
_KEYS = 50


def test_the_documents_belong_together_and_are_the_usual_ones() -> None:
    for _ in range(_KEYS):
        key = PodKey()
        private = load_pem_private_key(key.pkcs8().encode(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        written = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        assert key.pkcs8() == written.decode()
        csr = key.csr()
        request = x509.load_pem_x509_csr(csr.encode())
        assert request.is_signature_valid
        assert request.public_key() == private.public_key()
        assert request.public_bytes(Encoding.PEM).decode() == csr


def test_the_request_asks_for_nothing() -> None:
    request = x509.load_pem_x509_csr(PodKey().csr().encode())
    assert not list(request.subject) and not list(request.extensions)
    assert not list(request.attributes)
