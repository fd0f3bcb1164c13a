"""Which replica writes, with clocks that tests move."""

import asyncio
from datetime import datetime, timedelta

from tests.webhook.isolation.scripted import NOW, Clock, ScriptedLeases
from webhook.isolation.lease import Election
from webhook.ports import UnavailableError


def replicas(leases: ScriptedLeases, clock: Clock) -> tuple[Election, Election]:
    """Two replicas whose wall clocks differ by a day."""

    def now() -> datetime:
        return NOW + timedelta(seconds=clock.seconds)

    first = Election(leases, "a", clock, now)
    return first, Election(leases, "b", clock, lambda: now() + timedelta(days=1))


def step(*elections: Election) -> list[bool]:
    async def main() -> None:
        for election in elections:
            await election.step()

    asyncio.run(main())
    return [election.leading for election in elections]


def test_the_first_replica_leads_for_as_long_as_it_renews() -> None:
    clock, leases = Clock(), ScriptedLeases()
    first, second = replicas(leases, clock)
    for _ in range(30):
        assert step(first, second) == [True, False]
        clock.seconds += 2


def test_a_lease_is_taken_over_only_after_it_was_seen_unchanged_for_its_duration() -> None:
    clock, leases = Clock(), ScriptedLeases()
    first, second = replicas(leases, clock)
    step(first)
    clock.seconds += 60
    assert not first.leading, "it has stopped before anybody can take over"
    assert step(second) == [False], "it has only just seen the Lease"
    clock.seconds += 14
    assert step(second) == [False]
    clock.seconds += 1
    assert step(second) == [True]
    assert leases.lease and leases.lease["spec"]["leaseTransitions"] == 1
    assert step(first, second) == [False, True]


def test_a_leader_without_api_server_stops_before_its_lease_ends() -> None:
    clock, leases = Clock(), ScriptedLeases()
    first, second = replicas(leases, clock)
    step(first, second)
    leases.error = UnavailableError("down")
    clock.seconds += 9
    assert step(first) == [True] and first.problem == "down"
    clock.seconds += 2
    assert step(first) == [False]
    leases.error = None
    assert step(second) == [False]
    assert step(first) == [True] and first.problem == ""


def test_a_released_lease_is_taken_over_at_once() -> None:
    clock, leases = Clock(), ScriptedLeases()
    first, second = replicas(leases, clock)
    step(second)

    async def stop() -> None:
        task = asyncio.create_task(first.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    leases.lease = None
    step(first, second)
    asyncio.run(stop())
    assert leases.lease and leases.lease["spec"]["holderIdentity"] == ""
    assert step(second) == [True]


def test_a_conflict_is_not_a_loss() -> None:
    clock, leases = Clock(), ScriptedLeases()
    first, second = replicas(leases, clock)

    async def race() -> None:
        await asyncio.gather(first.step(), second.step())

    asyncio.run(race())
    assert [first.leading, second.leading].count(True) == 1


def test_a_malformed_lease_does_not_stop_everybody() -> None:
    clock, leases = Clock(), ScriptedLeases()
    spec = {"holderIdentity": "x", "leaseDurationSeconds": 10**9, "leaseTransitions": "many"}
    leases.lease = {"version": 0, "spec": spec}
    (first, _) = replicas(leases, clock)
    assert step(first) == [False]
    clock.seconds += 16
    assert step(first) == [True]


def test_the_start_and_the_end_of_leading_are_reported() -> None:
    clock, leases = Clock(), ScriptedLeases()
    first, _ = replicas(leases, clock)
    states: list[bool] = []
    first.on_change = lambda: states.append(first.leading)
    step(first, first)
    leases.error = UnavailableError("down")
    clock.seconds += 11
    step(first)
    assert states == [True, False]
