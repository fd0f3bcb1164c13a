"""The decision itself, with the API server as it can be: slow, away, or ahead of us."""

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
from tests.support import live_objects
from tests.support.factory import Object, changed
from webhook.enrollment.signing import (
    Issued,
    NotYetError,
    Signing,
    TooOftenError,
    UnauthenticatedError,
)
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


class Live(ManifestCluster):
    """The objects of `cluster.objects()` with tokens 0, 1, ... for its pods, and a pod that can change."""

    def __init__(self, *replies: Object | None) -> None:
        numbers = map(str, range(100))
        super().__init__(live_objects.objects(), lambda: next(numbers))
        self._replies = [pod_of(reply) if reply else None for reply in replies]
        self.looks = self.reviews = 0
        self.away = False

    async def caller(self, token: str) -> TokenIdentity | None:
        await asyncio.sleep(0)
        self.reviews += 1
        if self.away:
            raise UnavailableError("connection refused")
        return await super().caller(token)

    async def pod(self, namespace: str, name: str) -> LivePod | None:
        self.looks += 1
        if self._replies:
            return self._replies[min(self.looks, len(self._replies)) - 1]
        return await super().pod(namespace, name)


def signing(
    live: Live | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    days: int = 730,
    now: datetime = live_objects.NOW,
    **settings: Any,
) -> Signing:
    authorities, profile = Authorities(live_objects.SEED), CertificateProfile(timedelta(days=days))
    return Signing(
        live or Live(),
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


def test_a_certificate_for_the_key_in_the_request_and_the_identity_of_the_pod() -> None:
    issued = sign(signing())
    (leaf,) = x509.load_pem_x509_certificates(issued.chain)
    assert leaf.public_key() == KEY.public_key()
    assert leaf.serial_number == issued.serial == 7
    assert not list(leaf.subject)
    assert (issued.not_after - live_objects.NOW).days == 730
    assert (issued.identity.cluster.name, issued.identity.pod) == ("demo", "demo-head-abcde")


def test_the_life_of_a_certificate_is_the_operators_choice() -> None:
    assert (sign(signing(days=30)).not_after - live_objects.NOW).days == 30


def test_a_client_certificate_cannot_serve() -> None:
    (leaf,) = x509.load_pem_x509_certificates(sign(signing(), "4").chain)
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_an_unknown_token_gets_nothing() -> None:
    with pytest.raises(UnauthenticatedError):
        sign(signing(), "nobody's")


def test_nobody_learns_of_his_csr_before_he_has_shown_a_token() -> None:
    with pytest.raises(UnauthenticatedError):
        sign(signing(), "nobody's", b"nonsense")
    with pytest.raises(CsrError):
        sign(signing(), "0", b"nonsense")


def test_it_waits_until_the_address_is_known() -> None:
    live = Live(
        live_objects.pod(address=""),
        live_objects.pod(address=""),
        live_objects.pod(address="10.0.0.7"),
    )
    issued = sign(signing(live))
    assert "10.0.0.7" in [str(name.value) for name in issued.identity.names]
    assert live.looks == 3


def test_it_does_not_wait_for_ever() -> None:
    seconds = iter(range(1000))
    with pytest.raises(NotYetError, match="does not know the pod's IP address yet"):
        sign(
            signing(
                Live(live_objects.pod(address="")),
                lambda: float(next(seconds)),
                address_wait_seconds=3,
            )
        )


def test_a_pod_that_vanishes_while_we_wait_gets_none() -> None:
    with pytest.raises(NotAllowedError, match="no longer exists"):
        sign(signing(Live(live_objects.pod(address=""), None)))
    with pytest.raises(NotAllowedError, match="no longer exists"):
        sign(signing(Live(live_objects.pod(address=""), live_objects.pod(uid="reborn"))))


def test_a_cluster_that_is_gone_has_no_members() -> None:
    orphan = changed(live_objects.pod(), {"/metadata/ownerReferences/0/uid": "of-another-life"})
    with pytest.raises(NotAllowedError, match="RayCluster demo that owns the pod no longer exists"):
        sign(signing(Live(orphan)))


def test_the_peer_can_be_held_to_the_address_of_the_pod() -> None:
    strict = signing(require_peer_address=True)
    for peer in ("127.0.0.1", "::ffff:127.0.0.1"):
        sign(strict, peer=peer)
    for peer in ("127.0.0.9", "::ffff:127.0.0.9", "", "unix"):
        with pytest.raises(NotAllowedError, match="does not come from an address of the pod"):
            sign(strict, peer=peer)
        sign(signing(), peer=peer)


def test_a_pod_asks_only_so_often_and_others_do_not_pay_for_it() -> None:
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


def test_strangers_cost_the_api_server_only_so_much_one_by_one_or_all_at_once() -> None:
    async def crowd(signer: Signing, number: int) -> list[Any]:
        return await asyncio.gather(
            *(signer.sign("guess", CSR, "10.9.9.9") for _ in range(number)), return_exceptions=True
        )

    for number in (1, 700):
        signer = signing(max_enrollments=1000)
        outcomes = [
            type(outcome)
            for _ in range(700 // number)
            for outcome in asyncio.run(crowd(signer, number))
        ]
        assert outcomes.count(UnauthenticatedError) == 600
        assert outcomes.count(TooOftenError) == 100
        assert sign(signer, "0", peer="10.9.9.8").identity.pod


def test_a_pod_that_asks_too_often_costs_no_more_than_a_stranger() -> None:
    live = Live()
    signer = signing(live, enrollments_per_minute=3)
    asked = 0
    for _ in range(700):
        with suppress(TooOftenError):
            sign(signer)
            asked += 1
    assert (asked, live.reviews) == (3, 603)


def test_all_of_an_ipv6_network_pay_together() -> None:
    signer = signing()
    outcomes = []
    for number in range(700):
        with pytest.raises((UnauthenticatedError, TooOftenError)) as raised:
            sign(signer, "guess", peer=f"fd00:1:2:3::{number:x}")
        outcomes.append(raised.type)
    assert outcomes.count(TooOftenError) == 100
    sign(signer, peer="fd00:1:2:4::1")


def test_who_hangs_up_pays_nothing() -> None:
    async def hang_up(signer: Signing) -> None:
        task = asyncio.create_task(signer.sign("0", CSR, "10.9.9.9"))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    signer = signing(Live(live_objects.pod(address="")))
    for _ in range(700):
        asyncio.run(hang_up(signer))
    with pytest.raises(UnauthenticatedError):
        sign(signer, "guess", peer="10.9.9.9")


def test_who_gets_his_certificate_pays_nothing() -> None:
    signer = signing(enrollments_per_minute=1000)
    for _ in range(500):
        sign(signer, peer="10.9.9.9")


def test_a_ca_that_has_ended_signs_nothing() -> None:
    with pytest.raises(NotAllowedError, match="has ended on 2036-11-17: create the cluster anew"):
        sign(signing(now=live_objects.NOW + timedelta(days=3700)))


def test_an_api_server_that_is_away_is_no_refusal_and_no_strangers_fault() -> None:
    live = Live()
    signer = signing(live)
    live.away = True
    for _ in range(100):
        with pytest.raises(UnavailableError):
            sign(signer)
    live.away = False
    sign(signer)


def test_only_so_many_at_once() -> None:
    async def crowd() -> tuple[Any, ...]:
        signer = signing(Live(live_objects.pod(address=""), live_objects.pod()), max_enrollments=1)
        waiting = asyncio.gather(
            *(signer.sign(token, CSR, "") for token in ("0", "1")), return_exceptions=True
        )
        return (*await waiting, await signer.sign("0", CSR, ""))

    first, second, later = asyncio.run(crowd())
    assert isinstance(second, NotYetError) and "too many pods enroll at once" in str(second)
    assert isinstance(first, Issued) and isinstance(later, Issued)


def test_services_are_asked_of_the_pods_namespace_only() -> None:
    class Watched(Live):
        async def services(self, namespace: str) -> Iterable[Service]:
            assert namespace == "team-a"
            return [Service("mine", {"ray.io/cluster": "demo"})]

        async def ray_cluster(self, namespace: str, name: str, uid: str) -> Cluster | None:
            assert (namespace, name, uid) == ("team-a", "demo", live_objects.CLUSTER_UID)
            return await super().ray_cluster(namespace, name, uid)

    assert "mine.team-a.svc" in [
        str(name.value) for name in sign(signing(Watched())).identity.names
    ]
