"""Asks for a client certificate with a CertificateSigningRequest, and waits for it."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certs.client import ClusterName
from policies.documents.metadata import name_of, uid_of
from policies.documents.untyped import as_dict, as_str, dict_items, printable
from webhook.connect.problems import REQUESTS_ROLE, ConnectError, explained
from webhook.kube.api import KubeApi
from webhook.kube.client_requests import REQUESTS, SIGNER
from webhook.ports import ConflictError, UnavailableError

# A signer answers within a second; three replicas that take over from each other within ten.
_WAIT_SECONDS = 15.0
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.1, 1.0
_MAX_MESSAGE = 2000


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """What Ray reads: a key, its certificate, and the CAs of the cluster (PEM)."""

    key: bytes = field(repr=False)
    certificate: bytes
    ca: bytes
    not_after: datetime


@asynccontextmanager
async def client_certificate(
    api: KubeApi, cluster: ClusterName, lifetime: timedelta
) -> AsyncIterator[ClientFiles]:
    """A certificate for this cluster; at the end its request is deleted, if the caller may.

    The key is made here and sent nowhere. Raises ConnectError.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(cluster.subject)
    csr = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    with explained(cluster.namespace, role=REQUESTS_ROLE):
        request = await api.create(REQUESTS, "", _document(csr, lifetime))
    try:
        chain = await _wait(api, name_of(request), cluster)
        yield _files(key, chain)
    finally:
        uid = uid_of(request)
        # Most people may not; Kubernetes deletes an answered request after an hour.
        with suppress(UnavailableError, ConflictError):
            await asyncio.shield(api.delete(REQUESTS, "", name_of(request), {"uid": uid}))


def _document(csr: bytes, lifetime: timedelta) -> Mapping[str, Any]:
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "ray-client-"},
        "spec": {
            "request": base64.b64encode(csr).decode(),
            "signerName": SIGNER,
            "usages": ["digital signature", "client auth"],
            "expirationSeconds": int(lifetime.total_seconds()),
        },
    }


async def _wait(api: KubeApi, name: str, cluster: ClusterName) -> bytes:
    """The certificates (PEM) that a request gets."""
    pause = _FIRST_PAUSE_SECONDS
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            while True:
                with explained(cluster.namespace, role=REQUESTS_ROLE):
                    document = await api.get(REQUESTS, "", name)
                if document is None:
                    raise ConnectError(f"somebody deleted the request {name}; try again")
                certificate = _answer(as_dict(document.get("status")))
                if certificate:
                    return base64.b64decode(certificate)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)
    except TimeoutError:
        raise ConnectError(
            f"RayWarden did not answer the request {name} within {_WAIT_SECONDS:g} s: ask an "
            "administrator whether deploy/components/connect is installed and RayWarden runs"
        ) from None


def _answer(status: Mapping[str, Any]) -> str:
    """The certificate in the status; raises ConnectError for a request that was refused."""
    for _, condition in dict_items(status.get("conditions")):
        if condition.get("type") in ("Denied", "Failed"):
            message = as_str(condition.get("message")) or as_str(condition.get("reason"))
            raise ConnectError(printable(message, _MAX_MESSAGE))
    return as_str(status.get("certificate"))


def _files(key: ec.EllipticCurvePrivateKey, chain: bytes) -> ClientFiles:
    try:
        leaf, *authorities = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise ConnectError("the certificate that was issued cannot be read") from None
    if leaf.public_key() != key.public_key() or not authorities:
        raise ConnectError("the certificate that was issued is not for this key; try again")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    ca = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in authorities)
    return ClientFiles(pem, leaf.public_bytes(Encoding.PEM), ca, leaf.not_valid_after_utc)
