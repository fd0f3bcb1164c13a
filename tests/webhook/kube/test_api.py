"""The client for the Kubernetes API, against a server on a real socket that misbehaves on demand."""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.fake_kube_api import FakeKubeApi, fails, hangs, hangs_up, says
from tests.support.kube_conversation import (
    TOKEN,
    conversation,
    free_port,
    kubeconfig_for,
    listening,
    problem,
    talk,
)
from webhook.kube.api import Event, KubeApi, Page, backoff
from webhook.kube.request import (
    BusyError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    RefusedError,
    Request,
    Resource,
)
from webhook.ports import ConflictError

PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")
REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews")


def pod(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ray", "name": name}, **more}


async def pages(api: KubeApi, resource: Resource, **options: Any) -> list[Page]:
    return [page async for page in api.pages(resource, **options)]


async def watched(api: KubeApi, resource: Resource, version: int, **options: float) -> list[Event]:
    return [event async for event in api.watch(resource, str(version), **options)]


@conversation
async def test_objects_come_with_every_field_they_have(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("pods", pod("one", spec={"unheardOf": [1, None]}))
    found = await api.get(PODS, "ray", "one")
    assert found and found["spec"] == {"unheardOf": [1, None]}
    assert await api.get(PODS, "ray", "two") is None
    assert await api.get(RAY_CLUSTERS, "ray", "one") is None
    paths = [seen.raw_path for seen in fake.seen]
    assert paths[0] == "/api/v1/namespaces/ray/pods/one"
    assert paths[2] == "/apis/ray.io/v1/namespaces/ray/rayclusters/one"
    assert fake.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert fake.seen[0].headers["User-Agent"] == "raywarden"


@conversation
async def test_names_stay_one_segment_or_are_never_asked_for(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    odd = "x?y=1#z &é\n;="
    fake.put("pods", pod(odd))
    assert await api.get(PODS, "ray", odd)
    assert fake.seen[-1].query == {}
    asked = len(fake.seen)
    for name in ("../secrets/x?y=1", "..", ".", "", "a/b", "a%2fb", "%2e%2e"):
        assert await api.get(PODS, "ray", name) is None
        if name:
            assert await api.get(PODS, name, "one") is None
            await problem(api.create(PODS, name, pod("one")))
    assert await api.get(PODS, "ray", "\ud800") is None
    assert len(fake.seen) == asked + 1


@conversation
async def test_lists_are_read_by_pages(fake: FakeKubeApi, api: KubeApi) -> None:
    for index in range(7):
        fake.put("pods", pod(f"pod-{index}"))
    fake.page_size = 3
    found = await pages(api, PODS)
    assert [[item["metadata"]["name"] for item in page.items] for page in found] == [
        ["pod-0", "pod-1", "pod-2"],
        ["pod-3", "pod-4", "pod-5"],
        ["pod-6"],
    ]
    assert {page.version for page in found} == {str(fake.version)}
    assert [seen.query["limit"] for seen in fake.seen] == ["50"] * 3
    assert [seen.query.get("continue") for seen in fake.seen] == [None, "page 3+/=", "page 6+/="]
    fake.faults += [says(b'{"metadata": {"continue": "x"}, "items": []}'), fails(410)]
    assert isinstance(await problem(pages(api, PODS)), ExpiredError)


@conversation
async def test_a_server_that_never_answers_is_left_in_time(fake: FakeKubeApi, api: KubeApi) -> None:
    asked = (
        lambda: api.get(PODS, "ray", "one", seconds=0.1),
        lambda: pages(api, PODS, seconds=0.1),
        lambda: api.create(PODS, "ray", pod("one"), seconds=0.1),
        lambda: api.patch(PODS, "ray", "one", [], seconds=0.1),
    )
    for ask in asked:
        fake.faults.append(hangs)
        start = time.monotonic()
        assert str(await problem(ask())).endswith("no answer from the API server in time")
        assert 0.05 < time.monotonic() - start < 2
    assert len(fake.seen) == len(asked)


@conversation
async def test_reads_are_tried_again(fake: FakeKubeApi, api: KubeApi) -> None:
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
async def test_reads_are_not_tried_for_ever(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.faults += [fails(503)] * 10
    error = await problem(api.get(PODS, "ray", "one"))
    assert str(error) == "get pods in namespace ray: the API server answered 503"
    assert len(fake.seen) == 4
    await problem(api.get(PODS, "ray", "one", seconds=0.04))
    assert len(fake.seen) == 5


@conversation
async def test_the_server_says_when_to_come_back(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("pods", pod("one"))
    fake.faults += [fails(429, Retry_After="1")]
    start = time.monotonic()
    assert await api.get(PODS, "ray", "one")
    assert 1 <= time.monotonic() - start < 3
    for far in ("3600", "Fri, 20 Nov 2026 08:00:00 GMT", "²"):
        fake.faults += [fails(429, Retry_After=far.encode().decode("latin-1"))]
        start = time.monotonic()
        if far == "3600":
            assert isinstance(await problem(api.get(PODS, "ray", "one")), BusyError)
        else:
            assert await api.get(PODS, "ray", "one")
        assert time.monotonic() - start < 1


@conversation
async def test_writes_are_tried_once(fake: FakeKubeApi, api: KubeApi) -> None:
    writes: tuple[Callable[[], Awaitable[None]], ...] = (
        lambda: api.create(PODS, "ray", pod("one")),
        lambda: api.patch(PODS, "ray", "one", []),
        lambda: api.replace(PODS, "ray", "one", pod("one")),
    )
    for fault, tried in ((fails(503), writes), (hangs_up, writes[:2])):
        for write in tried:
            fake.faults += [fault]
            assert isinstance(await problem(write()), BusyError)
    assert [seen.method for seen in fake.seen] == ["POST", "PATCH", "PUT", "POST", "PATCH"]


@conversation
async def test_objects_are_written(fake: FakeKubeApi, api: KubeApi) -> None:
    await api.create(PODS, "ray", pod("one", spec={"a": 1}))
    with pytest.raises(ConflictError):
        await api.create(PODS, "ray", pod("one"))
    stored = await api.get(PODS, "ray", "one")
    assert stored
    await api.replace(PODS, "ray", "one", {**stored, "spec": {"a": 2}})
    with pytest.raises(ConflictError):
        await api.replace(PODS, "ray", "one", {**stored, "spec": {"a": 3}})
    await api.patch(
        PODS,
        "ray",
        "one",
        [{"op": "test", "path": "/spec/a", "value": 2}, {"op": "remove", "path": "/spec"}],
    )
    assert isinstance(
        await problem(api.patch(PODS, "ray", "one", [{"op": "test", "path": "/a", "value": 1}])),
        InvalidError,
    )
    assert await api.get(PODS, "ray", "one") == {
        "metadata": {**pod("one")["metadata"], "resourceVersion": "103"}
    }


@conversation
async def test_what_is_no_resource_stands_at_its_path(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.paths = {"/version": {"gitVersion": "v1.36.2"}, "/apis/ray.io/v1": None}
    fake.faults += [fails(503)]
    assert await api.at("/version") == {"gitVersion": "v1.36.2"}
    assert isinstance(await problem(api.at("/apis/ray.io/v1")), NotFoundError)
    fake.forbidden = {("get", "/version")}
    error = await problem(api.at("/version"))
    assert isinstance(error, ForbiddenError) and error.right == "get /version"


@conversation
async def test_a_dry_run_stores_nothing_and_says_what_came_of_it(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    async def warns(request: web.BaseRequest) -> web.Response:
        return web.json_response(
            await request.json(), headers={"Warning": '299 - "pinned-images: latest"'}, status=201
        )

    fake.dry_runs["pods"] = warns
    found = await api.dry_run(PODS, "ray", pod("one", spec={"a": 1}))
    assert found.document["spec"] == {"a": 1} and found.warnings == (
        '299 - "pinned-images: latest"',
    )
    assert fake.seen[-1].query == {"dryRun": "All"} and not fake.objects
    for status in (400, 403, 409, 422, 500, 503):
        fake.dry_runs["pods"] = fails(status, 'admission webhook "a" denied the request: no')
        error = await problem(api.dry_run(PODS, "ray", pod("one")))
        assert (
            isinstance(error, RefusedError)
            and error.said == 'admission webhook "a" denied the request: no'
        )
        assert str(error) == f"create pods in namespace ray: refused ({status})"
    assert len(fake.seen) == 7, "it is tried once"
    fake.forbidden = {("create", "pods")}
    assert isinstance(await problem(api.dry_run(PODS, "ray", pod("one"))), ForbiddenError)
    fake.forbidden, fake.unknown = set(), {"pods"}
    assert isinstance(await problem(api.dry_run(PODS, "ray", pod("one"))), NotFoundError)


@conversation
async def test_a_missing_right_is_named(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.forbidden = {
        (verb, plural)
        for verb in ("get", "list", "watch", "create")
        for plural in ("pods", "rayclusters")
    }
    grant = "grant it with RBAC (deploy/base shows how)"
    for asked, right in (
        (api.get(PODS, "ray", "one"), "get pods in namespace ray"),
        (pages(api, RAY_CLUSTERS), "list rayclusters.ray.io"),
        (watched(api, RAY_CLUSTERS, 1), "watch rayclusters.ray.io"),
        (api.create(PODS, "ray", pod("one")), "create pods in namespace ray"),
    ):
        assert str(await problem(asked)) == f"the service account may not {right}: {grant}"
    assert len(fake.seen) == 4
    fake.forbidden = set()
    for message in ("exceeded quota", "no JSON"):
        fake.faults.append(
            fails(403, message) if message == "exceeded quota" else forbids_without_words
        )
        error = await problem(api.create(SECRETS, "ray", pod("one")))
        assert "not by RBAC (403): look at quotas and admission webhooks" in str(error)


async def forbids_without_words(_request: web.BaseRequest) -> web.Response:
    return web.Response(status=403, text="<html>")


@conversation
async def test_other_refusals_have_a_reason_and_quote_nothing(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    secret = "c2VlZC1zZWVk"
    expected = {
        401: "does not accept our credentials (401)",
        404: "answered 404",
        400: "answered 400",
        422: "answered 422",
    }
    for status, reason in expected.items():
        fake.faults.append(fails(status, f"invalid value: {secret} {TOKEN}"))
        document = pod("seed", data={"x": secret})
        error = await problem(api.create(SECRETS, "ray", document))
        assert str(error) == f"create secrets in namespace ray: the API server {reason}"
        assert isinstance(error, NotFoundError) is (status == 404)
    assert secret not in repr(Request("create", "POST", SECRETS, body={"data": secret}))


@conversation
async def test_answers_that_are_no_json_are_not_quoted(fake: FakeKubeApi, api: KubeApi) -> None:
    for body in (
        b"",
        b"c2VlZC1zZWVk",
        b'{"data": "c2VlZC1zZWVk"',
        b"[]",
        b'"c2VlZC1zZWVk"',
        b"\xff",
    ):
        fake.faults += [says(body), says(body)]
        assert str(await problem(api.get(SECRETS, "ray", "seed"))).endswith(
            "the answer is no JSON object"
        )
        await problem(pages(api, SECRETS))
    fake.faults.append(says(b'{"items": {}}'))
    assert str(await problem(pages(api, SECRETS))) == "list secrets: the answer is no list"


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        fake = FakeKubeApi(free_port())
        async with await KubeApi.connect(kubeconfig_for(fake, tmp_path)) as api:
            error = await problem(api.get(PODS, "ray", "one", seconds=1))
            reason = f"the API server cannot be reached at 127.0.0.1:{fake.port}"
            assert str(error).startswith(f"get pods in namespace ray: {reason} (")
            async with listening(fake):
                assert await api.get(PODS, "ray", "one") is None

    talk(main())


def test_it_is_imported_before_the_library_is() -> None:
    code = "import sys, webhook.kube.adapters; print(any(name.startswith('kubernetes') for name in sys.modules))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "False\n"
    )


def test_pauses_double_differ_and_have_an_end() -> None:
    assert all(0.05 <= backoff(1, 0.1) <= 0.1 for _ in range(100))
    assert all(0.2 <= backoff(3, 0.1) <= 0.4 for _ in range(100))
    assert backoff(100_000, 0.5, 30.0) <= 30.0
    assert len({backoff(5, 0.1) for _ in range(20)}) > 1
