"""Which pod, ports, version and token belong to a cluster, and what is said if one is missing."""

import base64
from collections.abc import Awaitable
from typing import Any

import pytest

from certs.client import ClusterName
from tests.support import live_objects
from tests.support.factory import Object, changed
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import conversation
from webhook.connect.problems import ConnectError
from webhook.connect.ray_head import RayHead, RayPorts, find_head
from webhook.connect.ray_token import ray_token
from webhook.kube.api import KubeApi

READY = {"type": "Ready", "status": "True"}


def ray_cluster(**params: str) -> Object:
    """A managed RayCluster whose head has these rayStartParams."""
    head = {"rayStartParams": params, "template": {"spec": {}}}
    document = live_objects.ray_cluster(headGroupSpec=head, rayVersion="2.59.0")
    document["metadata"]["labels"] = {"raywarden.io/tls": "managed"}
    return document


def running(pod: Object, image: str = "rayproject/ray:2.60.0-py311", **env: Any) -> Object:
    entries = [
        {"name": name, **(value if isinstance(value, dict) else {"value": value})}
        for name, value in env.items()
    ]
    container = {"name": "ray", "image": image, "env": entries}
    return changed(pod, {"/spec/containers": [container], "/status/conditions": [READY]})


async def refusal(call: Awaitable[Any]) -> str:
    with pytest.raises(ConnectError) as raised:
        await call
    assert "\n" not in str(raised.value)
    return str(raised.value)


@conversation
async def test_the_head_of_a_ray_cluster(fake: FakeKubeApi, api: KubeApi) -> None:
    moved = {"port": "7000", "dashboard-port": "$(PORT)", "ray-client-server-port": "70000"}
    fake.put("rayclusters", ray_cluster(**moved))
    fake.put("pods", live_objects.pod("worker", "worker"))
    fake.put("pods", running(live_objects.pod()))
    head = await find_head(api, "team-a", "demo")
    assert head.cluster == ClusterName("team-a", "demo") and head.pod == "demo-head-abcde"
    assert head.ports == RayPorts(10001, 8265, 7000)
    assert head.version == (2, 60, 0), "the image runs, whatever rayVersion says"


@conversation
async def test_the_head_of_ray_without_kuberay(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.unknown.add("rayclusters")
    fake.put("pods", running(live_objects.opted_in_pod("web-head", "head")))
    fake.put("pods", running(live_objects.opted_in_pod("web-1", "worker")))
    head = await find_head(api, "team-a", "django")
    assert head.cluster == ClusterName("team-a", "django", opted_in=True)
    assert (head.pod, head.ports) == ("web-head", RayPorts())
    said = await refusal(find_head(api, "team-a", "demo"))
    assert said.startswith("there is no Ray cluster demo in the namespace team-a (it has none)")


@conversation
async def test_ray_without_kuberay_with_certificates_of_others(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.unknown.add("rayclusters")
    annotated = {"/metadata/annotations": {"raywarden.io/tls-secret": "mine"}}
    pod = running(live_objects.opted_in_pod("web-head", "head"))
    fake.put("pods", changed(pod, annotated))
    said = await refusal(find_head(api, "team-a", "django"))
    assert "brings its own certificates (Secret mine)" in said


@conversation
async def test_a_cluster_that_cannot_be_used_says_why(fake: FakeKubeApi, api: KubeApi) -> None:
    def find() -> Awaitable[RayHead]:
        return find_head(api, "team-a", "demo")

    fake.put("rayclusters", live_objects.ray_cluster())
    assert "has no certificates from RayWarden (TLS by nobody)" in await refusal(find())
    fake.put("rayclusters", ray_cluster())
    assert "team-a/demo has no head yet" in await refusal(find())
    fake.put("pods", live_objects.pod())
    assert "(demo-head-abcde is Pending): wait until" in await refusal(find())
    fake.put("pods", running(live_objects.pod()))
    assert (await find()).pod
    own = changed(ray_cluster(), {"/metadata/annotations": {"raywarden.io/tls-secret": "mine"}})
    fake.put("rayclusters", own)
    assert "brings its own certificates (Secret mine)" in await refusal(find())
    fake.forbidden.add(("get", "rayclusters"))
    said = await refusal(find())
    assert said.startswith("you may not get rayclusters.ray.io in namespace team-a: ask an admin")
    assert "../" in await refusal(find_head(api, "team-a", "../demo"))


def head_with(**env: Any) -> RayHead:
    pod = running(live_objects.pod(), **env)
    entries = {entry["name"]: entry for entry in pod["spec"]["containers"][0]["env"]}
    cluster = ClusterName("team-a", "demo")
    return RayHead(cluster, "demo-head-abcde", RayPorts(), None, entries)


SECRET = {"valueFrom": {"secretKeyRef": {"name": "demo", "key": "auth_token"}}}


@conversation
async def test_the_token_is_read_where_the_head_reads_it(fake: FakeKubeApi, api: KubeApi) -> None:
    head = head_with(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=SECRET)
    assert "has no token in auth_token" in await refusal(ray_token(api, head, ""))
    data = {"auth_token": base64.b64encode(b"s3cret\n").decode()}
    metadata = {"name": "demo", "namespace": "team-a"}
    fake.put("secrets", {"metadata": metadata, "data": data})
    token = await ray_token(api, head, "")
    assert token.required and token.value == "s3cret" and "s3cret" not in repr(token)
    assert (await ray_token(api, head, "mine")).value == "mine"
    fake.forbidden.add(("get", "secrets"))
    assert "--resource=secrets --resource-name=demo" in await refusal(ray_token(api, head, ""))
    assert not (await ray_token(api, head_with(), "mine")).required


@conversation
async def test_a_kubernetes_token_is_never_sent_by_itself(fake: FakeKubeApi, api: KubeApi) -> None:
    """The head could use it for whatever the user may do."""
    head = head_with(RAY_AUTH_MODE="token", RAY_ENABLE_K8S_TOKEN_AUTH="true")
    assert "accepts Kubernetes tokens: set RAY_AUTH_TOKEN" in await refusal(
        ray_token(api, head, "")
    )
    assert (await ray_token(api, head, "limited")).value == "limited"
    assert fake.seen == []
