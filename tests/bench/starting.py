"""Measures how long `raywarden enroll` and `raywarden serve` take to start, and enroll at once."""

import os
import re
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.bench import load
from tests.bench.enroll_image import EnrollImage, enroll_image
from tests.bench.fake_cluster import api_server, server_of
from tests.bench.figures import Column, Table
from tests.support import live_objects
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.live_server import RunningServer, serving

_RUNS = 15
_STARTS = 7
_ROUNDS_AT_ONCE = 3
_AT_ONCE = 64
_POD = "demo-head-abcde"
_IMPORT = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
_SLOWEST = 8
_UNLIMITED = {"RAYWARDEN_ENROLLMENTS_PER_MINUTE": "1000000"}
# What a server lists before it is ready.
_PODS, _CLUSTERS = 100, 100


def main() -> None:
    """Measure the start times of the programs that pods and operators wait for."""
    with enroll_image() as image:
        with serving(_UNLIMITED, live_objects.objects()) as server:
            _measure_program(image, server)
            _measure_at_once(image, server)
        _measure_imports(image)
    table = Table("raywarden serve, until ready", Column("ms"), Column("CPU ms"))
    table.add("--dev", *_starts(_dev_start))
    with api_server(_PODS, _CLUSTERS) as api:
        table.add(f"{_PODS} pods, {_CLUSTERS} RayClusters", *_starts(lambda: _start(api)))


def _measure_program(image: EnrollImage, server: RunningServer) -> None:
    """Measure `raywarden enroll` from start to end, with the files of its own image."""
    token, files = server.pod_token(_POD), image.files()
    table = Table("raywarden enroll, start to end", Column("ms"), Column("CPU ms"))
    for title, is_cold in (("files in memory", False), ("files dropped from memory", True)):
        took, cpu = [], []
        for _ in range(_RUNS):
            if is_cold:
                _drop(files)
            before, started = _children_seconds(), time.perf_counter()
            image.enroll(server, token)
            took.append((time.perf_counter() - started) * 1e3)
            cpu.append((_children_seconds() - before) * 1e3)
        table.add(title, took, cpu)


def _measure_at_once(image: EnrollImage, server: RunningServer) -> None:
    """Measure how long many pods at once take, with the server's own work on the same cores."""
    token = server.pod_token(_POD)

    def once() -> float:
        with ThreadPoolExecutor(_AT_ONCE) as pods:
            started = time.perf_counter()
            list(pods.map(lambda _: image.enroll(server, token), range(_AT_ONCE)))
            return time.perf_counter() - started

    table = Table("raywarden enroll, at once", Column("seconds", 1))
    table.add(f"{_AT_ONCE} pods and the server", [once() for _ in range(_ROUNDS_AT_ONCE)])


def _measure_imports(image: EnrollImage) -> None:
    """Measure the imports as `-X importtime` does, and print which take longest, themselves."""
    runs = []
    for _ in range(_STARTS):
        lines = _IMPORT.findall(image.run("-X", "importtime"))
        runs.append({module: int(microseconds) / 1e3 for microseconds, module in lines})
    table = Table("imports of raywarden enroll", Column("ms", 1), Column("modules"))
    table.add("--help", [sum(run.values()) for run in runs], float(len(runs[0])))
    best: dict[str, float] = {}
    for module, took in (entry for run in runs for entry in run.items()):
        best[module] = min(took, best.get(module, took))
    slowest = sorted(best, key=best.__getitem__, reverse=True)[:_SLOWEST]
    print("slowest:", ", ".join(f"{module} {best[module]:.1f}" for module in slowest))


def _starts(start: Callable[[], tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Of some starts, the milliseconds until the server is ready, and those of CPU time."""
    runs = [start() for _ in range(_STARTS)]
    return [seconds * 1e3 for seconds, _ in runs], [cpu * 1e3 for _, cpu in runs]


def _dev_start() -> tuple[float, float]:
    started = time.perf_counter()
    with serving() as server:
        return _until_ready(server, started)


def _start(api: FakeKubeApi) -> tuple[float, float]:
    started = time.perf_counter()
    with server_of(api) as server:
        return _until_ready(server, started)


def _until_ready(server: RunningServer, started: float) -> tuple[float, float]:
    """Seconds since `started`, and of CPU time; the log of a server is read every 20 ms."""
    return time.perf_counter() - started, load.cpu_seconds(server.process.pid)


def _drop(files: list[str]) -> None:
    """Take the files out of the page cache, as far as no other process maps them."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _children_seconds() -> float:
    """The CPU time of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
