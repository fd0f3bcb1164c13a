"""The Kubernetes API client, against a server on a real socket that misbehaves on demand."""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.factory import changed
from tests.support.fake_kube_api import FakeKubeApi, answers_with, fails, hangs, hangs_up
from tests.support.kube_conversation import (
    TOKEN,
    conversation,
    free_port,
    kubeconfig_for,
    listening,
    problem,
    talk,
)
from webhook.kube.api import KubeApi
from webhook.kube.request import (
    BusyError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    Resource,
    backoff,
)
from webhook.kube.response import Event, Page
from webhook.ports import ConflictError

PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")
REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews")


def pod(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ray", "name": name}, **more}


async def pages(api: KubeApi, resource: Resource, **options: Any) -> list[Page]:
    return [page async for page in api.pages(resource, **options)]


def names(page: Page) -> list[str]:
    return [item["metadata"]["name"] for item in page.items]


async def watched(api: KubeApi, resource: Resource, version: int, **options: Any) -> list[Event]:
    return [event async for event in api.watch(resource, str(version), **options)]


@conversation
async def test_objects_are_returned_with_all_their_fields(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("pods", pod("one", spec={"unheardOf": [1, None]}))
    stored = await api.get(PODS, "ray", "one")
    assert stored and stored["spec"] == {"unheardOf": [1, None]}
    assert await api.get(PODS, "ray", "two") is None
    assert await api.get(RAY_CLUSTERS, "ray", "one") is None
    paths = [seen.raw_path for seen in fake.seen]
    assert paths[0] == "/api/v1/namespaces/ray/pods/one"
    assert paths[2] == "/apis/ray.io/v1/namespaces/ray/rayclusters/one"
    assert fake.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert fake.seen[0].headers["User-Agent"] == "raywarden"


@conversation
async def test_a_name_is_a_single_path_segment_or_is_never_requested(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    odd_name = "x?y=1#z &é\n;="
    fake.put("pods", pod(odd_name))
    assert await api.get(PODS, "ray", odd_name)
    assert fake.seen[-1].query == {}
    requests_before = len(fake.seen)
    for name in ("../secrets/x?y=1", "..", ".", "", "a/b", "a%2fb", "%2e%2e"):
        assert await api.get(PODS, "ray", name) is None
        if name:
            assert await api.get(PODS, name, "one") is None
            await problem(api.create(PODS, name, pod("one")))
    assert await api.get(PODS, "ray", "\ud800") is None
    assert len(fake.seen) == requests_before + 1


@conversation
async def test_lists_are_read_in_pages(fake: FakeKubeApi, api: KubeApi) -> None:
    for index in range(7):
        fake.put("pods", pod(f"pod-{index}"))
    fake.page_size = 3
    first, second, third = await pages(api, PODS)
    assert names(first) == ["pod-0", "pod-1", "pod-2"]
    assert names(second) == ["pod-3", "pod-4", "pod-5"]
    assert names(third) == ["pod-6"]
    assert {page.version for page in (first, second, third)} == {str(fake.version)}
    assert [seen.query["limit"] for seen in fake.seen] == ["50"] * 3
    assert [seen.query.get("continue") for seen in fake.seen] == [None, "page 3+/=", "page 6+/="]
    fake.faults += [answers_with(b'{"metadata": {"continue": "x"}, "items": []}'), fails(410)]
    assert isinstance(await problem(pages(api, PODS)), ExpiredError)


@conversation
async def test_large_pages_are_asked_for_again_in_smaller_ones(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    """Any user can create objects that would fill the memory in pages of 500."""
    for index in range(60):
        padded = changed(pod(f"{index:02}"), {"/metadata/annotations": {"x": "x" * 150_000}})
        fake.put("pods", padded)
    sizes = [len(page.items) for page in await pages(api, PODS, page_size=500)]
    assert sizes == [50, 10]
    assert [seen.query["limit"] for seen in fake.seen] == ["500", "50", "50"]


@conversation
async def test_a_server_that_never_answers_causes_a_timeout(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    calls = (
        lambda: api.get(PODS, "ray", "one", seconds=0.1),
        lambda: pages(api, PODS, seconds=0.1),
        lambda: api.create(PODS, "ray", pod("one"), seconds=0.1),
        lambda: api.patch(PODS, "ray", "one", [], seconds=0.1),
    )
    for call in calls:
        fake.faults.append(hangs)
        start = time.monotonic()
        assert str(await problem(call())).endswith("no answer from the API server in time")
        assert 0.05 < time.monotonic() - start < 2
    assert len(fake.seen) == len(calls)


@conversation
async def test_reads_are_retried(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("pods", pod("one"))
    fake.tokens["x"] = {"authenticated": True}
    for fault in (fails(500), fails(503), fails(429), hangs_up):
        fake.faults += [fault, fault]
        assert await api.get(PODS, "ray", "one")
        fake.faults += [fault]
        assert [len(page.items) for page in await pages(api, PODS)] == [1]
        fake.faults += [fault]
        answer = await api.review(REVIEWS, {"spec": {"token": "x"}})
        assert answer["status"] == {"authenticated": True}


@conversation
async def test_reads_are_not_retried_for_ever(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.faults += [fails(503)] * 10
    error = await problem(api.get(PODS, "ray", "one"))
    assert str(error) == "get pods in namespace ray: the API server answered 503"
    assert len(fake.seen) == 4
    await problem(api.get(PODS, "ray", "one", seconds=0.04))
    assert len(fake.seen) == 5


@conversation
async def test_retry_after_is_honored(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("pods", pod("one"))
    fake.faults += [fails(429, Retry_After="1")]
    start = time.monotonic()
    assert await api.get(PODS, "ray", "one")
    assert 1 <= time.monotonic() - start < 3
    for retry_after in ("3600", "Fri, 20 Nov 2026 08:00:00 GMT", "²"):
        fake.faults += [fails(429, Retry_After=retry_after.encode().decode("latin-1"))]
        start = time.monotonic()
        if retry_after == "3600":
            assert isinstance(await problem(api.get(PODS, "ray", "one")), BusyError)
        else:
            assert await api.get(PODS, "ray", "one")
        assert time.monotonic() - start < 1


@conversation
async def test_writes_are_not_retried(fake: FakeKubeApi, api: KubeApi) -> None:
    writes: tuple[Callable[[], Awaitable[Any]], ...] = (
        lambda: api.create(PODS, "ray", pod("one")),
        lambda: api.patch(PODS, "ray", "one", []),
        lambda: api.replace(PODS, "ray", "one", pod("one")),
    )
    for fault, calls in ((fails(503), writes), (hangs_up, writes[:2])):
        for write in calls:
            fake.faults += [fault]
            assert isinstance(await problem(write()), BusyError)
    assert [seen.method for seen in fake.seen] == ["POST", "PATCH", "PUT", "POST", "PATCH"]


@conversation
async def test_objects_are_created_replaced_and_patched(fake: FakeKubeApi, api: KubeApi) -> None:
    await api.create(PODS, "ray", pod("one", spec={"a": 1}))
    with pytest.raises(ConflictError):
        await api.create(PODS, "ray", pod("one"))
    stored = await api.get(PODS, "ray", "one")
    assert stored
    await api.replace(PODS, "ray", "one", {**stored, "spec": {"a": 2}})
    with pytest.raises(ConflictError):
        await api.replace(PODS, "ray", "one", {**stored, "spec": {"a": 3}})
    passing_test = {"op": "test", "path": "/spec/a", "value": 2}
    await api.patch(PODS, "ray", "one", [passing_test, {"op": "remove", "path": "/spec"}])
    failing_test = {"op": "test", "path": "/a", "value": 1}
    error = await problem(api.patch(PODS, "ray", "one", [failing_test]))
    assert isinstance(error, InvalidError)
    assert await api.get(PODS, "ray", "one") == {
        "metadata": {**pod("one")["metadata"], "resourceVersion": "103"}
    }


@conversation
async def test_a_path_that_is_not_a_resource_is_read(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.paths = {"/version": {"gitVersion": "v1.36.2"}, "/apis/ray.io/v1": None}
    fake.faults += [fails(503)]
    assert await api.get_path("/version") == {"gitVersion": "v1.36.2"}
    assert isinstance(await problem(api.get_path("/apis/ray.io/v1")), NotFoundError)
    fake.forbidden = {("get", "/version")}
    error = await problem(api.get_path("/version"))
    assert isinstance(error, ForbiddenError) and error.permission == "get /version"


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        fake = FakeKubeApi(free_port())
        async with await KubeApi.connect(kubeconfig_for(fake, tmp_path)) as api:
            error = await problem(api.get(PODS, "ray", "one", seconds=1))
            reason = f"the API server cannot be reached at 127.0.0.1:{fake.port}"
            assert str(error).startswith(f"get pods in namespace ray: {reason} (")
            async with listening(fake):
                assert await api.get(PODS, "ray", "one") is None

    talk(main())


def test_importing_the_adapters_does_not_import_the_kubernetes_library() -> None:
    code = (
        "import sys, webhook.kube.adapters; "
        "print(any(name.startswith('kubernetes') for name in sys.modules))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_pauses_double_vary_and_are_bounded() -> None:
    assert all(0.05 <= backoff(1, 0.1) <= 0.1 for _ in range(100))
    assert all(0.2 <= backoff(3, 0.1) <= 0.4 for _ in range(100))
    assert backoff(100_000, 0.5, 30.0) <= 30.0
    assert len({backoff(5, 0.1) for _ in range(20)}) > 1
