"""Refused requests and dry runs: which exception they raise, and what its message says."""

from typing import Any

from aiohttp import web

from tests.support.fake_kube_api import FakeKubeApi, answers_with, fails
from tests.support.kube_conversation import (
    TOKEN,
    conversation,
    problem,
)
from webhook.kube.api import KubeApi
from webhook.kube.request import (
    ForbiddenError,
    NotFoundError,
    RefusedError,
    Request,
    Resource,
)
from webhook.kube.response import Event, Page

PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")
REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews")


def pod(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ray", "name": name}, **more}


async def pages(api: KubeApi, resource: Resource, **options: Any) -> list[Page]:
    return [page async for page in api.pages(resource, **options)]


async def watched(api: KubeApi, resource: Resource, version: int, **options: Any) -> list[Event]:
    return [event async for event in api.watch(resource, str(version), **options)]


@conversation
async def test_a_dry_run_stores_nothing_and_returns_object_and_warnings(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    warning = '299 - "pinned-images: latest"'

    async def warns(request: web.BaseRequest) -> web.Response:
        document = await request.json()
        return web.json_response(document, headers={"Warning": warning}, status=201)

    fake.dry_runs["pods"] = warns
    result = await api.dry_run(PODS, "ray", pod("one", spec={"a": 1}))
    assert result.document["spec"] == {"a": 1} and result.warnings == (warning,)
    assert fake.seen[-1].query == {"dryRun": "All"} and not fake.objects
    for status in (400, 403, 409, 422, 500, 503):
        message = 'admission webhook "a" denied the request: no'
        fake.dry_runs["pods"] = fails(status, message)
        error = await problem(api.dry_run(PODS, "ray", pod("one")))
        assert isinstance(error, RefusedError) and error.reason == message
        assert str(error) == f"create pods in namespace ray: refused ({status})"
    assert len(fake.seen) == 7, "a dry run is not retried"
    fake.forbidden = {("create", "pods")}
    assert isinstance(await problem(api.dry_run(PODS, "ray", pod("one"))), ForbiddenError)
    fake.forbidden, fake.unknown = set(), {"pods"}
    assert isinstance(await problem(api.dry_run(PODS, "ray", pod("one"))), NotFoundError)


@conversation
async def test_a_missing_permission_is_named(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.forbidden = {
        (verb, plural)
        for verb in ("get", "list", "watch", "create")
        for plural in ("pods", "rayclusters")
    }
    grant = "grant it with RBAC (deploy/base shows how)"
    for call, permission in (
        (api.get(PODS, "ray", "one"), "get pods in namespace ray"),
        (pages(api, RAY_CLUSTERS), "list rayclusters.ray.io"),
        (watched(api, RAY_CLUSTERS, 1), "watch rayclusters.ray.io"),
        (api.create(PODS, "ray", pod("one")), "create pods in namespace ray"),
    ):
        assert str(await problem(call)) == f"the service account may not {permission}: {grant}"
    assert len(fake.seen) == 4
    fake.forbidden = set()
    for fault in (fails(403, "exceeded quota"), forbids_without_a_message):
        fake.faults.append(fault)
        error = await problem(api.create(SECRETS, "ray", pod("one")))
        assert "refused (403), but not by RBAC: check quotas and admission webhooks" in str(error)


async def forbids_without_a_message(_request: web.BaseRequest) -> web.Response:
    return web.Response(status=403, text="<html>")


@conversation
async def test_other_refusals_give_a_reason_and_quote_nothing(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    secret = "c2VlZC1zZWVk"
    expected = {
        401: "rejected the credentials (401)",
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
async def test_answers_that_are_not_json_are_not_quoted(fake: FakeKubeApi, api: KubeApi) -> None:
    for body in (
        b"",
        b"c2VlZC1zZWVk",
        b'{"data": "c2VlZC1zZWVk"',
        b"[]",
        b'"c2VlZC1zZWVk"',
        b"\xff",
    ):
        fake.faults += [answers_with(body), answers_with(body)]
        error = str(await problem(api.get(SECRETS, "ray", "seed")))
        assert error.endswith("the answer is not a JSON object")
        await problem(pages(api, SECRETS))
    fake.faults.append(answers_with(b'{"items": {}}'))
    assert str(await problem(pages(api, SECRETS))) == "list secrets: the answer is not a list"
