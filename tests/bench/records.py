"""Recorded figures: what this machine measured before, and what the documentation shows.

`.bench/MACHINE.json` has the last record of each figure on this machine; git ignores it.
`tests/bench/published.json` is a copy of such records, from which the documentation is generated.
"""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from tests.bench.figures import Figure
from tests.support.paths import REPOSITORY
from webhook import __version__

PUBLISHED = REPOSITORY / "tests" / "bench" / "published.json"
# A change is real if it exceeds this part of the value and four times the spread of both runs. For
# normally distributed noise that is 2.7 standard deviations.
_LEAST_CHANGE = 0.05
# The noise of a single round is unknown.
_LEAST_CHANGE_OF_ONE = 0.2
_SPREADS = 4


@dataclass(frozen=True, slots=True)
class Record:
    """A figure with the day, the version and the machine on which it was measured."""

    figure: Figure
    date: str
    version: str
    machine: str


@dataclass(frozen=True, slots=True)
class Change:
    """A figure that differs from its last record by more than the noise of both."""

    before: Record
    now: Figure

    @property
    def is_worse(self) -> bool:
        grew = self.now.median > self.before.figure.median
        return grew != self.now.column.more_is_better

    def __str__(self) -> str:
        old = self.before.figure
        change = f"{self.now.name}: {old.text} -> {self.now.text}"
        if not old.median:
            return change
        return f"{change} ({self.now.median / old.median - 1:+.0%})"


_ADAPTER = TypeAdapter(list[Record])


def machine_file() -> Path:
    """Where this machine keeps its records."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{platform.node()}-{_machine()}")
    return REPOSITORY / ".bench" / f"{name}.json"


def read(file: Path) -> list[Record]:
    """The records in a file; none if it does not exist."""
    return _ADAPTER.validate_json(file.read_bytes()) if file.exists() else []


def write(file: Path, records: Sequence[Record]) -> None:
    """Write a file of records, and its folder if that does not exist."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(orjson.dumps(records, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def merged(before: Iterable[Record], now: Sequence[Figure]) -> list[Record]:
    """All records, with new ones in place of all those of the tables measured now.

    A row that was renamed must not stay.
    """
    date = datetime.now(UTC).date().isoformat()
    version, machine = _version(), _machine()
    tables = {figure.table for figure in now}
    kept = [record for record in before if record.figure.table not in tables]
    return [*kept, *(Record(figure, date, version, machine) for figure in now)]


def record(now: Sequence[Figure]) -> list[Record]:
    """Add figures to the record of this machine; returns what it had before."""
    file = machine_file()
    before = read(file)
    write(file, merged(before, now))
    return before


def conclude(now: Sequence[Figure], *, publishing: bool) -> None:
    """Print a comparison with the last run of this machine, and record this one."""
    before = record(now)
    print("", *comparison(before, now), sep="\n")
    if publishing:
        publish()


def publish() -> None:
    """Show the tables that this machine has recorded in the documentation, once that is written."""
    here = read(machine_file())
    tables = {record.figure.table for record in here}
    others = [record for record in read(PUBLISHED) if record.figure.table not in tables]
    write(PUBLISHED, [*others, *here])


def changes(before: Iterable[Record], now: Iterable[Figure]) -> list[Change]:
    """The figures that differ from their last record by more than the noise, the worst first."""
    by_name = {record.figure.name: record for record in before}
    found = [
        Change(by_name[figure.name], figure)
        for figure in now
        if figure.name in by_name and _differ(by_name[figure.name].figure, figure)
    ]
    return sorted(found, key=_gain)


def _differ(old: Figure, new: Figure) -> bool:
    noise = _SPREADS * (old.spread + new.spread)
    is_known = min(len(old.rounds), len(new.rounds)) > 1
    least = _LEAST_CHANGE if is_known else _LEAST_CHANGE_OF_ONE
    return abs(new.median - old.median) > max(noise, least * abs(old.median))


def _gain(change: Change) -> float:
    """How much better the figure is now; less than 1 if it is worse."""
    ratio = change.now.median / (change.before.figure.median or 1)
    return ratio if change.now.column.more_is_better else 1 / (ratio or 1)


def comparison(before: Sequence[Record], now: Sequence[Figure]) -> list[str]:
    """What got slower and what got faster, as lines for a terminal."""
    names = {record.figure.name for record in before}
    compared = [figure for figure in now if figure.name in names]
    if not compared:
        return ["no earlier run of this machine to compare with"]
    found = changes(before, compared)
    worse = [change for change in found if change.is_worse]
    better = [change for change in found if not change.is_worse]
    same = len(compared) - len(found)
    return [
        f"compared with the last run of this machine: {len(worse)} worse, {len(better)} better, "
        f"{same} the same within the noise",
        *(f"worse:  {change}" for change in worse),
        *(f"better: {change}" for change in better),
    ]


def _machine() -> str:
    processor = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} x {processor[1] if processor else platform.machine()}"


def _version() -> str:
    """The version, and the commit if git knows it."""
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return f"{__version__} {commit.stdout.strip()}".strip()
