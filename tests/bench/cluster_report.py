"""The lines that `make bench-cluster` prints."""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from tests.apiserver.replica import Replica
from tests.bench.api_client import Outcome

_KIBIBYTES = 1024
_REFUSALS_SHOWN = 3


def title() -> None:
    """The heads of the columns; CPU time is that of one create, in milliseconds."""
    print(
        f"\n{'creates through an API server':<42}{'/s':>6}{'p50 ms':>9}{'p99 ms':>9}"
        f"{'API CPU':>9}{'our CPU':>9}{'refused':>9}{'unmutated':>11}"
    )


def row(name: str, outcome: Outcome) -> None:
    p50, p99 = percentiles(outcome)
    each = 1e3 / len(outcome.took)
    cpu = f"{outcome.of_api_server * each:>9.1f}{outcome.of_replicas * each:>9.1f}"
    problems = f"{len(outcome.refused):>9}{outcome.unmutated:>11}"
    print(f"{name:<42}{outcome.rate:>6.0f}{p50:>9.1f}{p99:>9.1f}{cpu}{problems}", flush=True)
    for text in sorted(set(outcome.refused))[:_REFUSALS_SHOWN]:
        print(f"  {text}", flush=True)


def difference(without: Outcome, with_raywarden: Outcome) -> None:
    """What RayWarden adds, and its share of the creates without it."""
    (p50, p99), (more_p50, more_p99) = percentiles(without), percentiles(with_raywarden)
    share = f"{with_raywarden.rate / without.rate:.0%}"
    print(f"{'  added':<42}{share:>6}{more_p50 - p50:>+9.1f}{more_p99 - p99:>+9.1f}", flush=True)


def server(before: Sequence[int], pair: Sequence[Replica], calls: float, created: int) -> None:
    """The memory of both replicas, and how often the API server called the mutation."""
    figures = [f"{was} -> {now}" for was, now in zip(before, memory(pair), strict=True)]
    print(f"  memory of the replicas, MiB: {', '.join(figures)}")
    print(f"  calls of the mutation for each create: {calls / created:.2f}", flush=True)


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
