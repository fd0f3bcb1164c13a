"""One certificate: token and CSR in, chain out. Everything but the public key is found out by ourselves."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address, IPv6Network, ip_address

from cryptography.hazmat.primitives.serialization import Encoding

from certs import csr
from certs.cache import Authorities
from certs.identity import (
    Address,
    Cluster,
    Domains,
    Identity,
    LivePod,
    Membership,
    NotAllowedError,
    TokenIdentity,
    identify,
    membership,
)
from certs.profile import CertificateProfile, PublicKey, usages
from webhook.enrollment.rate_limit import RateLimit
from webhook.ports import LiveObjects
from webhook.settings import Settings

_FIRST_LOOK_SECONDS, _LAST_LOOK_SECONDS = 0.05, 1.0
# Whatever is refused has cost the API server a look. Those behind one address share these; so many of them may also ask
# at once.
_REFUSALS_PER_MINUTE = 600


class UnauthenticatedError(Exception):
    """There is no token that is valid, for our audience, and bound to a pod."""


class NotYetError(Exception):
    """It is worth asking again soon; the message says for what we wait."""


class TooOftenError(Exception):
    """This pod, or this address, asks too often; `seconds` until it may again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many requests: try again in {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and what its bearer has to know (PEM): `chain` for itself, `bundle` for whom it may trust."""

    identity: Identity
    chain: bytes
    bundle: bytes
    not_after: datetime
    serial: int


class Signing:
    """Decides who gets a certificate, and signs it."""

    def __init__(
        self,
        live: LiveObjects,
        authorities: Callable[[], Authorities],
        domains: Domains,
        profile: CertificateProfile,
        settings: Settings,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        new_serial: Callable[[], int],
    ) -> None:
        self._live = live
        self._authorities = authorities
        self._domains = domains
        self._profile = profile
        self._address_wait = settings.address_wait_seconds
        self._check_peer = settings.require_peer_address
        self._now = now
        self._clock = clock
        self._new_serial = new_serial
        self._at_once, self._most_at_once = 0, settings.max_enrollments
        self._per_pod = RateLimit(settings.enrollments_per_minute, 60, clock)
        self._refused = RateLimit(_REFUSALS_PER_MINUTE, 60, clock)

    async def sign(self, token: str, request: bytes, peer: str) -> Issued:
        """A certificate for the pod `token` is bound to, with the public key in `request` (PKCS #10, PEM).

        `peer` is the address the request comes from.

        Raises UnauthenticatedError, TooOftenError, CsrError, NotAllowedError, NotYetError and UnavailableError.
        """
        if self._at_once >= self._most_at_once:
            raise NotYetError("too many pods enroll at once")
        # Paid before the API server is asked, so that a burst pays like a trickle; paid back where nobody is to blame.
        payer, refused = _network(peer), False
        _spend(self._refused, payer)
        self._at_once += 1
        try:
            caller = await self._caller(token)
            key = csr.public_key(request)
            return self._issue(key, await self._identity(caller, peer))
        except (UnauthenticatedError, TooOftenError, csr.CsrError, NotAllowedError):
            refused = True
            raise
        finally:
            self._at_once -= 1
            if not refused:
                self._refused.refund(payer)

    def _issue(self, key: PublicKey, identity: Identity) -> Issued:
        trust = self._authorities().of(identity.cluster)
        ends = trust.authority.certificate.not_valid_after_utc
        now, serial = self._now(), self._new_serial()
        if now >= ends:
            raise NotAllowedError(
                f"the CA of this cluster has ended on {ends:%F}: create the cluster anew"
            )
        validity = self._profile.validity(now)
        certificate = trust.authority.issue(
            key, identity.names, usages(identity.role), validity, serial
        )
        chain = certificate.public_bytes(Encoding.PEM) + trust.chain
        return Issued(identity, chain, trust.bundle, certificate.not_valid_after_utc, serial)

    async def _identity(self, caller: TokenIdentity, peer: str) -> Identity:
        claim, pod = await self._pod(caller)
        if self._check_peer and _address(peer) not in pod.addresses:
            raise NotAllowedError(
                "the request does not come from an address of the pod; is there a proxy between?"
            )
        cluster = await self._cluster(claim, pod)
        return identify(
            claim, pod, cluster, await self._live.services(pod.namespace), self._domains
        )

    async def _caller(self, token: str) -> TokenIdentity:
        caller = await self._live.caller(token)
        if caller is None:
            raise UnauthenticatedError("the token is not valid for us, or not bound to a pod")
        _spend(self._per_pod, caller.pod_uid)
        return caller

    async def _pod(self, caller: TokenIdentity) -> tuple[Membership, LivePod]:
        """The caller's pod as soon as its addresses are known: the kubelet reports them late."""
        deadline = self._clock() + self._address_wait
        pause = _FIRST_LOOK_SECONDS
        while True:
            pod = await self._live.pod(caller.namespace, caller.pod)
            claim = membership(caller, pod)
            assert pod is not None
            if pod.addresses:
                return claim, pod
            if self._clock() + pause > deadline:
                raise NotYetError("the API server does not know the pod's IP address yet")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK_SECONDS)

    async def _cluster(self, claim: Membership, pod: LivePod) -> Cluster | None:
        if claim.uid:
            return await self._live.ray_cluster(pod.namespace, claim.cluster, claim.uid)
        return await self._live.opted_in_cluster(pod.namespace, claim.cluster)


def _spend(limit: RateLimit, key: str) -> None:
    if seconds := limit.wait(key):
        raise TooOftenError(seconds)
    limit.spend(key)


def _address(peer: str) -> Address | None:
    try:
        address = ip_address(peer)
    except ValueError:
        return None
    # On a socket for both families IPv4 comes as ::ffff:10.0.0.1.
    return getattr(address, "ipv4_mapped", None) or address


def _network(peer: str) -> str:
    """Whom to make pay: an IPv4 address, or the /64 that everybody with an IPv6 address has all of."""
    if ":" in peer and isinstance(address := _address(peer), IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return peer
