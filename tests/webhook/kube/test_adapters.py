"""The ports over a Kubernetes API, against a server on a real socket."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from certs.identity import Cluster, LivePod, Service, TokenIdentity
from certs.seed import Seed, SeedError
from tests.support.fake_kube_api import FakeKubeApi, fails
from tests.support.kube_conversation import conversation, following, problem, until
from webhook.kube.adapters import KubeLive, KubeSeedStore, KubeWebhookConfigurations
from webhook.kube.api import KubeApi
from webhook.ports import (
    ConflictError,
    LiveObjects,
    NamespaceStates,
    SeedStore,
    StoredSeed,
    WebhookConfigurations,
)

CREATED = "2026-11-20T08:00:00Z"
CREATED_AT = datetime(2026, 11, 20, 8, tzinfo=UTC)
OURS = "raywarden-system"
KINDS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")


def metadata(name: str, namespace: str = "", uid: str = "uid-1", **more: Any) -> dict[str, Any]:
    scope = {"namespace": namespace} if namespace else {}
    return {"name": name, "uid": uid, "creationTimestamp": CREATED, **scope, **more}


def ray_cluster(name: str, uid: str) -> dict[str, Any]:
    return {"metadata": metadata(name, "ray", uid), "spec": {}}


def bearer(*audiences: str, **extra: str) -> Mapping[str, Any]:
    """The status of a TokenReview of a valid token."""
    user = {
        "username": "system:serviceaccount:ray:worker",
        "extra": {
            f"authentication.kubernetes.io/{name.replace('_', '-')}": [value]
            for name, value in extra.items()
        },
    }
    return {"authenticated": True, "audiences": list(audiences), "user": user}


@conversation
async def test_only_tokens_of_pods_for_us_have_a_caller(fake: FakeKubeApi, api: KubeApi) -> None:
    live: LiveObjects = KubeLive(api)
    fake.tokens = {
        "good": bearer("raywarden.io", pod_name="worker-0", pod_uid="uid-7"),
        "foreign": bearer("https://kubernetes.default.svc", pod_name="worker-0", pod_uid="uid-7"),
        "unbound": bearer("raywarden.io"),
    }
    assert await live.caller("good") == TokenIdentity("ray", "worker", "worker-0", "uid-7")
    for token in ("foreign", "unbound", "unknown", "", "\n"):
        assert await live.caller(token) is None
    fake.forbidden = {("create", "tokenreviews")}
    error = str(await problem(live.caller("good")))
    assert "may not create tokenreviews.authentication.k8s.io: grant it" in error
    fake.faults = [fails(400, "good")]
    assert "good" not in str(await problem(live.caller("good")))


@conversation
async def test_pods_are_read_every_time(fake: FakeKubeApi, api: KubeApi) -> None:
    live = KubeLive(api)
    assert await live.pod("ray", "worker-0") is None
    document = {
        "metadata": metadata("worker-0", "ray"),
        "spec": {},
        "status": {"podIP": "10.0.0.7"},
    }
    fake.put("pods", document)
    found = await live.pod("ray", "worker-0")
    assert (
        isinstance(found, LivePod)
        and list(map(str, found.addresses)) == ["10.0.0.7"]
        and not found.ended
    )
    fake.put("pods", {**document, "status": {"phase": "Failed"}})
    found = await live.pod("ray", "worker-0")
    assert found and found.ended and found.addresses == ()
    fake.put("pods", {**document, "status": {"podIP": "ten"}})
    assert "ray/worker-0 cannot be understood" in str(await problem(live.pod("ray", "worker-0")))


@conversation
async def test_ray_clusters_are_read_every_time(fake: FakeKubeApi, api: KubeApi) -> None:
    live = KubeLive(api)
    fake.put("rayclusters", ray_cluster("c", "uid-1"))
    assert await live.ray_cluster("ray", "c", "uid-1") == Cluster("ray", "c", "uid-1", CREATED_AT)
    fake.put("rayclusters", ray_cluster("c", "uid-2"))
    assert await live.ray_cluster("ray", "c", "uid-1") is None, "made again under its name"
    assert await live.ray_cluster("ray", "d", "uid-1") is None
    fake.put("rayclusters", {"metadata": {"name": "d", "namespace": "ray", "uid": "uid-1"}})
    assert "cannot be understood" in str(await problem(live.ray_cluster("ray", "d", "uid-1")))
    async with following(api) as running_live:
        assert [cluster.name for cluster in running_live.ray_clusters()] == ["c"], (
            "the other one has no time of creation"
        )


@conversation
async def test_namespaces_have_labels_and_stand_for_clusters(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    idle = KubeLive(api)
    fake.put(
        "namespaces",
        {"metadata": metadata("ray", uid="uid-9", labels={"raywarden.io/enforce": "baseline"})},
    )
    assert idle.state_of("ray").labels == {}
    expected = Cluster("ray", "mine", "uid-9", CREATED_AT, opted_in=True)
    assert await idle.opted_in_cluster("ray", "mine") == expected
    assert await idle.opted_in_cluster("gone", "mine") is None
    async with following(api) as live:
        namespace_states: NamespaceStates = live
        assert (
            namespace_states.state_of("ray").labels == {"raywarden.io/enforce": "baseline"}
            and namespace_states.state_of("gone").labels == {}
        )
        fake.put("namespaces", {"metadata": metadata("ray", uid="uid-10")})
        again = await live.opted_in_cluster("ray", "mine")
        assert again and again.uid == "uid-10", (
            "a namespace made again is another one, whatever memory says"
        )
        await until(lambda: len(fake.watches("namespaces")) == 1)
        fake.put("namespaces", {"metadata": metadata("ray", labels={})})
        await until(lambda: live.state_of("ray").labels == {})


@conversation
async def test_services_come_from_memory_and_not_before_they_are_known(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    for namespace in ("ray", "other"):
        fake.put(
            "services",
            {"metadata": metadata("head", namespace), "spec": {"selector": {"a": namespace}}},
        )
    assert (
        str(await problem(KubeLive(api).services("ray"))) == "the services have not been listed yet"
    )
    async with following(api) as live:
        assert list(await live.services("ray")) == [Service("head", {"a": "ray"})]
        assert list(await live.services("none")) == []


@conversation
async def test_it_is_in_sync_without_kuberay(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.unknown = {"rayclusters"}
    async with following(api) as live:
        assert await live.ray_cluster("ray", "c", "uid-1") is None
        fake.unknown = set()
        fake.put("rayclusters", ray_cluster("c", "uid-1"))
        assert await live.ray_cluster("ray", "c", "uid-1")


@conversation
async def test_the_first_of_two_stores_makes_the_seed(fake: FakeKubeApi, api: KubeApi) -> None:
    one: SeedStore = KubeSeedStore(api, OURS)
    two: SeedStore = KubeSeedStore(api, OURS)
    assert await one.load() is None and await two.load() is None
    entries = {"20261120T080000Z": bytes(range(32))}
    await one.create(entries)
    with pytest.raises(ConflictError):
        await two.create({"20261120T080000Z": bytes(32)})
    stored = await two.load()
    assert stored and stored.entries == entries and stored.version
    secret = fake.objects["secrets", OURS, "raywarden-seed"]
    assert (secret["kind"], secret["type"]) == ("Secret", "Opaque")
    assert secret["metadata"]["labels"] == {"app.kubernetes.io/name": "raywarden"}


@conversation
async def test_a_seed_is_replaced_only_as_it_was_read(fake: FakeKubeApi, api: KubeApi) -> None:
    store = KubeSeedStore(api, OURS)
    await store.create({"20261120T080000Z": bytes(32)})
    stored = await store.load()
    assert stored
    key = ("secrets", OURS, "raywarden-seed")
    fake.objects[key]["metadata"]["annotations"] = {"theirs": "kept"}
    entries = {**stored.entries, "20261121T080000Z": bytes(32)}
    await store.replace(stored, entries)
    found = await store.load()
    assert found and found.entries == entries
    assert fake.objects[key]["metadata"]["annotations"] == {"theirs": "kept"}
    with pytest.raises(ConflictError):
        await store.replace(stored, {})
    fake.faults = [fails(409)]
    with pytest.raises(ConflictError):
        await store.replace(found, {})
    del fake.objects[key]
    with pytest.raises(ConflictError):
        await store.replace(StoredSeed({}, found.version), entries)


@conversation
async def test_a_seed_that_is_no_base64_does_not_parse_and_is_not_quoted(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    for value in ("no base64, but 32 characters long", "c2VlZ", 7, "é", None):
        fake.put(
            "secrets",
            {"metadata": metadata("raywarden-seed", OURS), "data": {"20261120T080000Z": value}},
        )
        stored = await KubeSeedStore(api, OURS).load()
        assert stored
        with pytest.raises(SeedError) as raised:
            Seed.parse(stored.entries)
        assert str(value) not in str(raised.value) or value == 7
    fake.put("secrets", {"metadata": metadata("raywarden-seed", OURS)})
    stored = await KubeSeedStore(api, OURS).load()
    assert stored and stored.entries == {}


def configuration(*bundles: str | None) -> dict[str, Any]:
    """A webhook configuration as others may have left it."""
    webhooks = [
        {
            "name": f"{index}.raywarden.io",
            "clientConfig": {"url": "x", **({"caBundle": bundle} if bundle else {})},
        }
        for index, bundle in enumerate(bundles)
    ]
    return {"metadata": metadata("raywarden"), "webhooks": webhooks}


def bundles(fake: FakeKubeApi) -> list[str]:
    """Every caBundle there is."""
    stored = [fake.objects[kind, "", "raywarden"] for kind in KINDS]
    return [webhook["clientConfig"]["caBundle"] for one in stored for webhook in one["webhooks"]]


@conversation
async def test_every_webhook_trusts_our_ca_and_keeps_doing_so(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put(KINDS[0], configuration(None, "b3RoZXI="))
    fake.put(KINDS[1], configuration("b3RoZXI="))
    configurations: WebhookConfigurations = KubeWebhookConfigurations(api, "raywarden")
    ours = base64.b64encode(b"our CA").decode()
    assert await configurations.trust(b"our CA") is True
    assert bundles(fake) == [ours] * 3
    writes = len(fake.asked("PATCH", KINDS[0]) + fake.asked("PATCH", KINDS[1]))
    assert writes == 2
    assert await configurations.trust(b"our CA") is False
    fake.put(KINDS[1], configuration("b3RoZXI="))
    assert await configurations.trust(b"our CA") is True
    assert bundles(fake) == [ours] * 3
    assert (len(fake.asked("PATCH", KINDS[0])), len(fake.asked("PATCH", KINDS[1]))) == (1, 2)


@conversation
async def test_a_bundle_is_not_written_over_what_has_changed(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    for kind in KINDS:
        fake.put(kind, configuration("b3RoZXI="))

    async def reorder(request: Any) -> Any:
        answer = await fake.obey(request)
        fake.put(KINDS[0], configuration("b3RoZXI=", "dGhpcmQ="))
        return answer

    fake.faults = [reorder]
    assert await KubeWebhookConfigurations(api, "raywarden").trust(b"our CA") is True
    assert len(fake.asked("PATCH", KINDS[0])) == 2
    assert len(set(bundles(fake))) == 1 and len(bundles(fake)) == 3


@conversation
async def test_a_bundle_that_cannot_be_written_is_given_up(fake: FakeKubeApi, api: KubeApi) -> None:
    configurations = KubeWebhookConfigurations(api, "raywarden")
    assert str(await problem(configurations.trust(b"our CA"))) == (
        "there is no raywarden among mutatingwebhookconfigurations.admissionregistration.k8s.io: apply deploy/base"
    )
    fake.put(KINDS[0], configuration("b3RoZXI="))
    fake.faults = [fake.obey, fails(422)] * 5
    assert "it changes all the time, or is refused" in str(
        await problem(configurations.trust(b"our CA"))
    )
    fake.faults, fake.forbidden = [], {("patch", KINDS[0])}
    assert f"may not patch {KINDS[0]}.admissionregistration" in str(
        await problem(configurations.trust(b"our CA"))
    )
