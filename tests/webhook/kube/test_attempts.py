"""An API server that says when to come again, as Kubernetes 1.36 does after a CRD was created."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog

from tests.support.fake_kube_api import Answer, FakeKubeApi, fails
from tests.support.kube_conversation import conversation, problem, until
from webhook.kube.adapters import KubeSeedStore
from webhook.kube.api import KubeApi
from webhook.kube.informer import Informer
from webhook.kube.request import BusyError, Resource, TooEarlyError
from webhook.kube.store import ObjectStore

PODS = Resource("", "v1", "pods")
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")
DETAILS = {"retryAfterSeconds": 1}


def too_early(**headers: str) -> Answer:
    """As the API server says it: by a header, and in the details of a Status."""
    return fails(429, "storage is (re)initializing", DETAILS, **headers)


def pod(name: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "ray", "name": name}}


@conversation
async def test_writes_come_again_when_the_server_says(fake: FakeKubeApi, api: KubeApi) -> None:
    stored = fake.put("pods", pod("one"))
    calls: tuple[Callable[[], Awaitable[Any]], ...] = (
        lambda: api.create(PODS, "ray", pod("two")),
        lambda: api.replace(PODS, "ray", "one", stored),
        lambda: api.dry_run(PODS, "ray", pod("three")),
        lambda: KubeSeedStore(api, "raywarden-system").create({"20261120T080000Z": b"x"}),
    )
    fake.faults += [too_early(Retry_After="1"), too_early()] * 2
    start = time.monotonic()
    await asyncio.gather(*(call() for call in calls))
    assert 1 <= time.monotonic() - start < 4
    assert len(fake.seen) == 8
    assert fake.objects.keys() == {
        ("pods", "ray", "one"),
        ("pods", "ray", "two"),
        ("secrets", "raywarden-system", "raywarden-seed"),
    }


@conversation
async def test_a_write_without_a_time_does_not_come_again(fake: FakeKubeApi, api: KubeApi) -> None:
    """Nor does one that the server may have carried out."""
    for fault in (fails(429), fails(503, Retry_After="1")):
        fake.faults = [fault]
        error = await problem(api.create(PODS, "ray", pod("one")))
        assert isinstance(error, BusyError) and not isinstance(error, TooEarlyError)
    assert len(fake.seen) == 2 and not fake.objects


@conversation
async def test_a_server_that_is_never_ready_is_not_asked_for_ever(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.faults += [too_early()] * 20
    start = time.monotonic()
    for call in (
        api.get(PODS, "ray", "one", seconds=1.5),
        api.create(PODS, "ray", pod("one"), seconds=1.5),
    ):
        assert isinstance(await problem(call), TooEarlyError)
    assert time.monotonic() - start < 4
    assert len(fake.seen) == 4


@conversation
async def test_an_informer_comes_again_without_a_warning(fake: FakeKubeApi, api: KubeApi) -> None:
    """The first watch of a new kind is refused; its list is not."""
    fake.put("rayclusters", pod("one"))
    informer = Informer(api, RAY_CLUSTERS, partial(ObjectStore, lambda document: document))
    served = fake.serve

    async def not_yet(request: Any) -> Any:
        answer = too_early(Retry_After="1") if "watch" in request.query else served
        return await answer(request)

    fake.faults += [not_yet, not_yet]
    start = time.monotonic()
    with structlog.testing.capture_logs() as logged:
        task = asyncio.create_task(informer.run())
        await until(lambda: len(fake.watches("rayclusters")) == 2)
        assert time.monotonic() - start >= 1
        fake.put("rayclusters", pod("two"))
        await until(lambda: informer.store is not None and len(informer.store) == 2)
        assert informer.up_to_date
        task.cancel()
    states = [event["state"] for event in logged if event["event"] == "watch state changed"]
    assert states == ["in sync"]
