"""Measures how long `raywarden review` takes for one file, and for many."""

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.bench.figures import Column, Table
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
    """Measure the time for one manifest, and the manifests per second of a folder of them."""
    with TemporaryDirectory() as folder:
        files = [_write(Path(folder), number) for number in range(_MANIFESTS)]
        one = [_review(files[0]) for _ in range(_RUNS_OF_ONE)]
        many = [_review(Path(folder)) for _ in range(_RUNS_OF_MANY)]
    table = Table("raywarden review, one manifest", Column("ms"), Column("CPU ms"))
    table.add(
        "from start to end", [run.seconds * 1e3 for run in one], [run.cpu * 1e3 for run in one]
    )
    table = Table(
        f"raywarden review, {_MANIFESTS} manifests",
        Column("per s", more_is_better=True),
        Column("per CPU s", more_is_better=True),
    )
    table.add(
        "manifests",
        [_MANIFESTS / run.seconds for run in many],
        [_MANIFESTS / run.cpu for run in many],
    )


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
