"""Watches, against a server on a real socket."""

from typing import Any

from tests.support.fake_kube_api import FakeKubeApi, answers_with, fails
from tests.support.kube_conversation import conversation, problem
from webhook.kube.api import KubeApi
from webhook.kube.request import ExpiredError, Resource
from webhook.kube.response import Event

PODS = Resource("", "v1", "pods")


def pod(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ray", "name": name}, **more}


async def watched(api: KubeApi, resource: Resource, version: int, **options: Any) -> list[Event]:
    return [event async for event in api.watch(resource, str(version), **options)]


@conversation
async def test_a_watch_yields_the_events_since_a_version(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("pods", pod("old"))
    version = fake.version
    fake.put("pods", pod("new"))
    fake.put("pods", pod("new", spec={}))
    fake.put("services", pod("other"))
    fake.delete("pods", "ray", "old")
    fake.bookmark("pods")
    events = await watched(api, PODS, version, seconds=0.5)
    assert [event.type for event in events] == ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    assert events[1].object["spec"] == {}
    query = fake.seen[-1].query
    assert query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": str(version),
        "timeoutSeconds": "1",
    }


@conversation
async def test_an_event_may_be_megabytes_long_and_arrive_in_pieces(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    long_text = "x" * 6_000_000
    fake.put("pods", pod("one", spec={"long": long_text}))
    fake.put("pods", pod("two"))
    events = await watched(api, PODS, 1, seconds=1)
    assert [event.object["metadata"]["name"] for event in events] == ["one", "two"]
    assert events[0].object["spec"]["long"] == long_text


@conversation
async def test_an_endless_event_is_not_buffered(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.faults.append(answers_with(b"x" * 34 * 1024 * 1024))
    assert "an event is longer than" in str(await problem(watched(api, PODS, 1)))


@conversation
async def test_a_watch_from_a_version_that_is_too_old_expires(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.forget()
    assert isinstance(await problem(watched(api, PODS, 1)), ExpiredError)
    fake.faults.append(fails(410))
    assert isinstance(await problem(watched(api, PODS, 1)), ExpiredError)
    fake.faults.append(answers_with(b'{"type": "ERROR", "object": {"code": "text"}}\n'))
    assert not isinstance(await problem(watched(api, PODS, 1)), ExpiredError)
    fake.faults.append(answers_with(b'{"type": "ADD\n'))
    assert (
        str(await problem(watched(api, PODS, 1))) == "watch pods: the answer is not a JSON object"
    )


@conversation
async def test_a_closed_watch_leaves_the_client_usable(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("pods", pod("one"))
    events = api.watch(PODS, "1")
    assert (await anext(events)).type == "ADDED"
    await events.aclose()
    assert await api.get(PODS, "ray", "one")
