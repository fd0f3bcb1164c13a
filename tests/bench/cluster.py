"""Measures what RayWarden costs the creates of a real API server: alone, paced, and in a storm.

`python -m tests.bench.cluster [--publish] [PODS]`. Every figure stands below that of the same
creates in namespaces whose requests the API server does not send to RayWarden.
"""

import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import uvloop

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.replica import Replica, replicas, serving
from tests.apiserver.service import Service
from tests.bench import cluster_objects, cluster_report, figures, records
from tests.bench.api_client import Connection, Outcome, connect, create, create_paced
from tests.bench.cluster_objects import PODS_A_CLUSTER, Team

_PODS = 10_000
_CALLERS = 64
# With and without RayWarden by turns, because a shared machine is not equally fast all the time.
_ROUNDS = 6
_CREATES_A_ROUND = {1: 60, 8: 240}
_A_SECOND = 50
_PACED_SECONDS = 5
# The replicas of tests compare their objects with the API server's twice a second.
_AS_INSTALLED = {"RESYNC_SECONDS": "10"}

Run = Callable[[Sequence[Team], bool], Awaitable[Outcome]]


def main() -> int:
    """Print all figures; returns 1 if a pod was refused, or accepted without the mutation."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        print("skipped: KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd")
        return 0
    sizes = [int(argument) for argument in sys.argv[1:] if argument != "--publish"]
    pods = sizes[0] if sizes else _PODS
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane(Path(folder), Path(assets)) as control_plane,
    ):
        bench = _Bench(Installation.make(control_plane), pods)
        uvloop.run(bench.measure())
        uvloop.run(bench.lose_a_replica())
    records.conclude(figures.measured, publishing="--publish" in sys.argv)
    return 1 if bench.failures else 0


class _Bench:
    """The measurements in one installation."""

    def __init__(self, installation: Installation, pods: int) -> None:
        self.failures = 0
        self._installation = installation
        self._pods, self._clusters = pods, pods // PODS_A_CLUSTER
        self._without = self._teams(unseen="true")
        self._with: list[Team] = []
        self._replicas: list[int] = []
        self._creates = cluster_report.CreateTable()

    async def measure(self) -> None:
        """Print the figures for one caller, for eight, for a pace, and for a storm."""
        with replicas(self._installation, 2, **_AS_INSTALLED) as pair:
            self._installation.register(*pair, selectors=cluster_objects.SELECTORS)
            await self._begin(pair)
            for callers, count in _CREATES_A_ROUND.items():
                connections = await self._connect(callers)
                run = partial(_create_some, connections, count)
                await self._compare(f"{callers} at once", run, _ROUNDS)
            connections = await self._connect(_CALLERS)
            run = partial(_create_paced, connections)
            await self._compare(f"{_A_SECOND} pods a second", run, _ROUNDS)
            self._clean()
            calls, memory = cluster_report.mutations(pair), cluster_report.memory(pair)
            run = partial(self._storm, connections)
            await self._compare(self._storm_row, run, rounds=1)
            calls = cluster_report.mutations(pair) - calls
            cluster_report.server(memory, pair, calls, self._pods + self._clusters)
            self._clean()

    async def lose_a_replica(self) -> None:
        """Print the figures of a storm in the middle of which one of two replicas is killed.

        A refusal is right while the Service still leads to that replica: KubeRay comes again.
        """
        with Service() as service, ExitStack() as stack:
            for _ in range(2):
                settings = {**_AS_INSTALLED, "SIGNER_URL": service.enrollment}
                started = serving(self._installation, **settings)
                service.replicas.append(stack.enter_context(started))
            self._installation.register_at(service.admission, service.admission)
            await self._begin(service.replicas)
            connections = await self._connect(_CALLERS)
            requests = cluster_objects.storm(self._with, self._pods, self._clusters)
            middle, victim = self._pods // 2, service.replicas[0].process
            requests = _calling(victim.kill, middle, requests)
            outcome = await self._timed(create(connections, requests, True))
        creates = cluster_report.CreateTable()
        creates.add(f"{self._storm_row}, a replica killed", outcome)
        by_others = [text for text in outcome.refused if "raywarden.io" not in text]
        self.failures += outcome.unmutated + len(by_others)

    @property
    def _storm_row(self) -> str:
        return f"storm of {self._pods} pods"

    def _teams(self, **labels: str) -> list[Team]:
        return cluster_objects.teams_for(self._installation, self._clusters, **labels)

    async def _connect(self, number: int) -> list[Connection]:
        return await connect(self._installation.control_plane, number)

    async def _begin(self, pair: Sequence[Replica]) -> None:
        """Wait until the API server calls the replicas, and both know the RayClusters."""
        self._replicas = [replica.process.pid for replica in pair]
        for replica in pair:
            replica.wait_ready()
        self._installation.wait_effective()
        self._with = self._teams()
        connections = await self._connect(len(pair))
        # Two replicas have two caches, and each call may go to either.
        for _ in range(2 * len(pair)):
            for teams in (self._with, self._without):
                await create(connections, cluster_objects.pods(teams, 2 * len(teams)), False)

    async def _compare(self, title: str, run: Run, rounds: int) -> None:
        """Run without and with RayWarden by turns, and print both and the difference."""
        without, with_raywarden = Outcome(), Outcome()
        for _ in range(rounds):
            without.add(await self._timed(run(self._without, False)))
            with_raywarden.add(await self._timed(run(self._with, True)))
        self._creates.add_pair(title, without, with_raywarden)
        self.failures += len(with_raywarden.refused) + with_raywarden.unmutated

    async def _timed(self, run: Awaitable[Outcome]) -> Outcome:
        """The outcome of a run, with the CPU time that it cost."""
        server, replicas = self._cpu_seconds()
        outcome = await run
        server_after, replicas_after = self._cpu_seconds()
        outcome.of_api_server = server_after - server
        outcome.of_replicas = replicas_after - replicas
        return outcome

    def _cpu_seconds(self) -> tuple[float, float]:
        replicas = sum(map(cluster_report.cpu_seconds, self._replicas))
        return cluster_report.cpu_seconds(self._installation.control_plane.process_id), replicas

    async def _storm(
        self, connections: Sequence[Connection], teams: Sequence[Team], mutated: bool
    ) -> Outcome:
        requests = cluster_objects.storm(teams, self._pods, self._clusters)
        return await create(connections, requests, mutated)

    def _clean(self) -> None:
        """Delete everything that was created, except the RayClusters that own the pods."""
        for team in (*self._without, *self._with):
            team.clean(self._installation.control_plane)


async def _create_some(
    connections: Sequence[Connection], count: int, teams: Sequence[Team], mutated: bool
) -> Outcome:
    return await create(connections, cluster_objects.pods(teams, count), mutated)


async def _create_paced(
    connections: Sequence[Connection], teams: Sequence[Team], mutated: bool
) -> Outcome:
    requests = cluster_objects.pods(teams, _A_SECOND * _PACED_SECONDS)
    return await create_paced(connections, requests, mutated, _A_SECOND)


def _calling(event: Callable[[], None], at: int, requests: Iterator[bytes]) -> Iterator[bytes]:
    """The same requests; `event` is called before that with this number."""
    for index, request in enumerate(requests):
        if index == at:
            event()
        yield request


if __name__ == "__main__":
    sys.exit(main())
