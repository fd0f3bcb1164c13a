"""TLS handshakes in memory."""

import ssl
from collections.abc import Callable

from webhook.ca.serving_certificate import ServingCertificate


def leaf_of(certificate: ServingCertificate) -> bytes:
    """The certificate (DER) that whoever connects now meets."""
    return handshake(certificate.context, certificate.ca)[1]


def handshake(context: ssl.SSLContext, ca: bytes) -> tuple[Callable[[bytes], bytes], bytes]:
    """A connection to `context`, as a function that says something and hears it; and the certificate it met (DER)."""
    client = ssl.create_default_context(cadata=ca.decode())
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = (
        context.wrap_bio(incoming, outgoing, server_side=True),
        client.wrap_bio(outgoing, incoming),
    )
    done: set[ssl.SSLObject] = set()
    for _ in range(6):
        for side in (theirs, ours):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    assert done == {ours, theirs} and theirs.version() == "TLSv1.3"

    def talk(said: bytes) -> bytes:
        ours.write(said)
        return theirs.read()

    certificate = theirs.getpeercert(binary_form=True)
    assert certificate
    return talk, certificate
