"""The tables of `make bench-cluster`."""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from tests.apiserver.replica import Replica
from tests.bench.api_client import Outcome
from tests.bench.figures import Column, Table

_KIBIBYTES = 1024
_REFUSALS_SHOWN = 3


class CreateTable:
    """What creates take; CPU time is that of one create, in milliseconds."""

    def __init__(self) -> None:
        self._table = Table(
            "creates through an API server",
            Column("per s", more_is_better=True),
            Column("p50 ms", 1),
            Column("p99 ms", 1),
            Column("API CPU", 1),
            Column("our CPU", 1),
            Column("refused"),
            Column("unmutated"),
        )

    def add(self, row: str, outcome: Outcome) -> None:
        """Add a row, and print the first refusals."""
        self._table.add(row, *_cells(outcome))
        for text in sorted(set(outcome.refused))[:_REFUSALS_SHOWN]:
            print(f"  {text}", flush=True)

    def add_pair(self, row: str, without: Outcome, with_raywarden: Outcome) -> None:
        """Add the rows without and with RayWarden, and the difference."""
        self.add(f"{row}, without", without)
        self.add(f"{row}, with RayWarden", with_raywarden)
        pairs = zip(_cells(without), _cells(with_raywarden), strict=True)
        self._table.add(f"{row}, difference", *(after - before for before, after in pairs))


def server(before: Sequence[int], pair: Sequence[Replica], calls: float, created: int) -> None:
    """The memory of both replicas, and how often the API server called the mutation."""
    table = Table("resident memory of two replicas", Column("before"), Column("after"))
    for number, (was, now) in enumerate(zip(before, memory(pair), strict=True), start=1):
        table.add(f"replica {number}, MiB", was, now)
    Table("calls of the mutation", Column("number", 2)).add("for each create", calls / created)


def _cells(outcome: Outcome) -> tuple[float, ...]:
    each = 1e3 / len(outcome.took)
    cpu = (outcome.of_api_server * each, outcome.of_replicas * each)
    return outcome.rate, *percentiles(outcome), *cpu, len(outcome.refused), outcome.unmutated


def percentiles(outcome: Outcome) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(outcome.took, n=100)
    return cuts[49] * 1e3, cuts[98] * 1e3


def memory(pair: Sequence[Replica]) -> list[int]:
    """The memory of each replica, in MiB."""
    return [_resident(replica.process.pid) for replica in pair]


def _resident(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // _KIBIBYTES
    raise AssertionError("the replica is gone")


def cpu_seconds(process: int) -> float:
    """The CPU time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def mutations(pair: Sequence[Replica]) -> float:
    """How often the API server has called the mutating webhook for new objects."""
    total = 0.0
    for kind in ("Pod", "RayCluster"):
        labels = f'allowed="true",kind="{kind}",operation="CREATE",webhook="mutate"'
        line = f"raywarden_admission_requests_total{{{labels}}}"
        total += sum(replica.metric(line) for replica in pair)
    return total
