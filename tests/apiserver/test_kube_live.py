"""The adapters with a real API server, real tokens, and exactly the shipped rights."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from certs.identity import Service, TokenIdentity
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import define_ray_clusters
from tests.apiserver.permissions import (
    CLUSTER_RULES,
    OWN_RULES,
    REGISTRATION,
    as_raywarden,
    grant,
    granted,
    without,
)
from tests.support.kube_conversation import following, problem
from webhook.kube.adapters import KubeSeedStore, KubeWebhookConfigurations
from webhook.kube.api import KubeApi
from webhook.kube.live import KubeLive
from webhook.kube.request import ExpiredError, InvalidError, Resource
from webhook.ports import ConflictError

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

AUDIENCE = "raywarden.io"
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")
NAMESPACES = Resource("", "v1", "namespaces")
KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A new namespace with the service account `raywarden`."""
    name = f"ns-{uuid4().hex[:8]}"
    control_plane.make(
        "/api/v1/namespaces", {"metadata": {"name": name, "labels": {"raywarden.io/enforce": "x"}}}
    )
    control_plane.make(
        f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "raywarden"}}
    )
    return name


def pod(control_plane: ControlPlane, namespace: str, name: str) -> dict[str, Any]:
    spec = {"serviceAccountName": "raywarden", "containers": [{"name": "ray", "image": "ray"}]}
    return control_plane.make(
        f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": name}, "spec": spec}
    )


def bound_token(
    control_plane: ControlPlane, pod: Mapping[str, Any], audience: str = AUDIENCE
) -> str:
    """A token bound to a pod, like the token that the kubelet projects into it."""
    namespace, name, uid = (pod["metadata"][key] for key in ("namespace", "name", "uid"))
    bound = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
    return control_plane.token(namespace, "raywarden", audiences=[audience], boundObjectRef=bound)


def register(control_plane: ControlPlane, name: str) -> None:
    """Create webhook configurations without rules and without a caBundle."""
    for kind in KINDS:
        webhook = {
            "name": "one.raywarden.io",
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        path = f"/apis/{REGISTRATION}/v1/{kind.lower()}s"
        control_plane.admin.delete(f"{path}/{name}")
        control_plane.make(
            path,
            {"metadata": {"name": name}, "webhooks": [webhook, {**webhook, "name": "two.x.io"}]},
        )


def test_only_the_token_of_a_live_pod_for_raywarden_has_a_caller(
    control_plane: ControlPlane, namespace: str
) -> None:
    grant(control_plane, namespace, CLUSTER_RULES, OWN_RULES)
    live_pod = pod(control_plane, namespace, "worker-0")
    deleted = pod(control_plane, namespace, "worker-1")
    valid, of_deleted_pod = (
        bound_token(control_plane, live_pod),
        bound_token(control_plane, deleted),
    )
    invalid = (
        bound_token(control_plane, live_pod, "https://kubernetes.default.svc.cluster.local"),
        control_plane.token(namespace, "raywarden", audiences=[AUDIENCE]),
        *("garbage", "", " ", "two words", "\n", "é", "x" * 100_000),
        valid[:-8] + "AAAAAAAA",
    )
    response = control_plane.admin.delete(
        f"/api/v1/namespaces/{namespace}/pods/worker-1?gracePeriodSeconds=0"
    )
    assert response.is_success, response.text

    async def main(api: KubeApi) -> None:
        live = KubeLive(api)
        await granted(lambda: live.caller(valid))
        assert await live.caller(valid) == TokenIdentity(
            namespace, "raywarden", "worker-0", live_pod["metadata"]["uid"]
        )
        for token in (*invalid, of_deleted_pod):
            assert await live.caller(token) is None
        worker = await live.pod(namespace, "worker-0", live_pod["metadata"]["uid"])
        assert worker and worker.uid == live_pod["metadata"]["uid"]
        assert worker.service_account == "raywarden"
        assert await live.pod(namespace, "worker-1", "uid") is None
        assert await live.pod(namespace, "../pods/worker-0", "uid") is None
        assert await live.pod(namespace, "x?y=1#é ", "uid") is None

    as_raywarden(control_plane, namespace, main)


def test_the_informers_follow_changes_and_kuberay_may_be_installed_later(
    control_plane: ControlPlane, namespace: str
) -> None:
    grant(control_plane, namespace, CLUSTER_RULES, OWN_RULES)

    async def main(api: KubeApi) -> None:
        await granted(lambda: api.get(NAMESPACES, "", namespace))
        async with following(api) as live:
            assert live.state_of(namespace).labels["raywarden.io/enforce"] == "x"
            opted_in = await live.opted_in_cluster(namespace, "mine")
            assert opted_in and opted_in.opted_in and isinstance(opted_in.created, datetime)
            service = {
                "metadata": {"name": "head"},
                "spec": {"selector": {"a": "b"}, "ports": [{"port": 1}]},
            }
            control_plane.make(f"/api/v1/namespaces/{namespace}/services", service)
            await _until(lambda: live.services(namespace), [Service("head", {"a": "b"})])
            installed = await asyncio.to_thread(install_kuberay, control_plane, namespace)
            uid = installed["metadata"]["uid"]
            cluster = await live.ray_cluster(namespace, "c", uid)
            assert cluster and cluster.head_services == ("c-head-svc",)
            assert await live.ray_cluster(namespace, "c", "another") is None
            path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"
            assert isinstance(await problem(anext(api.watch(RAY_CLUSTERS, "1"))), ExpiredError)
            control_plane.admin.delete(f"{path}/c")
            await _until(lambda: live.ray_cluster(namespace, "c", uid), None)

    as_raywarden(control_plane, namespace, main)


async def _until(ask: Callable[[], Coroutine[Any, Any, Any]], expected: Any) -> None:
    async with asyncio.timeout(20):
        while (value := await ask()) != expected:
            if isinstance(value, tuple) and list(value) == expected:
                return
            await asyncio.sleep(0.02)


def install_kuberay(control_plane: ControlPlane, namespace: str) -> dict[str, Any]:
    """Define KubeRay's RayCluster and create one."""
    define_ray_clusters(control_plane)
    ray_cluster = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "c"},
        "spec": {},
    }
    return control_plane.make(f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters", ray_cluster)


def test_two_stores_agree_on_one_seed(control_plane: ControlPlane, namespace: str) -> None:
    grant(control_plane, namespace, CLUSTER_RULES, OWN_RULES)

    async def main(api: KubeApi) -> None:
        first, second = KubeSeedStore(api, namespace), KubeSeedStore(api, namespace)
        await granted(first.load)
        assert await first.load() is None
        entries = {"20261120T080000Z": bytes(range(32))}
        await first.create(entries)
        with pytest.raises(ConflictError):
            await second.create({"20261120T080000Z": bytes(32)})
        stored = await second.load()
        assert stored and stored.entries == entries
        more = {**entries, "20261121T080000Z": bytes(32)}
        await first.replace(stored, more)
        with pytest.raises(ConflictError):
            await second.replace(stored, entries)
        replaced = await second.load()
        assert replaced and replaced.entries == more

    as_raywarden(control_plane, namespace, main)


def test_the_ca_bundle_is_written_once_and_again_after_a_change(
    control_plane: ControlPlane, namespace: str
) -> None:
    grant(control_plane, namespace, CLUSTER_RULES, OWN_RULES)
    register(control_plane, "raywarden")
    ca = control_plane.ca.read_bytes()

    def stored(kind: str) -> dict[str, Any]:
        document: dict[str, Any] = control_plane.admin.get(
            f"/apis/{REGISTRATION}/v1/{kind.lower()}s/raywarden"
        ).json()
        return document

    async def main(api: KubeApi) -> None:
        configurations = KubeWebhookConfigurations(api, "raywarden")
        await granted(lambda: configurations.trust(ca))
        versions = [stored(kind)["metadata"]["resourceVersion"] for kind in KINDS]
        assert await configurations.trust(ca) is False
        assert [stored(kind)["metadata"]["resourceVersion"] for kind in KINDS] == versions
        webhooks = [webhook for kind in KINDS for webhook in stored(kind)["webhooks"]]
        bundles = [webhook["clientConfig"]["caBundle"] for webhook in webhooks]
        assert bundles == [base64.b64encode(ca).decode()] * 4
        register(control_plane, "raywarden")
        assert await configurations.trust(ca) is True
        resource = Resource(REGISTRATION, "v1", f"{KINDS[0].lower()}s")
        stale = {"op": "test", "path": "/metadata/resourceVersion", "value": versions[0]}
        assert isinstance(
            await problem(api.patch(resource, "", "raywarden", [stale])), InvalidError
        )

    as_raywarden(control_plane, namespace, main)


@pytest.mark.parametrize(
    ("resource", "refused"),
    [
        ("pods", "get pods in namespace {}"),
        ("tokenreviews", "create tokenreviews.authentication.k8s.io"),
        ("secrets", "get secrets in namespace {}"),
        ("services", "list services"),
        ("networkpolicies", "list networkpolicies.networking.k8s.io"),
        ("rayclusters", "get rayclusters.ray.io in namespace {}"),
        ("mutatingwebhookconfigurations", f"get mutatingwebhookconfigurations.{REGISTRATION}"),
    ],
)
def test_a_missing_right_is_named(
    control_plane: ControlPlane, namespace: str, resource: str, refused: str
) -> None:
    grant(control_plane, namespace, without(CLUSTER_RULES, resource), without(OWN_RULES, resource))

    async def main(api: KubeApi) -> None:
        live, services = KubeLive(api), Resource("", "v1", "services")
        await granted(lambda: api.get(NAMESPACES, "", namespace))
        requests: dict[str, Callable[[], Awaitable[Any]]] = {
            "pods": lambda: live.pod(namespace, "x", "uid"),
            "tokenreviews": lambda: live.caller("x"),
            "secrets": KubeSeedStore(api, namespace).load,
            "services": lambda: anext(api.pages(services)),
            "networkpolicies": lambda: anext(
                api.pages(Resource("networking.k8s.io", "v1", "networkpolicies"))
            ),
            "rayclusters": lambda: live.ray_cluster(namespace, "x", "x"),
            "mutatingwebhookconfigurations": lambda: KubeWebhookConfigurations(
                api, "raywarden"
            ).trust(b""),
        }
        expected = f"the service account may not {refused.format(namespace)}: grant it with RBAC"
        assert str(await problem(requests[resource]())).startswith(expected)

    as_raywarden(control_plane, namespace, main)
