"""Measures how long `raywarden review` takes for one file, and for many."""

import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.support import factory

_MANIFESTS = 1000
_RUNS_OF_ONE = 7
_RUNS_OF_MANY = 3
_KINDS = (factory.ray_cluster, factory.ray_job, factory.ray_service)


@dataclass(frozen=True)
class Run:
    """The duration of a command and the CPU time it took, in seconds."""

    seconds: float
    cpu: float


def main() -> None:
    """Print the time for one manifest, and the manifests per second of a folder of them."""
    with TemporaryDirectory() as folder:
        files = [_write(Path(folder), number) for number in range(_MANIFESTS)]
        one = [_review(files[0]) for _ in range(_RUNS_OF_ONE)]
        many = [_review(Path(folder)) for _ in range(_RUNS_OF_MANY)]
    print(f"\n{'raywarden review':<28}{'p50':>8}{'most':>8}")
    for title, seconds in (
        ("one manifest, milliseconds", [run.seconds for run in one]),
        ("CPU", [run.cpu for run in one]),
    ):
        print(f"{title:<28}{statistics.median(seconds) * 1e3:>8.0f}{max(seconds) * 1e3:>8.0f}")
    print(f"{f'{_MANIFESTS} manifests':<28}{'p50':>8}{'least':>8}")
    for title, rates in (
        ("manifests per second", [_MANIFESTS / run.seconds for run in many]),
        ("per second of CPU", [_MANIFESTS / run.cpu for run in many]),
    ):
        print(f"{title:<28}{statistics.median(rates):>8.0f}{min(rates):>8.0f}")


def _write(folder: Path, number: int) -> Path:
    document = _KINDS[number % len(_KINDS)]()
    document = factory.changed(document, {"/metadata/name": f"demo-{number}"})
    file = folder / f"{number}.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


def _review(source: Path) -> Run:
    before, started = _cpu(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "webhook", "review", "--fail-on", "never", str(source)],
        env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL, check=True, timeout=600,
    )  # fmt: skip
    return Run(time.perf_counter() - started, _cpu() - before)


def _cpu() -> float:
    """The CPU time of all commands that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
