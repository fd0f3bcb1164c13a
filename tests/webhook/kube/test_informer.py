"""The cache, kept in step with a server on a real socket that loses its memory, its objects and itself."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from tests.support.fake_kube_api import FakeKubeApi, says
from tests.support.kube_conversation import (
    TOKEN,
    conversation,
    free_port,
    kubeconfig_for,
    listening,
    talk,
    until,
)
from webhook.kube.api import KubeApi
from webhook.kube.informer import Informer
from webhook.kube.request import Resource
from webhook.kube.store import Objects

SERVICES = Resource("", "v1", "services")
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")


def service(name: str, port: Any = 1, namespace: str = "ray") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"port": port}}


def port_of(document: Mapping[str, Any]) -> int:
    port = document["spec"]["port"]
    if not isinstance(port, int):
        raise ValueError("the port is no number")
    return port


PORTS = partial(Objects, port_of)


def known(cache: Informer[Objects[int]]) -> Objects[int]:
    """What the cache has kept; nothing before its first list."""
    return PORTS() if cache.kept is None else cache.kept


@asynccontextmanager
async def running(
    cache: Informer[Objects[int]], synced: bool = True
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """The cache at work, and what it logs; never a word of our token."""
    with structlog.testing.capture_logs() as logged:
        task = asyncio.create_task(cache.run())
        try:
            if synced:
                async with asyncio.timeout(10):
                    await cache.synced.wait()
            yield logged
            assert not task.done(), "the cache gave up"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert TOKEN not in repr(logged)


def states(logged: Sequence[Mapping[str, Any]]) -> list[str]:
    return [event["state"] for event in logged if event["event"] == "watch"]


@conversation
async def test_it_has_what_was_there_and_what_happens(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("services", service("a", 1))
    fake.put("services", service("b", 2))
    fake.put("services", service("c", 3, "other"))
    fake.page_size = 2
    cache = Informer(api, SERVICES, PORTS)
    assert not cache.synced.is_set() and cache.kept is None
    async with running(cache) as logged:
        assert (len(known(cache)), sorted(known(cache).values())) == (3, [1, 2, 3])
        assert (
            known(cache).within("ray") == {"a": 1, "b": 2} and known(cache).within("nowhere") == {}
        )
        assert (
            known(cache).get("ray", "b") == 2
            and known(cache).get("ray", "c") is None
            and known(cache).get("", "c") is None
        )
        await until(lambda: len(fake.watches("services")) == 1)
        fake.put("services", service("d", 4))
        fake.put("services", service("a", 10))
        fake.delete("services", "other", "c")
        await until(lambda: sorted(known(cache).values()) == [2, 4, 10])
        assert known(cache).within("other") == {}
        assert states(logged) == ["in sync"]
    assert len(fake.asked("GET", "services")) == 3


@conversation
async def test_a_watch_that_ends_is_taken_up_where_the_last_bookmark_was(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    cache = Informer(api, SERVICES, PORTS, resync_seconds=1.5)
    async with running(cache):
        await until(lambda: len(fake.watches("services")) == 1)
        bookmark = fake.bookmark("services")
        await until(lambda: len(fake.watches("services")) == 2)
        assert fake.watches("services")[1].query["resourceVersion"] == bookmark


@conversation
async def test_a_fresh_list_makes_good_what_the_watch_missed(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("services", service("a"))
    cache = Informer(api, SERVICES, PORTS, resync_seconds=0.2)
    async with running(cache) as logged:
        await until(lambda: len(fake.watches("services")) == 1)
        del fake.objects["services", "ray", "a"]
        await until(lambda: len(known(cache)) == 0)
        assert states(logged) == ["in sync"]


@conversation
async def test_who_has_expired_lists_anew_at_once(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("services", service("a"))
    cache = Informer(api, SERVICES, PORTS)
    async with running(cache) as logged:
        await until(lambda: len(fake.watches("services")) == 1)
        del fake.objects["services", "ray", "a"]
        fake.forget()
        await until(lambda: len(known(cache)) == 0, seconds=0.4)
        await until(lambda: len(fake.watches("services")) == 2)
        fake.put("services", service("b", 2))
        await until(lambda: known(cache).get("ray", "b") == 2)
        assert states(logged) == ["in sync"]


@conversation
async def test_a_server_that_always_expires_is_not_hammered(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.oldest = 1_000_000
    cache = Informer(api, SERVICES, PORTS)
    async with running(cache) as logged:
        await until(lambda: len(fake.watches("services")) == 3)
        await asyncio.sleep(0.2)
        assert len(fake.watches("services")) < 5
        assert states(logged) == ["watch services: the API server answered 410"]


@conversation
async def test_a_watch_that_ends_as_soon_as_it_begins_is_no_busy_loop(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.faults = [fake.obey, says(b""), fake.obey, says(b"")]
    async with running(Informer(api, SERVICES, PORTS)) as logged:
        await until(lambda: len(fake.seen) == 4)
        assert states(logged) == ["watch services: ended as soon as it began"]


@conversation
async def test_errors_are_said_once_and_the_last_content_stays(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("services", service("a"))
    cache = Informer(api, SERVICES, PORTS, resync_seconds=0.1, retry_seconds=0.02)
    async with running(cache) as logged:
        await until(lambda: states(logged) == ["in sync"])
        assert cache.current
        fake.forbidden = {("list", "services")}
        asked = len(fake.seen)
        await until(lambda: len(fake.seen) > asked + 5)
        assert known(cache).get("ray", "a") == 1 and not cache.current
        fake.forbidden = {("watch", "services")}
        asked = len(fake.seen)
        await until(lambda: len(fake.seen) > asked + 10)
        fake.forbidden = set()
        await until(lambda: states(logged)[-1] == "in sync")
        assert cache.current
        first, *refused, last = states(logged)
        assert (first, last) == ("in sync", "in sync")
        assert [state[:44] for state in refused] == [
            "the service account may not list services: g",
            "the service account may not watch services: ",
        ]


def test_a_server_that_restarts_is_found_again(tmp_path: Path) -> None:
    async def main() -> None:
        fake = FakeKubeApi(free_port())
        async with await KubeApi.connect(kubeconfig_for(fake, tmp_path)) as api:
            cache = Informer(api, SERVICES, PORTS, retry_seconds=0.05)
            async with running(cache, synced=False) as logged:
                await until(lambda: len(logged) == 1)
                assert not cache.synced.is_set()
                fake.put("services", service("a", 1))
                async with listening(fake):
                    await until(
                        lambda: (
                            known(cache).get("ray", "a") == 1 and len(fake.watches("services")) == 1
                        )
                    )
                fake.put("services", service("a", 2))
                await until(lambda: len(logged) > 1)
                assert known(cache).get("ray", "a") == 1
                async with listening(fake):
                    await until(lambda: known(cache).get("ray", "a") == 2)

    talk(main())


@conversation
async def test_a_resource_that_is_not_installed_is_empty_until_it_is(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.unknown = {"rayclusters"}
    cache = Informer(api, RAY_CLUSTERS, PORTS, retry_seconds=0.05)
    async with running(cache) as logged:
        assert len(known(cache)) == 0
        await until(lambda: len(fake.seen) > 3)
        assert states(logged) == ["not known to the API server"] and cache.current
        fake.unknown = set()
        fake.put("rayclusters", service("a"))
        await until(lambda: known(cache).get("ray", "a") == 1)
        await until(lambda: len(fake.watches("rayclusters")) == 1)
        fake.put("rayclusters", service("b"))
        await until(lambda: states(logged) == ["not known to the API server", "in sync"])
        fake.unknown = {"rayclusters"}
        fake.forget()
        await until(lambda: len(known(cache)) == 0)


@conversation
async def test_one_object_that_cannot_be_read_is_left_out_and_named(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("services", service("bad", "http"))
    fake.put("services", service("good", 1))
    cache = Informer(api, SERVICES, PORTS)
    async with running(cache) as logged:
        assert list(known(cache).values()) == [1]
        assert logged[0] == {
            "event": "object left out",
            "log_level": "warning",
            "resource": "services",
            "namespace": "ray",
            "name": "bad",
            "reason": "the port is no number",
        }
        await until(lambda: len(fake.watches("services")) == 1)
        fake.put("services", service("good", "http"))
        await until(lambda: len(known(cache)) == 0)
        fake.put("services", service("bad", 5))
        await until(lambda: list(known(cache).values()) == [5])


@conversation
async def test_an_object_nested_deeper_than_any_parser_goes_blinds_nobody(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    deep = '{"f:a":' * 3000 + "{}" + "}" * 3000
    listed = (
        f'{{"metadata":{{"resourceVersion":"1"}},"items":[{{"metadata":{{"namespace":"evil","name":"deep",'
        f'"managedFields":[{{"fieldsV1":{deep}}}]}},"spec":{{"port":7}}}},'
        f'{{"metadata":{{"namespace":"ray","name":"a"}},"spec":{{"port":1}}}}]}}'
    )
    fake.faults.append(says(listed.encode()))
    cache = Informer(api, SERVICES, PORTS)
    async with running(cache):
        assert (known(cache).get("ray", "a"), known(cache).get("evil", "deep")) == (1, 7)
