"""A run of the benchmark names what changed by more than the noise, and nothing else."""

from pathlib import Path

import pytest

from tests.bench import records
from tests.bench.figures import Column, Figure, Table, measured
from tests.bench.records import Record


def figure(*rounds: float, row: str = "mutate", more_is_better: bool = False) -> Figure:
    return Figure("admission", row, Column("us", 1, more_is_better), rounds)


def record(before: Figure) -> Record:
    return Record(before, "2026-11-20", "0.1.0", "a machine")


@pytest.mark.parametrize(
    ("before", "now", "more_is_better", "worse"),
    [
        ((100, 101, 99), (150, 151, 149), False, [True]),
        ((100, 101, 99), (50, 51, 49), False, [False]),
        ((100, 101, 99), (50, 51, 49), True, [True]),
        ((100, 101, 99), (150, 151, 149), True, [False]),
        # less than 5 %
        ((100, 100, 100), (104, 104, 104), False, []),
        # within the noise of either run
        ((100, 80, 120), (150, 151, 149), False, []),
        ((100, 101, 99), (150, 130, 170), False, []),
        # one outlier is no noise, and no change either
        ((100, 101, 99), (100, 101, 900), False, []),
        ((100, 101, 900), (150, 151, 149), False, [True]),
        ((0, 0, 0), (0, 0, 0), False, []),
        # one round says nothing about noise
        ((100,), (119,), False, []),
        ((100,), (121,), False, [True]),
    ],
)
def test_a_change_exceeds_the_noise_of_both_runs(
    before: tuple[float, ...], now: tuple[float, ...], more_is_better: bool, worse: list[bool]
) -> None:
    old = record(figure(*before, more_is_better=more_is_better))
    found = records.changes([old], [figure(*now, more_is_better=more_is_better)])
    assert [change.is_worse for change in found] == worse


def test_publishing_replaces_the_tables_that_this_machine_has_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, published = tmp_path / "here.json", tmp_path / "published.json"
    monkeypatch.setattr(records, "machine_file", lambda: here)
    monkeypatch.setattr(records, "PUBLISHED", published)
    other = Record(Figure("scan", "text", Column("seconds"), (1.0,)), "2026-11-19", "0.1.0", "b")
    records.write(published, [record(figure(3.0)), other])
    assert records.record([figure(1.0)]) == []
    assert [each.figure for each in records.record([figure(2.0)])] == [figure(1.0)]
    records.publish()
    assert [each.figure for each in records.read(published)] == [other.figure, figure(2.0)]


def test_the_comparison_names_the_worst_first() -> None:
    old = [record(figure(100, row="a")), record(figure(100, row="b")), record(figure(100, row="c"))]
    now = [figure(200, row="a"), figure(300, row="b"), figure(50, row="c"), figure(1, row="new")]
    assert records.comparison(old, now) == [
        "compared with the last run of this machine: 2 worse, 1 better, "
        "0 the same within the noise",
        "worse:  admission: b, us: 100.0 -> 300.0 (+200%)",
        "worse:  admission: a, us: 100.0 -> 200.0 (+100%)",
        "better: admission: c, us: 100.0 -> 50.0 (-50%)",
    ]
    never = records.comparison([record(figure(0))], [figure(3)])
    assert never[1:] == ["worse:  admission: mutate, us: 0.0 -> 3.0"]
    assert "no earlier run" in records.comparison([], now)[0]


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / ".bench" / "machine.json"
    assert records.read(file) == []
    written = records.merged([], [figure(1.5, 2.5)])
    records.write(file, written)
    assert records.read(file) == written


def test_a_part_replaces_its_own_tables_and_keeps_the_others() -> None:
    other = record(Figure("scan", "text", Column("s"), (1.0,)))
    renamed = record(figure(1, row="old name"))
    assert [each.figure for each in records.merged([other, renamed], [figure(2)])] == [
        other.figure,
        figure(2),
    ]


def test_a_table_prints_medians_and_keeps_the_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    before = len(measured)
    Table("admission", Column("us", 1), Column("MiB")).add("mutate", [3.0, 1.0, 2.0], 7.4)
    kept = measured[before:]
    del measured[before:]
    assert [each.rounds for each in kept] == [(3.0, 1.0, 2.0), (7.4,)]
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line] == [
        ["admission", "us", "MiB"],
        ["mutate", "2.0", "7"],
    ]
