"""Issues one certificate: token and CSR in, certificate chain out.

Only the public key comes from the caller. Every name in the certificate, its role and its cluster
come from the API server.
"""

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
from policies.configured import NetworkIsolation
from webhook.enrollment.hold import HeldError, Hold
from webhook.enrollment.rate_limit import RateLimit
from webhook.ports import LiveObjects, NetworkPolicies
from webhook.settings import Settings

# While the pod's address is not known, look again when the pod changes, or after this pause, which
# doubles each time up to the last one: where the pod is not in memory, each look is a request.
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.05, 1.0
# A refused request may have cost the API server a token review. All callers behind one address
# share this budget, which also bounds how many requests one address can have open.
_REFUSALS_PER_MINUTE = 600
# Held requests of one pod. RayWarden's init container sends 12; they must not use up the pod's own
# limit, or it would have to wait longer than its policies.
_HELD_PER_MINUTE = 60


class UnauthenticatedError(Exception):
    """The request has no token that is valid, for RayWarden's audience, and bound to a pod."""


class NotYetError(Exception):
    """The request will succeed later; the message says what RayWarden is waiting for."""


class TooOftenError(Exception):
    """This pod, or this address, sends too many requests; `seconds` until the next one may come."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many requests: try again in {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate: the PEM `chain` the pod presents, and the PEM `bundle` of CAs it trusts.

    `missing`: what is missing of the NetworkPolicies of its cluster; empty if they stand.
    """

    identity: Identity
    chain: bytes
    bundle: bytes
    not_after: datetime
    serial: int
    missing: str = ""


class Signing:
    """Decides which pods get a certificate, and signs it."""

    def __init__(
        self,
        live: LiveObjects,
        policies: NetworkPolicies,
        isolation: Callable[[], NetworkIsolation],
        authorities: Callable[[], Authorities],
        domains: Domains,
        profile: CertificateProfile,
        settings: Settings,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        new_serial: Callable[[], int],
    ) -> None:
        self._live = live
        self._hold = Hold(policies, isolation, clock)
        self._authorities = authorities
        self._domains = domains
        self._profile = profile
        self._address_wait = settings.address_wait_seconds
        self._require_peer_address = settings.require_peer_address
        self._now = now
        self._clock = clock
        self._new_serial = new_serial
        self._open_requests = 0
        self._max_open_requests = settings.max_enrollments
        self._pod_limit = RateLimit(settings.enrollments_per_minute, 60, clock)
        self._held_limit = RateLimit(_HELD_PER_MINUTE, 60, clock)
        self._refusal_limit = RateLimit(_REFUSALS_PER_MINUTE, 60, clock)

    async def sign(self, token: str, request: bytes, peer: str) -> Issued:
        """A certificate for the pod that `token` is bound to, and the public key in `request`.

        `request` is a CSR (PKCS #10, PEM), `peer` the IP address the request comes from. Raises
        UnauthenticatedError, TooOftenError, CsrError, NotAllowedError, NotYetError, HeldError
        and UnavailableError.
        """
        if self._open_requests >= self._max_open_requests:
            raise NotYetError("too many pods are enrolling at once")
        # Charge before calling the API server, so that a burst of requests pays like a trickle;
        # refund unless the caller was refused.
        charged, refused = payer(peer), False
        _charge(self._refusal_limit, charged)
        self._open_requests += 1
        try:
            caller = await self._authenticate(token)
            # Only after authentication: an unauthenticated caller must not learn anything, nor
            # reach the parser.
            key = csr.public_key(request)
            identity = await self._identity(caller, peer)
            missing = await self._release(caller, identity)
            return self._issue(key, identity, missing)
        except (UnauthenticatedError, TooOftenError, csr.CsrError, NotAllowedError):
            refused = True
            raise
        finally:
            self._open_requests -= 1
            if not refused:
                self._refusal_limit.refund(charged)

    async def _release(self, caller: TokenIdentity, identity: Identity) -> str:
        """Wait for the NetworkPolicies of the caller's cluster, as `Hold.release`."""
        try:
            return await self._hold.release(identity.cluster)
        except HeldError:
            _charge(self._held_limit, caller.pod_uid)
            self._pod_limit.refund(caller.pod_uid)
            raise

    def _issue(self, key: PublicKey, identity: Identity, missing: str) -> Issued:
        trust = self._authorities().of(identity.cluster)
        ca_ends = trust.authority.certificate.not_valid_after_utc
        now, serial = self._now(), self._new_serial()
        if now >= ca_ends:
            raise NotAllowedError(
                f"the CA of this cluster expired on {ca_ends:%F}: delete and recreate the cluster"
            )
        validity = self._profile.validity(now)
        certificate = trust.authority.issue(
            key, identity.names, usages(identity.role), validity, serial
        )
        chain = certificate.public_bytes(Encoding.PEM) + trust.chain
        ends = certificate.not_valid_after_utc
        return Issued(identity, chain, trust.bundle, ends, serial, missing)

    async def _identity(self, caller: TokenIdentity, peer: str) -> Identity:
        """Who the caller is, according to the live objects; raises NotAllowedError."""
        claim, pod = await self._pod(caller)
        if self._require_peer_address and _address(peer) not in pod.addresses:
            raise NotAllowedError(
                "the request does not come from an address of the pod; "
                "a proxy or NAT may be changing its source address"
            )
        cluster = await self._cluster(claim, pod)
        services = await self._live.services(pod.namespace)
        return identify(claim, pod, cluster, services, self._domains)

    async def _authenticate(self, token: str) -> TokenIdentity:
        caller = await self._live.caller(token)
        if caller is None:
            raise UnauthenticatedError(
                "the token is not valid for RayWarden, or is not bound to a pod"
            )
        _charge(self._pod_limit, caller.pod_uid)
        return caller

    async def _pod(self, caller: TokenIdentity) -> tuple[Membership, LivePod]:
        """The caller's pod, and the cluster it claims to belong to.

        Waits until the pod's addresses are known: the kubelet reports them after the init
        container has started.
        """
        deadline = self._clock() + self._address_wait
        pause = _FIRST_PAUSE_SECONDS
        while True:
            pod = await self._live.pod(caller.namespace, caller.pod, caller.pod_uid)
            # Check each time: the pod may be deleted, or replaced by another of its name.
            claim = membership(caller, pod)
            assert pod is not None
            if pod.addresses:
                return claim, pod
            if self._clock() + pause > deadline:
                raise NotYetError("the API server does not know the pod's IP address yet")
            await self._live.wait_for_pod(caller.namespace, caller.pod, pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    async def _cluster(self, claim: Membership, pod: LivePod) -> Cluster | None:
        if claim.uid:
            return await self._live.ray_cluster(pod.namespace, claim.cluster, claim.uid)
        return await self._live.opted_in_cluster(pod.namespace, claim.cluster)


def _charge(limit: RateLimit, key: str) -> None:
    if seconds := limit.wait(key):
        raise TooOftenError(seconds)
    limit.spend(key)


def _address(peer: str) -> Address | None:
    try:
        address = ip_address(peer)
    except ValueError:
        return None
    # A dual-stack socket reports IPv4 peers as ::ffff:10.0.0.1.
    return getattr(address, "ipv4_mapped", None) or address


def payer(peer: str) -> str:
    """What requests of an address are charged to: an IPv4 address, or an IPv6 network of 64 bits.

    Any machine with one IPv6 address can usually use the whole /64, so addresses in it are not
    told apart.
    """
    if ":" not in peer:
        return peer
    address = _address(peer)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return peer
