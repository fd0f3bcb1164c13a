"""TLS handshakes in memory."""

import ssl
from collections.abc import Callable

from webhook.ca.serving_certificate import ServingCertificate


def leaf_of(certificate: ServingCertificate) -> bytes:
    """The certificate (DER) that a new connection gets from the server."""
    return handshake(certificate.context, certificate.ca)[1]


def handshake(context: ssl.SSLContext, ca: bytes) -> tuple[Callable[[bytes], bytes], bytes]:
    """Connect to `context` in memory.

    Returns a function that sends bytes from the server to the client and returns what the client
    received, and the certificate of the server (DER).
    """
    client = ssl.create_default_context(cadata=ca.decode())
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = context.wrap_bio(incoming, outgoing, server_side=True)
    client_side = client.wrap_bio(outgoing, incoming)
    done: set[ssl.SSLObject] = set()
    # A TLS 1.3 handshake takes three flights; twice that many rounds are more than enough.
    for _ in range(6):
        for side in (client_side, server_side):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    assert done == {server_side, client_side} and client_side.version() == "TLSv1.3"

    def talk(message: bytes) -> bytes:
        server_side.write(message)
        return client_side.read()

    certificate = client_side.getpeercert(binary_form=True)
    assert certificate
    return talk, certificate
