"""Decides about one request and signs: the API server says who asks and whether they may."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.serialization import Encoding

from certs.cache import Authorities
from certs.client import ClusterName
from certs.identity import Cluster, Domains, Role, spiffe_id
from certs.profile import CertificateProfile, usages
from policies.documents.untyped import printable
from webhook.client_certificates.decision import (
    MAX_USER_NAME,
    ClientRefusal,
    Outcome,
    Wanted,
    not_allowed,
    wanted,
)
from webhook.ports import ClientRequest, ClientRequests


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """An issued certificate: PEM, followed by the CAs of its cluster."""

    cluster: Cluster
    certificates: bytes
    serial: int
    not_after: datetime


@dataclass(frozen=True, slots=True)
class ClientDecision:
    """What was written into a request; one of `certificate` and `refusal` is there.

    `cluster` is None if the request names none.
    """

    cluster: ClusterName | None
    certificate: ClientCertificate | None = None
    refusal: ClientRefusal | None = None


class ClientSigning:
    """Answers one request at a time; `longest` is the longest life of a certificate."""

    def __init__(
        self,
        requests: ClientRequests,
        authorities: Callable[[], Authorities],
        domains: Domains,
        longest: timedelta,
        now: Callable[[], datetime],
        new_serial: Callable[[], int],
    ) -> None:
        self._requests = requests
        self._authorities = authorities
        self._domains = domains
        self._longest = longest
        self._now = now
        self._new_serial = new_serial

    async def answer(self, request: ClientRequest) -> ClientDecision:
        """Decide about a request that is not decided, and write the decision into it.

        An approval by somebody else does not count: the requester must be allowed to connect.
        Raises ConflictError and UnavailableError.
        """
        asked = wanted(request, self._longest)
        if isinstance(asked, ClientRefusal):
            return await self._refuse(request, None, asked)
        name, user = asked.cluster, request.requester.name
        # Before anything is said about the cluster: others must not learn which clusters exist.
        if not await self._requests.may_connect(request.requester, name):
            return await self._refuse(request, name, not_allowed(user, name))
        cluster, problem = await self._requests.cluster(name)
        if cluster is None:
            refusal = ClientRefusal(Outcome.FAILED, "NoSuchCluster", problem)
            return await self._refuse(request, name, refusal)
        return await self._issue(request, asked, cluster)

    async def _issue(
        self, request: ClientRequest, asked: Wanted, cluster: Cluster
    ) -> ClientDecision:
        certificate = self._sign(asked, cluster)
        if certificate is None:
            refusal = ClientRefusal(
                Outcome.FAILED,
                "AuthorityExpired",
                f"the CA of {asked.cluster} has expired: delete and recreate the cluster",
            )
            return await self._refuse(request, asked.cluster, refusal)
        user = printable(request.requester.name, MAX_USER_NAME)
        if not request.approved:
            request = await self._requests.approve(
                request, f"{user} may connect to {asked.cluster}"
            )
        await self._requests.issue(request, certificate.certificates)
        return ClientDecision(asked.cluster, certificate=certificate)

    def _sign(self, asked: Wanted, cluster: Cluster) -> ClientCertificate | None:
        """A certificate that can be used as a client only; None if the CA has expired."""
        trust, now = self._authorities().of(cluster), self._now()
        if now >= trust.authority.certificate.not_valid_after_utc:
            return None
        serial, names = self._new_serial(), (spiffe_id(cluster, Role.CLIENT, self._domains),)
        validity = CertificateProfile(asked.lifetime).validity(now)
        signed = trust.authority.issue(asked.key, names, usages(Role.CLIENT), validity, serial)
        chain = signed.public_bytes(Encoding.PEM) + trust.bundle
        return ClientCertificate(cluster, chain, serial, signed.not_valid_after_utc)

    async def _refuse(
        self, request: ClientRequest, name: ClusterName | None, refusal: ClientRefusal
    ) -> ClientDecision:
        # The API server keeps an approval: an approved request can only fail.
        if refusal.outcome is Outcome.DENIED and not request.approved:
            await self._requests.deny(request, refusal.reason, refusal.message)
        else:
            await self._requests.fail(request, refusal.reason, refusal.message)
        return ClientDecision(name, refusal=refusal)
