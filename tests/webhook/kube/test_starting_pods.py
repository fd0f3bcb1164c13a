"""Enrollment from memory: pods and RayClusters that a watch reports, and what happens in doubt."""

import asyncio
import time
from datetime import timedelta

import pytest

from certs.cache import Authorities
from certs.csr import CsrError
from certs.identity import Domains, NotAllowedError
from certs.profile import CertificateProfile
from policies.configured import NetworkIsolation
from tests.support import live_objects
from tests.support.factory import Object, changed
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import conversation, following, until
from tests.support.pod_tokens import TokenSigner, published
from tests.webhook.enrollment.test_signing import CSR
from webhook.enrollment.signing import Issued, NotYetError, Signing
from webhook.isolation.wanted import NoNetworkPolicies
from webhook.kube.api import KubeApi
from webhook.kube.informer import Informer
from webhook.kube.live import KubeLive
from webhook.kube.objects import pod_of
from webhook.kube.pods import PODS, PodStore, StartingPods
from webhook.kube.token_keys import TokenKeys
from webhook.settings import Settings

SIGNER = TokenSigner("ES256")
NOW = live_objects.NOW.timestamp()
POD = live_objects.pod()
NAME, UID = POD["metadata"]["name"], POD["metadata"]["uid"]
RUNNING = changed(POD, {"/status/phase": "Running"})


def fill(fake: FakeKubeApi, *pods: Object) -> None:
    fake.paths = dict(published(SIGNER))
    fake.put("namespaces", live_objects.namespace())
    fake.put("rayclusters", live_objects.ray_cluster())
    for pod in pods or (POD,):
        fake.put("pods", pod)


async def keys_of(api: KubeApi) -> TokenKeys:
    keys = TokenKeys(api, lambda: live_objects.NOW)
    await keys.update()
    return keys


def signing(live: KubeLive, **settings: float) -> Signing:
    authorities = Authorities(live_objects.SEED)
    return Signing(
        live,
        NoNetworkPolicies(),
        NetworkIsolation,
        lambda: authorities,
        Domains(),
        CertificateProfile(timedelta(days=1)),
        Settings(enrollments_per_minute=1000, **settings),
        lambda: live_objects.NOW,
        time.monotonic,
        lambda: 7,
    )


async def enroll(live: KubeLive, pod: Object = POD, **settings: float) -> Issued:
    return await signing(live, **settings).sign(SIGNER.token(pod, NOW), CSR, "")


@conversation
async def test_an_enrollment_sends_no_request(fake: FakeKubeApi, api: KubeApi) -> None:
    second = live_objects.pod("w", "worker", "10.0.0.2", "w-uid")
    fill(fake, POD, second)
    async with following(api, await keys_of(api)) as live:
        issued = await enroll(live)
        assert (issued.identity.pod, issued.identity.role) == (NAME, "head")
        assert "10.0.0.2" in [str(n.value) for n in (await enroll(live, second)).identity.names]
        assert not fake.requests("POST", "tokenreviews")
        await until(lambda: len(fake.watches("pods")) == 1)
        requests = fake.requests("GET", "pods") + fake.requests("GET", "rayclusters")
        assert {request.raw_path.rpartition("/")[2] for request in requests} == {
            "pods",
            "rayclusters",
        }, "no object is read by its name"
        assert set(live.lookups) == {(name, "memory") for name in ("token", "pod", "cluster")}


@conversation
async def test_each_token_gets_the_certificate_of_its_own_pod(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    pods = [live_objects.pod(f"w{n}", "worker", f"10.0.0.{n}", f"uid-{n}") for n in range(1, 6)]
    fill(fake, *pods)
    async with following(api, await keys_of(api)) as live:
        signer = signing(live)
        tokens = [SIGNER.token(pod, NOW) for pod in pods] * 4
        issued = await asyncio.gather(*(signer.sign(token, CSR, "") for token in tokens))
        for number, certificate in enumerate(issued):
            names = [str(name.value) for name in certificate.identity.names]
            assert certificate.identity.pod == f"w{number % 5 + 1}"
            assert names[0] == f"10.0.0.{number % 5 + 1}"
        # The token of one pod does not serve at the address of another.
        strict = signing(live, require_peer_address=True)
        await strict.sign(tokens[0], CSR, "10.0.0.1")
        with pytest.raises(NotAllowedError, match="does not come from an address of the pod"):
            await strict.sign(tokens[0], CSR, "10.0.0.2")
        with pytest.raises(CsrError):
            await signer.sign(tokens[0], b"nonsense", "")


@conversation
async def test_a_deleted_pod_cannot_enroll_again(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)
    async with following(api, await keys_of(api)) as live:
        await until(lambda: len(fake.watches("pods")) == 1)
        await enroll(live)
        dying = changed(POD, {"/metadata/deletionTimestamp": live_objects.CREATED})
        fake.put("pods", dying)
        await until(lambda: _ended(live))
        with pytest.raises(NotAllowedError, match="being deleted"):
            await enroll(live)
        fake.delete("pods", "team-a", NAME)
        await until(lambda: live._pods.get("team-a", NAME, UID) is None)
        with pytest.raises(NotAllowedError, match="no longer exists"):
            await enroll(live)


def _ended(live: KubeLive) -> bool:
    pod = live._pods.get("team-a", NAME, UID)
    return pod is not None and pod.ended


@conversation
async def test_a_recreated_pod_is_another_pod(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)
    async with following(api, await keys_of(api)) as live:
        await until(lambda: len(fake.watches("pods")) == 1)
        fake.delete("pods", "team-a", NAME)
        recreated = live_objects.pod(address="10.0.0.9", uid="recreated")
        fake.put("pods", recreated)
        # Whether or not memory knows it already.
        assert (await enroll(live, recreated)).identity.pod == NAME
        await until(lambda: live._pods.get("team-a", NAME, "recreated") is not None)
        with pytest.raises(NotAllowedError, match="no longer exists"):
            await enroll(live)
        assert str((await enroll(live, recreated)).identity.names[0].value) == "10.0.0.9"


@conversation
async def test_what_memory_lacks_is_read(fake: FakeKubeApi, api: KubeApi) -> None:
    large = changed(POD, {"/metadata/labels/big": "x" * 9000})
    fill(fake, RUNNING, live_objects.pod("odd", uid="odd", address=""))
    async with following(api, await keys_of(api)) as live:
        await until(lambda: len(fake.watches("pods")) == 1)
        await enroll(live)
        assert live.lookups["pod", "api"] == 1, "a pod that runs is not in memory"
        fake.put("pods", large)
        await until(lambda: len(fake.requests("GET", "pods")) > 2)
        await enroll(live)
        assert live.lookups["pod", "api"] == 2, "a pod with too many labels is not in memory"
        fake.put("rayclusters", live_objects.ray_cluster(uid="another"))
        await until(lambda: live.known_ray_cluster("team-a", "demo").uid == "another")  # type: ignore[union-attr]  # it exists
        with pytest.raises(NotAllowedError, match="no longer exists"):
            await enroll(live)
        assert live.lookups["cluster", "api"] == 1


@conversation
async def test_a_pod_that_gets_its_address_is_served_at_once(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    starting = live_objects.pod(address="")
    fill(fake, starting)
    async with following(api, await keys_of(api)) as live:
        await until(lambda: len(fake.watches("pods")) == 1)
        task = asyncio.create_task(enroll(live, starting))
        # The pause is almost a second by now: only the event can end it soon.
        await asyncio.sleep(0.8)
        assert not task.done()
        started = time.monotonic()
        fake.put("pods", POD)
        issued = await task
        assert time.monotonic() - started < 0.3
        assert str(issued.identity.names[0].value) == "127.0.0.1"
        assert live.lookups["pod", "api"] == 0, "waiting costs the API server nothing"
        assert not live._pods._waiting
        with pytest.raises(NotYetError):
            fake.put("pods", starting)
            await until(lambda: not _has_address(live))
            await enroll(live, starting, address_wait_seconds=0.2)
        assert not live._pods._waiting


def _has_address(live: KubeLive) -> bool:
    pod = live._pods.get("team-a", NAME, UID)
    return bool(pod and pod.addresses)


@conversation
async def test_memory_that_may_be_out_of_date_is_not_used(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)
    pods = StartingPods(api, retry_seconds=0.05)
    pods.informer = Informer(
        api, PODS, lambda: PodStore(pods._wake), retry_seconds=0.05, fresh_seconds=0.3
    )
    assert pods.get("team-a", NAME, UID) is None
    task = asyncio.create_task(pods.informer.run())
    try:
        await until(lambda: pods.get("team-a", NAME, UID) is not None)
        # The connection stays open and says nothing.
        await until(lambda: pods.get("team-a", NAME, UID) is None)
        assert pods.informer.up_to_date and not pods.informer.is_fresh
        fake.bookmark("pods")
        await until(lambda: pods.get("team-a", NAME, UID) is not None)
        await until(lambda: pods.get("team-a", NAME, UID) is None)
        fake.bookmark("pods")
        await until(lambda: pods.get("team-a", NAME, UID) is not None)
        fake.forbidden = {("watch", "pods"), ("list", "pods")}
        fake.forget()
        await until(lambda: not pods.informer.up_to_date)
        assert pods.get("team-a", NAME, UID) is None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@conversation
async def test_watches_that_end_in_time_keep_memory_fresh(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)
    informer = Informer(
        api, PODS, lambda: PodStore(lambda namespace, name: None),
        watch_seconds=1, fresh_seconds=1.5,
    )  # fmt: skip
    task = asyncio.create_task(informer.run())
    try:
        await informer.synced.wait()
        await until(lambda: len(fake.watches("pods")) == 4 or not informer.is_fresh)
        assert informer.is_fresh, "no event and no bookmark arrived, but the watches ended"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_pod_in_memory_is_the_pod_that_was_read() -> None:
    store = PodStore(lambda namespace, name: None)
    documents = [
        *(document for document in live_objects.objects() if document["kind"] == "Pod"),
        changed(POD, {"/status/podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}),
        changed(POD, {"/metadata/deletionTimestamp": live_objects.CREATED}),
        changed(POD, {"/metadata/ownerReferences": []}),
        changed(POD, {"/spec": {}}),
        live_objects.pod(address=""),
    ]
    for document in documents:
        metadata = document["metadata"]
        extended = changed(document, {"/metadata/managedFields": [{"x": "y" * 20_000}]})
        store.put(metadata["namespace"], metadata["name"], extended)
        assert store.pod(metadata["namespace"], metadata["name"]) == pod_of(document)
        store.remove(metadata["namespace"], metadata["name"])
        assert len(store) == 0 and store.pod(metadata["namespace"], metadata["name"]) is None
    store.put("team-a", NAME, changed(POD, {"/status/podIP": "ten"}))
    assert store.pod("team-a", NAME) is None
