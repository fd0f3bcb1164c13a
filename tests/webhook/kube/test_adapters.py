"""The adapters to the Kubernetes API, against a server on a real socket."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from certs.identity import Cluster, LivePod, Service, TokenIdentity
from certs.seed import Seed, SeedError
from tests.support.fake_kube_api import FakeKubeApi, fails
from tests.support.kube_conversation import conversation, following, problem, until
from webhook.kube.adapters import KubeSeedStore, KubeWebhookConfigurations
from webhook.kube.api import KubeApi
from webhook.kube.live import KubeLive
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
async def test_only_a_token_of_a_pod_for_our_audience_has_a_caller(
    fake: FakeKubeApi, api: KubeApi
) -> None:
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
async def test_pods_are_read_from_the_api_every_time(fake: FakeKubeApi, api: KubeApi) -> None:
    live = KubeLive(api)
    assert await live.pod("ray", "worker-0", "uid-1") is None
    document = {
        "metadata": metadata("worker-0", "ray"),
        "spec": {},
        "status": {"podIP": "10.0.0.7"},
    }
    fake.put("pods", document)
    pod = await live.pod("ray", "worker-0", "uid-1")
    assert isinstance(pod, LivePod)
    assert list(map(str, pod.addresses)) == ["10.0.0.7"] and not pod.ended
    fake.put("pods", {**document, "status": {"phase": "Failed"}})
    pod = await live.pod("ray", "worker-0", "uid-1")
    assert pod and pod.ended and pod.addresses == ()
    fake.put("pods", {**document, "status": {"podIP": "ten"}})
    assert "ray/worker-0 is malformed" in str(await problem(live.pod("ray", "worker-0", "uid-1")))


@conversation
async def test_ray_clusters_are_read_from_the_api_every_time(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    live = KubeLive(api)
    fake.put("rayclusters", ray_cluster("c", "uid-1"))
    assert await live.ray_cluster("ray", "c", "uid-1") == Cluster("ray", "c", "uid-1", CREATED_AT)
    fake.put("rayclusters", ray_cluster("c", "uid-2"))
    assert await live.ray_cluster("ray", "c", "uid-1") is None, "another cluster has the name now"
    assert await live.ray_cluster("ray", "d", "uid-1") is None
    fake.put("rayclusters", {"metadata": {"name": "d", "namespace": "ray", "uid": "uid-1"}})
    assert "is malformed" in str(await problem(live.ray_cluster("ray", "d", "uid-1")))
    async with following(api) as running_live:
        assert [cluster.name for cluster in running_live.ray_clusters()] == ["c"], (
            "the other cluster has no creationTimestamp"
        )


@conversation
async def test_namespaces_have_labels_and_contain_opted_in_clusters(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    not_running = KubeLive(api)
    fake.put(
        "namespaces",
        {"metadata": metadata("ray", uid="uid-9", labels={"raywarden.io/enforce": "baseline"})},
    )
    assert not_running.state_of("ray").labels == {}
    expected = Cluster("ray", "mine", "uid-9", CREATED_AT, opted_in=True)
    assert await not_running.opted_in_cluster("ray", "mine") == expected
    assert await not_running.opted_in_cluster("gone", "mine") is None
    async with following(api) as live:
        namespace_states: NamespaceStates = live
        assert namespace_states.state_of("ray").labels == {"raywarden.io/enforce": "baseline"}
        assert namespace_states.state_of("gone").labels == {}
        fake.put("namespaces", {"metadata": metadata("ray", uid="uid-10")})
        recreated = await live.opted_in_cluster("ray", "mine")
        assert recreated and recreated.uid == "uid-10", "the decision does not come from memory"
        await until(lambda: len(fake.watches("namespaces")) == 1)
        fake.put("namespaces", {"metadata": metadata("ray", labels={})})
        await until(lambda: live.state_of("ray").labels == {})


@conversation
async def test_services_come_from_memory_once_they_are_known(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    for namespace in ("ray", "other"):
        fake.put(
            "services",
            {"metadata": metadata("head", namespace), "spec": {"selector": {"a": namespace}}},
        )
    error = await problem(KubeLive(api).services("ray"))
    assert str(error) == "the Services are not in RayWarden's cache yet"
    async with following(api) as live:
        assert list(await live.services("ray")) == [Service("head", {"a": "ray"})]
        assert list(await live.services("none")) == []


@conversation
async def test_the_cache_syncs_without_kuberay(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.unknown = {"rayclusters"}
    async with following(api) as live:
        assert await live.ray_cluster("ray", "c", "uid-1") is None
        fake.unknown = set()
        fake.put("rayclusters", ray_cluster("c", "uid-1"))
        assert await live.ray_cluster("ray", "c", "uid-1")


@conversation
async def test_the_first_of_two_stores_creates_the_seed(fake: FakeKubeApi, api: KubeApi) -> None:
    first: SeedStore = KubeSeedStore(api, OURS)
    second: SeedStore = KubeSeedStore(api, OURS)
    assert await first.load() is None and await second.load() is None
    entries = {"20261120T080000Z": bytes(range(32))}
    await first.create(entries)
    with pytest.raises(ConflictError):
        await second.create({"20261120T080000Z": bytes(32)})
    stored = await second.load()
    assert stored and stored.entries == entries and stored.version
    secret = fake.objects["secrets", OURS, "raywarden-seed"]
    assert (secret["kind"], secret["type"]) == ("Secret", "Opaque")
    assert secret["metadata"]["labels"] == {"app.kubernetes.io/name": "raywarden"}


@conversation
async def test_a_seed_is_replaced_only_if_it_has_not_changed(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    store = KubeSeedStore(api, OURS)
    await store.create({"20261120T080000Z": bytes(32)})
    stored = await store.load()
    assert stored
    key = ("secrets", OURS, "raywarden-seed")
    fake.objects[key]["metadata"]["annotations"] = {"theirs": "kept"}
    entries = {**stored.entries, "20261121T080000Z": bytes(32)}
    await store.replace(stored, entries)
    replaced = await store.load()
    assert replaced and replaced.entries == entries
    assert fake.objects[key]["metadata"]["annotations"] == {"theirs": "kept"}
    with pytest.raises(ConflictError):
        await store.replace(stored, {})
    fake.faults = [fails(409)]
    with pytest.raises(ConflictError):
        await store.replace(replaced, {})
    del fake.objects[key]
    with pytest.raises(ConflictError):
        await store.replace(StoredSeed({}, replaced.version), entries)


@conversation
async def test_a_seed_that_is_not_base64_does_not_parse_and_is_not_quoted(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    for value in ("not base64, but 32 characters long", "c2VlZ", 7, "é", None):
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
    """A webhook configuration with a webhook for each bundle; None stands for no caBundle."""
    webhooks = []
    for index, bundle in enumerate(bundles):
        client_config = {"url": "x", "caBundle": bundle} if bundle else {"url": "x"}
        webhooks.append({"name": f"{index}.raywarden.io", "clientConfig": client_config})
    return {"metadata": metadata("raywarden"), "webhooks": webhooks}


def bundles(fake: FakeKubeApi) -> list[str]:
    """Every caBundle in both configurations."""
    stored = [fake.objects[kind, "", "raywarden"] for kind in KINDS]
    return [
        webhook["clientConfig"]["caBundle"]
        for configuration in stored
        for webhook in configuration["webhooks"]
    ]


@conversation
async def test_every_webhook_trusts_our_ca_even_after_others_change_it(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put(KINDS[0], configuration(None, "b3RoZXI="))
    fake.put(KINDS[1], configuration("b3RoZXI="))
    configurations: WebhookConfigurations = KubeWebhookConfigurations(api, "raywarden")
    ours = base64.b64encode(b"our CA").decode()
    assert await configurations.trust(b"our CA") is True
    assert bundles(fake) == [ours] * 3
    writes = len(fake.requests("PATCH", KINDS[0]) + fake.requests("PATCH", KINDS[1]))
    assert writes == 2
    assert await configurations.trust(b"our CA") is False
    fake.put(KINDS[1], configuration("b3RoZXI="))
    assert await configurations.trust(b"our CA") is True
    assert bundles(fake) == [ours] * 3
    assert (len(fake.requests("PATCH", KINDS[0])), len(fake.requests("PATCH", KINDS[1]))) == (1, 2)


@conversation
async def test_a_bundle_is_not_written_to_a_changed_configuration(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    for kind in KINDS:
        fake.put(kind, configuration("b3RoZXI="))

    async def reorder(request: Any) -> Any:
        answer = await fake.serve(request)
        fake.put(KINDS[0], configuration("b3RoZXI=", "dGhpcmQ="))
        return answer

    fake.faults = [reorder]
    assert await KubeWebhookConfigurations(api, "raywarden").trust(b"our CA") is True
    assert len(fake.requests("PATCH", KINDS[0])) == 2
    assert len(set(bundles(fake))) == 1 and len(bundles(fake)) == 3


@conversation
async def test_an_attempt_to_write_a_bundle_ends_with_an_error(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    configurations = KubeWebhookConfigurations(api, "raywarden")
    assert str(await problem(configurations.trust(b"our CA"))) == (
        "raywarden does not exist in mutatingwebhookconfigurations.admissionregistration.k8s.io: "
        "apply deploy/base"
    )
    fake.put(KINDS[0], configuration("b3RoZXI="))
    fake.faults = [fake.serve, fails(422)] * 5
    error = await problem(configurations.trust(b"our CA"))
    assert "another client keeps changing the object" in str(error)
    fake.faults, fake.forbidden = [], {("patch", KINDS[0])}
    error = await problem(configurations.trust(b"our CA"))
    assert f"may not patch {KINDS[0]}.admissionregistration" in str(error)
