"""Measures what the watches of RayWarden's replicas cost a real API server."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.pods import make_cluster
from tests.apiserver.replica import replicas
from tests.bench.figures import Column, Table

_REPLICAS = (0, 1, 2, 4)
_WINDOWS = 3
_WINDOW_SECONDS = 5.0
# Each change of a RayCluster goes to every replica.
_CHANGES_PER_SECOND = 20
# Counters of the API server: its CPU time, its requests, and the events it sends to watches.
_COUNTERS = (
    "process_cpu_seconds_total",
    "apiserver_request_total",
    "apiserver_watch_events_total",
)
# No webhook is registered: the replicas only watch. Tests resynchronize more often.
_SETTINGS = {"WEBHOOK_CONFIGURATION": "", "RESYNC_SECONDS": "10"}
_COLUMNS = (Column("CPU %", 1), Column("req/s", 1), Column("events/s", 1))


def main() -> None:
    """Measure the API server with up to four replicas: idle, and with changes of RayClusters."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        print("\nwatches skipped: KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd")
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane(Path(folder), Path(assets)) as control_plane,
    ):
        installation = Installation.make(control_plane)
        namespace = installation.team()
        make_cluster(control_plane, namespace)
        path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters/demo"
        changes = partial(_change, control_plane, path)
        works: Mapping[str, Callable[[], None]] = {
            "API server, idle cluster": lambda: None,
            f"API server, {_CHANGES_PER_SECOND} changes/s": changes,
        }
        for title, work in works.items():
            table = Table(title, *_COLUMNS)
            for number in _REPLICAS:
                with replicas(installation, number, **_SETTINGS) as started:
                    for replica in started:
                        replica.wait_ready()
                    table.add(f"{number} replicas", *_windows(control_plane, work))


def _windows(control_plane: ControlPlane, work: Callable[[], None]) -> Iterable[list[float]]:
    """Of some windows of time: CPU in percent of a core, requests and events a second."""
    windows = [_window(control_plane, work) for _ in range(_WINDOWS)]
    scales = (100, 1, 1)
    for index, scale in enumerate(scales):
        yield [window[index] * scale for window in windows]


def _window(control_plane: ControlPlane, work: Callable[[], None]) -> list[float]:
    """How much each counter grows in a second while `work` is done repeatedly."""
    started, before = time.monotonic(), _counters(control_plane)
    for number in range(int(_CHANGES_PER_SECOND * _WINDOW_SECONDS)):
        work()
        time.sleep(max(0, started + number / _CHANGES_PER_SECOND - time.monotonic()))
    after, seconds = _counters(control_plane), time.monotonic() - started
    return [(new - old) / seconds for old, new in zip(before, after, strict=True)]


def _counters(control_plane: ControlPlane) -> list[float]:
    lines = control_plane.admin.get("/metrics").text.splitlines()
    return [_sum_of(name, lines) for name in _COUNTERS]


def _sum_of(name: str, lines: Iterable[str]) -> float:
    """The sum of all series of a metric."""
    series = (line for line in lines if line.startswith((f"{name}{{", f"{name} ")))
    return sum(float(line.rpartition(" ")[2]) for line in series)


def _change(control_plane: ControlPlane, path: str) -> None:
    control_plane.patch(path, {"metadata": {"annotations": {"changed": str(time.time_ns())}}})


if __name__ == "__main__":
    main()
