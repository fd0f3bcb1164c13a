"""The controller: what it writes, how often, and what it says when it cannot."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from policies.network.isolation import ClusterIsolation
from policies.network.isolation import IsolationMode as Mode
from tests.support.factory import changed
from tests.support.kube_conversation import until
from tests.webhook.isolation.scripted import Scripted, raw_cluster
from webhook.isolation import controller as module
from webhook.ports import NotWrittenError, UnavailableError

PODS, HEAD = "raywarden-pods-demo", "raywarden-head-demo"
FORBIDDEN = NotWrittenError("the service account may not patch networkpolicies", "forbidden")


def running(
    test: Callable[[Scripted], Coroutine[Any, Any, None]],
) -> Callable[[], None]:
    """Decorates a test that takes a running controller, for pytest to run."""

    async def main() -> None:
        async with started(Scripted()) as scripted:
            await test(scripted)

    def run() -> None:
        asyncio.run(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@asynccontextmanager
async def started(scripted: Scripted) -> AsyncIterator[Scripted]:
    task = asyncio.create_task(scripted.controller.run())
    try:
        yield scripted
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def closed(scripted: Scripted) -> None:
    await until(lambda: scripted.missing() == "" and not scripted.reports.missing)


@running
async def test_a_new_cluster_is_closed_once(scripted: Scripted) -> None:
    scripted.state.put(raw_cluster())
    await closed(scripted)
    for _ in range(5):
        scripted.controller.examine()
        await asyncio.sleep(0.01)
    assert scripted.writer.applied == [PODS, HEAD]
    assert scripted.reports.changes == {"written": 2, "repaired": 0, "deleted": 0}


@running
async def test_a_changed_policy_is_repaired(scripted: Scripted) -> None:
    scripted.state.put(raw_cluster())
    await closed(scripted)
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "uid": "u1"}
    metadata = {"name": PODS, "namespace": "ray", "ownerReferences": [owner]}
    scripted.writer.store({"metadata": metadata, "spec": {"podSelector": {}, "ingress": [{}]}})
    assert scripted.missing()
    await closed(scripted)
    assert scripted.reports.changes["repaired"] == 1


@running
async def test_policies_that_are_not_wanted_any_more_are_deleted(scripted: Scripted) -> None:
    scripted.state.put(raw_cluster())
    await closed(scripted)
    scripted.isolation = ClusterIsolation(Mode.OFF)
    scripted.controller.examine()
    await until(lambda: not scripted.state.policies)
    assert scripted.reports.changes["deleted"] == 2


@running
async def test_only_the_leader_writes_and_all_know_what_is_missing(scripted: Scripted) -> None:
    await until(lambda: scripted.election.leading)
    other = Scripted(leases=scripted.leases, identity="other")
    async with started(other):
        other.state.put(raw_cluster())
        await until(lambda: bool(other.reports.missing))
        assert other.writer.applied == [] and not other.election.leading
        assert other.missing() == f"the NetworkPolicy {PODS} does not exist yet"


@running
async def test_a_problem_is_said_to_pods_and_recorded_once(scripted: Scripted) -> None:
    scripted.writer.error = FORBIDDEN
    scripted.state.put(raw_cluster())
    await until(lambda: scripted.reports.errors["forbidden"] >= 2)
    assert scripted.missing() == f"the NetworkPolicy {PODS} does not exist yet ({FORBIDDEN})"
    (event,) = scripted.writer.events
    assert event["regarding"]["uid"] == "u1" and str(FORBIDDEN) in event["note"]
    scripted.writer.error = None
    await closed(scripted)


@running
async def test_a_lease_that_cannot_be_renewed_is_said_to_pods(scripted: Scripted) -> None:
    scripted.leases.error = UnavailableError("no right to the Lease")
    await scripted.election.step()
    scripted.clock.seconds += 11
    scripted.state.put(raw_cluster())
    await until(lambda: bool(scripted.reports.missing))
    assert scripted.missing().endswith("(no right to the Lease)")


@running
async def test_errors_pause_one_cluster_and_not_the_others(scripted: Scripted) -> None:
    scripted.writer.error = NotWrittenError("a quota", "refused")
    scripted.state.put(raw_cluster())
    await until(lambda: scripted.reports.errors["refused"] == 1)
    for _ in range(50):
        scripted.controller.examine(("ray", "demo"))
        await asyncio.sleep(0.001)
    assert scripted.reports.errors["refused"] == 1, "a change must not end the pause"
    scripted.writer.error = None
    scripted.state.put(raw_cluster("other", "u2"))
    await until(lambda: scripted.missing("u2", "other") == "")


@running
async def test_a_write_is_not_repeated_while_the_cache_is_behind(scripted: Scripted) -> None:
    scripted.writer.lags = True
    scripted.state.put(raw_cluster())
    for _ in range(50):
        scripted.controller.examine()
        await asyncio.sleep(0.001)
    assert scripted.writer.applied == [PODS, HEAD]


@running
async def test_endless_changes_by_somebody_else_are_repaired_at_a_bounded_rate(
    scripted: Scripted,
) -> None:
    scripted.state.put(raw_cluster())
    await closed(scripted)
    document = {"metadata": {"name": PODS, "namespace": "ray"}, "spec": {"ingress": [{}]}}
    for number in range(300):
        version = {"/metadata/resourceVersion": f"theirs-{number}"}
        scripted.writer.store(changed(document, version))
        await asyncio.sleep(0.001)
    assert 5 < len(scripted.writer.applied) < 20


def test_policies_of_a_deleted_cluster_are_deleted_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ORPHAN_SECONDS", 0.2)

    async def main() -> None:
        async with started(Scripted()) as scripted:
            scripted.state.put(raw_cluster())
            await closed(scripted)
            scripted.state.remove("ray", "demo")
            await asyncio.sleep(0.1)
            assert len(scripted.state.policies) == 2, "the cache may only be behind"
            await until(lambda: not scripted.state.policies)

    asyncio.run(main())


def test_no_policy_is_deleted_while_the_api_server_knows_no_rayclusters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_ORPHAN_SECONDS", 0.05)

    async def main() -> None:
        async with started(Scripted()) as scripted:
            scripted.state.put(raw_cluster())
            await closed(scripted)
            scripted.state.knows_clusters = False
            scripted.state.remove("ray", "demo")
            await asyncio.sleep(0.1)
            scripted.controller.examine()
            await asyncio.sleep(0.05)
            assert len(scripted.state.policies) == 2 and not scripted.writer.deleted
            scripted.state.knows_clusters = True
            scripted.controller.examine()
            await asyncio.sleep(0.1)
            scripted.controller.examine()
            await until(lambda: not scripted.state.policies)

    asyncio.run(main())


@running
async def test_a_defect_stops_neither_the_server_nor_other_clusters(scripted: Scripted) -> None:
    original = scripted.state.operators

    def broken(namespace: str) -> list[str]:
        raise RuntimeError("a defect")

    scripted.state.operators = broken  # type: ignore[method-assign]  # the double misbehaves
    scripted.state.put(raw_cluster())
    await until(lambda: scripted.reports.errors["defect"] == 1)
    scripted.state.operators = original  # type: ignore[method-assign]  # and behaves again
    scripted.state.put(changed(raw_cluster("other", "u2"), {}))
    await until(lambda: scripted.missing("u2", "other") == "")
