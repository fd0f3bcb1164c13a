"""Checks the pod's certificate by a TLS handshake of the pod with itself, in memory.

Ray's processes will do the same with these files. With a wrong certificate Ray would only report
that connections fail, not why.
"""

import ssl
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from webhook.agent.signer_client import EnrollError

# Two sides need four turns with TLS 1.3.
_MAX_TURNS = 20


def verify(chain: str, key: str, bundle: str, address: IPv4Address | IPv6Address) -> str:
    """Verify the certificate as a client's; returns when it ends.

    Every pod is a client of Ray's servers, and pods with the role `client` are nothing else.
    `chain` and `key` are files, `bundle` is PEM. Raises EnrollError.
    """
    client, server = (
        _context(protocol, chain, key, bundle)
        for protocol in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)
    )
    # The server verifies the certificate; the client sees the same one again.
    client.check_hostname = False
    client.verify_mode, server.verify_mode = ssl.CERT_NONE, ssl.CERT_REQUIRED
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        _shake_hands(one, other)
    except ssl.SSLCertVerificationError as error:
        raise EnrollError(
            f"the certificate does not verify against its CA bundle: {error.verify_message}"
        ) from None
    except ssl.SSLError as error:
        raise EnrollError(f"the certificate cannot be used for TLS: {error.reason}") from None
    verified = other.getpeercert() or {}
    if address not in _addresses(verified):
        raise EnrollError(f"the certificate does not contain this pod's IP address {address}")
    return str(verified["notAfter"])


def _addresses(certificate: Mapping[str, Any]) -> list[IPv4Address | IPv6Address]:
    names = certificate.get("subjectAltName", ())
    return [ip_address(value.strip()) for kind, value in names if kind == "IP Address"]


def _context(protocol: int, chain: str, key: str, bundle: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=bundle)
        context.load_cert_chain(chain, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise EnrollError("the certificate belongs to another key") from None
        raise EnrollError(f"the certificate cannot be read: {error.reason}") from None
    # A TypeError is raised for a bundle that is not ASCII.
    except (ValueError, TypeError) as error:
        raise EnrollError(f"the certificate cannot be read: {error}") from None
    return context


def _shake_hands(*sides: ssl.SSLObject) -> None:
    """Let each side go on in turn, until no side waits for the other."""
    waiting = list(sides)
    for _ in range(_MAX_TURNS):
        waiting = [side for side in waiting if not _is_done(side)]
        if not waiting:
            return
    raise EnrollError("the certificate cannot be used for TLS: the handshake does not end")


def _is_done(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
