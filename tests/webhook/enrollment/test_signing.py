"""The decision to issue a certificate, with an API server that is slow or unavailable."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.cache import Authorities
from certs.csr import CsrError
from certs.identity import Cluster, Domains, LivePod, NotAllowedError, Service, TokenIdentity
from certs.profile import CertificateProfile
from policies.configured import NetworkIsolation
from tests.support import live_objects
from tests.support.factory import Object, changed
from webhook.enrollment.signing import (
    Issued,
    NotYetError,
    Signing,
    TooOftenError,
    UnauthenticatedError,
)
from webhook.isolation.wanted import NoNetworkPolicies
from webhook.kube.objects import pod_of
from webhook.manifests.cluster import ManifestCluster
from webhook.ports import UnavailableError
from webhook.settings import Settings

KEY = ec.generate_private_key(ec.SECP256R1())
CSR = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(x509.Name([]))
    .sign(KEY, hashes.SHA256())
    .public_bytes(Encoding.PEM)
)


class ScriptedCluster(ManifestCluster):
    """The objects of `live_objects.objects()`, with the tokens 0, 1, ... for its pods.

    With `replies`, each look at a pod gets the next reply, and later looks get the last one.
    """

    def __init__(self, *replies: Object | None) -> None:
        numbers = map(str, range(100))
        super().__init__(live_objects.objects(), lambda: next(numbers))
        self._replies = [pod_of(reply) if reply else None for reply in replies]
        self.looks = self.reviews = 0
        self.unavailable = False

    async def caller(self, token: str) -> TokenIdentity | None:
        await asyncio.sleep(0)
        self.reviews += 1
        if self.unavailable:
            raise UnavailableError("connection refused")
        return await super().caller(token)

    async def pod(self, namespace: str, name: str, uid: str) -> LivePod | None:
        self.looks += 1
        if self._replies:
            return self._replies[min(self.looks, len(self._replies)) - 1]
        return await super().pod(namespace, name, uid)


def signing(
    cluster: ScriptedCluster | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    days: int = 730,
    now: datetime = live_objects.NOW,
    **settings: Any,
) -> Signing:
    authorities, profile = Authorities(live_objects.SEED), CertificateProfile(timedelta(days=days))
    return Signing(
        cluster or ScriptedCluster(),
        NoNetworkPolicies(),
        NetworkIsolation,
        lambda: authorities,
        Domains(),
        profile,
        Settings(**settings),
        lambda: now,
        clock,
        lambda: 7,
    )


def sign(signer: Signing, token: str = "0", csr: bytes = CSR, peer: str = "") -> Issued:
    return asyncio.run(signer.sign(token, csr, peer))


def test_the_certificate_has_the_key_of_the_request_and_the_identity_of_the_pod() -> None:
    issued = sign(signing())
    (leaf,) = x509.load_pem_x509_certificates(issued.chain)
    assert leaf.public_key() == KEY.public_key()
    assert leaf.serial_number == issued.serial == 7
    assert not list(leaf.subject)
    assert (issued.not_after - live_objects.NOW).days == 730
    assert (issued.identity.cluster.name, issued.identity.pod) == ("demo", "demo-head-abcde")


def test_the_operator_chooses_the_validity_of_certificates() -> None:
    assert (sign(signing(days=30)).not_after - live_objects.NOW).days == 30


def test_a_client_certificate_is_not_valid_for_servers() -> None:
    (leaf,) = x509.load_pem_x509_certificates(sign(signing(), "4").chain)
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_an_unknown_token_gets_nothing() -> None:
    with pytest.raises(UnauthenticatedError):
        sign(signing(), "unknown")


def test_the_csr_is_not_examined_before_the_token() -> None:
    with pytest.raises(UnauthenticatedError):
        sign(signing(), "unknown", b"nonsense")
    with pytest.raises(CsrError):
        sign(signing(), "0", b"nonsense")


def test_it_waits_until_the_pods_address_is_known() -> None:
    cluster = ScriptedCluster(
        live_objects.pod(address=""),
        live_objects.pod(address=""),
        live_objects.pod(address="10.0.0.7"),
    )
    issued = sign(signing(cluster))
    assert "10.0.0.7" in [str(name.value) for name in issued.identity.names]
    assert cluster.looks == 3


def test_it_does_not_wait_forever() -> None:
    seconds = iter(range(1000))
    with pytest.raises(NotYetError, match="does not know the pod's IP address yet"):
        sign(
            signing(
                ScriptedCluster(live_objects.pod(address="")),
                lambda: float(next(seconds)),
                address_wait_seconds=3,
            )
        )


def test_a_pod_that_is_deleted_or_replaced_during_the_wait_is_refused() -> None:
    with pytest.raises(NotAllowedError, match="no longer exists"):
        sign(signing(ScriptedCluster(live_objects.pod(address=""), None)))
    with pytest.raises(NotAllowedError, match="no longer exists"):
        sign(
            signing(
                ScriptedCluster(live_objects.pod(address=""), live_objects.pod(uid="replacement"))
            )
        )


def test_a_pod_of_a_deleted_cluster_is_refused() -> None:
    orphan = changed(
        live_objects.pod(), {"/metadata/ownerReferences/0/uid": "of-a-deleted-cluster"}
    )
    with pytest.raises(NotAllowedError, match="RayCluster demo that owns the pod no longer exists"):
        sign(signing(ScriptedCluster(orphan)))


def test_requests_from_other_addresses_can_be_refused() -> None:
    strict = signing(require_peer_address=True)
    for peer in ("127.0.0.1", "::ffff:127.0.0.1"):
        sign(strict, peer=peer)
    for peer in ("127.0.0.9", "::ffff:127.0.0.9", "", "unix"):
        with pytest.raises(NotAllowedError, match="does not come from an address of the pod"):
            sign(strict, peer=peer)
        sign(signing(), peer=peer)


def test_each_pod_has_a_rate_limit_of_its_own() -> None:
    now = 0.0
    signer = signing(clock=lambda: now, enrollments_per_minute=3)
    for _ in range(3):
        sign(signer)
    with pytest.raises(TooOftenError) as raised:
        sign(signer)
    assert raised.value.seconds == 20
    sign(signer, "1")
    now = 20.0
    sign(signer)


def test_refused_callers_are_limited_one_by_one_and_all_at_once() -> None:
    async def crowd(signer: Signing, number: int) -> list[Any]:
        return await asyncio.gather(
            *(signer.sign("guess", CSR, "10.9.9.9") for _ in range(number)), return_exceptions=True
        )

    for number in (1, 700):
        signer = signing(max_enrollments=1000)
        outcomes: list[type] = []
        for _ in range(700 // number):
            outcomes += map(type, asyncio.run(crowd(signer, number)))
        assert outcomes.count(UnauthenticatedError) == 600
        assert outcomes.count(TooOftenError) == 100
        assert sign(signer, "0", peer="10.9.9.8").identity.pod


def test_a_pod_over_its_limit_is_charged_like_a_refused_caller() -> None:
    cluster = ScriptedCluster()
    signer = signing(cluster, enrollments_per_minute=3)
    issued = 0
    for _ in range(700):
        with suppress(TooOftenError):
            sign(signer)
            issued += 1
    assert (issued, cluster.reviews) == (3, 603)


def test_addresses_of_one_ipv6_network_share_a_limit() -> None:
    signer = signing()
    outcomes = []
    for number in range(700):
        with pytest.raises((UnauthenticatedError, TooOftenError)) as raised:
            sign(signer, "guess", peer=f"fd00:1:2:3::{number:x}")
        outcomes.append(raised.type)
    assert outcomes.count(TooOftenError) == 100
    sign(signer, peer="fd00:1:2:4::1")


def test_a_caller_that_disconnects_is_not_charged() -> None:
    async def disconnect(signer: Signing) -> None:
        task = asyncio.create_task(signer.sign("0", CSR, "10.9.9.9"))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    signer = signing(ScriptedCluster(live_objects.pod(address="")))
    for _ in range(700):
        asyncio.run(disconnect(signer))
    with pytest.raises(UnauthenticatedError):
        sign(signer, "guess", peer="10.9.9.9")


def test_a_caller_that_gets_a_certificate_is_not_charged() -> None:
    signer = signing(enrollments_per_minute=1000)
    for _ in range(500):
        sign(signer, peer="10.9.9.9")


def test_an_expired_ca_signs_nothing() -> None:
    reason = "expired on 2036-11-17: delete and recreate the cluster"
    with pytest.raises(NotAllowedError, match=reason):
        sign(signing(now=live_objects.NOW + timedelta(days=3700)))


def test_an_unavailable_api_server_is_not_charged_to_the_caller() -> None:
    cluster = ScriptedCluster()
    signer = signing(cluster)
    cluster.unavailable = True
    for _ in range(100):
        with pytest.raises(UnavailableError):
            sign(signer)
    cluster.unavailable = False
    sign(signer)


def test_concurrent_enrollments_are_limited() -> None:
    async def crowd() -> tuple[Any, ...]:
        signer = signing(
            ScriptedCluster(live_objects.pod(address=""), live_objects.pod()), max_enrollments=1
        )
        waiting = asyncio.gather(
            *(signer.sign(token, CSR, "") for token in ("0", "1")), return_exceptions=True
        )
        return (*await waiting, await signer.sign("0", CSR, ""))

    first, second, later = asyncio.run(crowd())
    assert isinstance(second, NotYetError) and "too many pods are enrolling at once" in str(second)
    assert isinstance(first, Issued) and isinstance(later, Issued)


def test_services_are_read_only_from_the_pods_namespace() -> None:
    class Watched(ScriptedCluster):
        async def services(self, namespace: str) -> Iterable[Service]:
            assert namespace == "team-a"
            return [Service("mine", {"ray.io/cluster": "demo"})]

        async def ray_cluster(self, namespace: str, name: str, uid: str) -> Cluster | None:
            assert (namespace, name, uid) == ("team-a", "demo", live_objects.CLUSTER_UID)
            return await super().ray_cluster(namespace, name, uid)

    assert "mine.team-a.svc" in [
        str(name.value) for name in sign(signing(Watched())).identity.names
    ]
