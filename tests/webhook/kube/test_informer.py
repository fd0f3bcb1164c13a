"""An informer against a server on a real socket that loses its history, its objects and itself."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from tests.support.fake_kube_api import FakeKubeApi, answers_with
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
from webhook.kube.store import ObjectStore

SERVICES = Resource("", "v1", "services")
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")


def service(name: str, port: Any = 1, namespace: str = "ray") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"port": port}}


def port_of(document: Mapping[str, Any]) -> int:
    port = document["spec"]["port"]
    if not isinstance(port, int):
        raise ValueError("the port is not a number")
    return port


new_port_store = partial(ObjectStore, port_of)


def ports(informer: Informer[ObjectStore[int]]) -> ObjectStore[int]:
    """The informer's store; an empty one before its first list."""
    return new_port_store() if informer.store is None else informer.store


@asynccontextmanager
async def running(
    informer: Informer[ObjectStore[int]], synced: bool = True
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """Run the informer and yield its log, which must never contain our token."""
    with structlog.testing.capture_logs() as logged:
        task = asyncio.create_task(informer.run())
        try:
            if synced:
                async with asyncio.timeout(10):
                    await informer.synced.wait()
            yield logged
            assert not task.done(), "the informer gave up"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert TOKEN not in repr(logged)


def states(logged: Sequence[Mapping[str, Any]]) -> list[str]:
    return [event["state"] for event in logged if event["event"] == "watch state changed"]


@conversation
async def test_the_store_has_the_listed_objects_and_follows_changes(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("services", service("a", 1))
    fake.put("services", service("b", 2))
    fake.put("services", service("c", 3, "other"))
    fake.page_size = 2
    informer = Informer(api, SERVICES, new_port_store)
    assert not informer.synced.is_set() and informer.store is None
    async with running(informer) as logged:
        assert (len(ports(informer)), sorted(ports(informer).values())) == (3, [1, 2, 3])
        assert ports(informer).within("ray") == {"a": 1, "b": 2}
        assert ports(informer).within("nowhere") == {}
        assert ports(informer).get("ray", "b") == 2
        assert ports(informer).get("ray", "c") is None
        assert ports(informer).get("", "c") is None
        await until(lambda: len(fake.watches("services")) == 1)
        fake.put("services", service("d", 4))
        fake.put("services", service("a", 10))
        fake.delete("services", "other", "c")
        await until(lambda: sorted(ports(informer).values()) == [2, 4, 10])
        assert ports(informer).within("other") == {}
        assert states(logged) == ["in sync"]
    assert len(fake.requests("GET", "services")) == 3


@conversation
async def test_a_watch_that_ends_resumes_from_the_last_bookmark(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    informer = Informer(api, SERVICES, new_port_store, resync_seconds=1.5)
    async with running(informer):
        await until(lambda: len(fake.watches("services")) == 1)
        bookmark = fake.bookmark("services")
        await until(lambda: len(fake.watches("services")) == 2)
        assert fake.watches("services")[1].query["resourceVersion"] == bookmark


@conversation
async def test_a_fresh_list_repairs_what_the_watch_missed(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("services", service("a"))
    informer = Informer(api, SERVICES, new_port_store, resync_seconds=0.2)
    async with running(informer) as logged:
        await until(lambda: len(fake.watches("services")) == 1)
        del fake.objects["services", "ray", "a"]
        await until(lambda: len(ports(informer)) == 0)
        assert states(logged) == ["in sync"]


@conversation
async def test_an_expired_watch_lists_again_at_once(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("services", service("a"))
    informer = Informer(api, SERVICES, new_port_store)
    async with running(informer) as logged:
        await until(lambda: len(fake.watches("services")) == 1)
        del fake.objects["services", "ray", "a"]
        fake.forget()
        await until(lambda: len(ports(informer)) == 0, seconds=0.4)
        await until(lambda: len(fake.watches("services")) == 2)
        fake.put("services", service("b", 2))
        await until(lambda: ports(informer).get("ray", "b") == 2)
        assert states(logged) == ["in sync"]


@conversation
async def test_a_server_whose_watches_always_expire_is_not_flooded(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.oldest = 1_000_000
    informer = Informer(api, SERVICES, new_port_store)
    async with running(informer) as logged:
        await until(lambda: len(fake.watches("services")) == 3)
        await asyncio.sleep(0.2)
        assert len(fake.watches("services")) < 5
        assert states(logged) == ["watch services: the API server answered 410"]


@conversation
async def test_a_watch_that_ends_at_once_causes_no_busy_loop(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.faults = [fake.serve, answers_with(b""), fake.serve, answers_with(b"")]
    async with running(Informer(api, SERVICES, new_port_store)) as logged:
        await until(lambda: len(fake.seen) == 4)
        assert states(logged) == ["watch services: ended as soon as it began"]


@conversation
async def test_errors_are_logged_once_and_the_last_content_stays(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put("services", service("a"))
    informer = Informer(api, SERVICES, new_port_store, resync_seconds=0.1, retry_seconds=0.02)
    async with running(informer) as logged:
        await until(lambda: states(logged) == ["in sync"])
        assert informer.up_to_date
        fake.forbidden = {("list", "services")}
        requests_before = len(fake.seen)
        await until(lambda: len(fake.seen) > requests_before + 5)
        assert ports(informer).get("ray", "a") == 1 and not informer.up_to_date
        fake.forbidden = {("watch", "services")}
        requests_before_watches = len(fake.seen)
        await until(lambda: len(fake.seen) > requests_before_watches + 10)
        fake.forbidden = set()
        await until(lambda: states(logged)[-1] == "in sync")
        assert informer.up_to_date
        first, *errors, last = states(logged)
        assert (first, last) == ("in sync", "in sync")
        assert [error[:44] for error in errors] == [
            "the service account may not list services: g",
            "the service account may not watch services: ",
        ]


def test_the_informer_reconnects_after_a_server_restart(tmp_path: Path) -> None:
    async def main() -> None:
        fake = FakeKubeApi(free_port())
        async with await KubeApi.connect(kubeconfig_for(fake, tmp_path)) as api:
            informer = Informer(api, SERVICES, new_port_store, retry_seconds=0.05)
            async with running(informer, synced=False) as logged:
                await until(lambda: len(logged) == 1)
                assert not informer.synced.is_set()
                fake.put("services", service("a", 1))
                async with listening(fake):
                    await until(
                        lambda: (
                            ports(informer).get("ray", "a") == 1
                            and len(fake.watches("services")) == 1
                        )
                    )
                fake.put("services", service("a", 2))
                await until(lambda: len(logged) > 1)
                assert ports(informer).get("ray", "a") == 1
                async with listening(fake):
                    await until(lambda: ports(informer).get("ray", "a") == 2)

    talk(main())


@conversation
async def test_a_resource_without_its_crd_is_empty_until_the_crd_is_installed(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.unknown = {"rayclusters"}
    informer = Informer(api, RAY_CLUSTERS, new_port_store, retry_seconds=0.05)
    async with running(informer) as logged:
        assert len(ports(informer)) == 0
        await until(lambda: len(fake.seen) > 3)
        assert states(logged) == ["unknown to the API server"] and informer.up_to_date
        fake.unknown = set()
        fake.put("rayclusters", service("a"))
        await until(lambda: ports(informer).get("ray", "a") == 1)
        await until(lambda: len(fake.watches("rayclusters")) == 1)
        fake.put("rayclusters", service("b"))
        await until(lambda: states(logged) == ["unknown to the API server", "in sync"])
        fake.unknown = {"rayclusters"}
        fake.forget()
        await until(lambda: len(ports(informer)) == 0)


@conversation
async def test_a_malformed_object_is_ignored_and_logged(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put("services", service("bad", "http"))
    fake.put("services", service("good", 1))
    informer = Informer(api, SERVICES, new_port_store)
    async with running(informer) as logged:
        assert list(ports(informer).values()) == [1]
        assert logged[0] == {
            "event": "object ignored",
            "log_level": "warning",
            "resource": "services",
            "namespace": "ray",
            "name": "bad",
            "reason": "the port is not a number",
        }
        await until(lambda: len(fake.watches("services")) == 1)
        fake.put("services", service("good", "http"))
        await until(lambda: len(ports(informer)) == 0)
        fake.put("services", service("bad", 5))
        await until(lambda: list(ports(informer).values()) == [5])


@conversation
async def test_an_object_nested_too_deep_for_parsers_hides_no_other_object(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    deep = '{"f:a":' * 3000 + "{}" + "}" * 3000
    metadata = f'{{"namespace":"evil","name":"deep","managedFields":[{{"fieldsV1":{deep}}}]}}'
    hostile = f'{{"metadata":{metadata},"spec":{{"port":7}}}}'
    harmless = '{"metadata":{"namespace":"ray","name":"a"},"spec":{"port":1}}'
    page = f'{{"metadata":{{"resourceVersion":"1"}},"items":[{hostile},{harmless}]}}'
    fake.faults.append(answers_with(page.encode()))
    informer = Informer(api, SERVICES, new_port_store)
    async with running(informer):
        assert (ports(informer).get("ray", "a"), ports(informer).get("evil", "deep")) == (1, 7)
