"""Requests of people in memory, with the API server's rules for their conditions."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certs.cache import Authorities
from certs.client import ClusterName
from certs.identity import Cluster
from tests.support import live_objects
from webhook.ports import ClientRequest, ConflictError, Requester, UnavailableError

USAGES = ("digital signature", "client auth")
KEY = ec.generate_private_key(ec.SECP256R1())
DEMO = ClusterName("team-a", "demo")
AUTHORITIES = Authorities(live_objects.SEED)


def csr(name: ClusterName = DEMO) -> bytes:
    """A CSR for a cluster, as `raywarden connect` makes it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name.subject)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def request(name: str = "one", user: str = "alice", **fields: object) -> ClientRequest:
    """A request that is not decided; `fields` replace those of a valid one."""
    valid = ClientRequest(
        name=name,
        uid=f"uid-{name}",
        version="1",
        created=live_objects.NOW,
        requester=Requester(user, "", (), {}),
        csr=csr(),
        usages=USAGES,
        lifetime=None,
        approved=False,
        decided=False,
    )
    return replace(valid, **fields)  # type: ignore[arg-type]  # any field


class FakeRequests:
    """`ports.ClientRequests`: stored requests, and who may connect.

    `written` has what was written, as (name, what, text); `faults` are raised by the next calls.
    """

    def __init__(self, *requests: ClientRequest, allowed: tuple[str, ...] = ("alice",)) -> None:
        self.stored = {request.name: request for request in requests}
        self.allowed = allowed
        self.ended = False
        self.written: list[tuple[str, str, str]] = []
        self.faults: list[Exception] = []
        self.asked: list[tuple[str, str]] = []
        self.offer: Callable[[ClientRequest], None] = lambda request: None

    async def follow(self, offer: Callable[[ClientRequest], None]) -> None:
        self.offer = offer
        for request in self.stored.values():
            offer(request)
        await asyncio.Event().wait()

    async def read(self, request: ClientRequest) -> ClientRequest | None:
        self._fail()
        return self.stored.get(request.name)

    async def may_connect(self, requester: Requester, cluster: ClusterName) -> bool:
        self._fail()
        self.asked.append((requester.name, str(cluster)))
        return requester.name in self.allowed

    async def cluster(self, name: ClusterName) -> tuple[Cluster | None, str]:
        if name != DEMO:
            return None, f"there is no Ray cluster {name}"
        uid, created = live_objects.CLUSTER_UID, live_objects.START
        return Cluster("team-a", "demo", uid, created), ""

    async def approve(self, request: ClientRequest, message: str) -> ClientRequest:
        return self._write(request, "approved", message, approved=True)

    async def deny(self, request: ClientRequest, reason: str, message: str) -> None:
        assert not request.approved, "the API server refuses this"
        self._write(request, "denied", message, decided=True)

    async def fail(self, request: ClientRequest, reason: str, message: str) -> None:
        self._write(request, "failed", message, decided=True)

    async def issue(self, request: ClientRequest, certificates: bytes) -> None:
        assert request.approved, "the API server refuses this"
        self._write(request, "issued", certificates.decode(), decided=True)

    async def record(self, request: ClientRequest, cluster: Cluster, message: str) -> None:
        self.written.append((request.name, "event", message))

    def of(self, name: str) -> list[str]:
        """What was written about a request, in order."""
        return [what for about, what, _ in self.written if about == name]

    def _write(
        self, request: ClientRequest, what: str, text: str, **changes: bool
    ) -> ClientRequest:
        self._fail()
        if self.stored[request.name].version != request.version:
            raise ConflictError("changed")
        version = str(int(request.version) + 1)
        changed = replace(request, version=version, **changes)  # type: ignore[arg-type]  # flags
        self.stored[request.name] = changed
        self.written.append((request.name, what, text))
        return changed

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)


UNAVAILABLE = UnavailableError("away")
NOW: Callable[[], datetime] = lambda: live_objects.NOW  # noqa: E731  # a clock that stands still
