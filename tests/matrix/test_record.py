"""Records keep what ran; of each combination of versions the newest one is published."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.matrix import record
from tests.matrix.record import Record

_RUN: dict[str, Any] = {
    "part": "cluster",
    "kubernetes": "1.30.14",
    "kuberay": "1.6.2",
    "ray": "2.55.1",
    "settings": ["RayClusterMTLS=true"],
    "date": "2026-11-22",
    "passed": 12,
    "failed": 0,
    "skipped": 1,
    "note": "",
}


def run(**changed: Any) -> Record:
    return Record.model_validate_json(json.dumps({**_RUN, **changed}))


def test_a_line_is_one_json_object_that_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "new" / "records.jsonl"
    records = [run(), run(kuberay=None, ray=None, note="a | b")]
    for each in records:
        record.append(each, file)
    assert json.loads(file.read_text().splitlines()[0]) == _RUN
    assert record.read(file) == records
    assert record.read(tmp_path / "absent") == []


@pytest.mark.parametrize(
    "changed",
    [
        {"part": "unit"},
        {"kubernetes": "v1.30.14"},
        {"date": "22.11.2026"},
        {"passed": -1},
        {"who": "me"},
    ],
    ids=str,
)
def test_a_record_of_another_form_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        run(**changed)


def test_the_newest_record_of_a_combination_is_published(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    record.publish([run(passed=1), run(kubernetes="1.36.2")], file)
    record.publish([run(passed=3), run(passed=2, date="2026-11-21"), run(settings=[])], file)
    shown = [
        (each.kubernetes, each.settings, each.passed, each.date) for each in record.published(file)
    ]
    assert shown == [
        ("1.30.14", (), 12, "2026-11-22"),
        ("1.30.14", ("RayClusterMTLS=true",), 3, "2026-11-22"),
        ("1.36.2", ("RayClusterMTLS=true",), 12, "2026-11-22"),
    ]


def test_of_one_day_the_last_record_is_the_newest() -> None:
    gates = ["A=true", "B=true"]
    first, last = run(settings=gates, failed=1), run(settings=gates[::-1], failed=0)
    assert record.newest([first, last]) == [last]
    assert record.newest([last, first]) == [first]


def test_records_are_ordered_by_part_and_by_the_value_of_versions() -> None:
    versions = ["1.9.1", "1.30.14", "1.30.2", "1.31.0-rc.1", "1.31.0"]
    mixed = [run(kubernetes=version) for version in versions] + [run(part="apiserver")]
    ordered = [(each.part, each.kubernetes) for each in record.newest(mixed)]
    assert ordered == [
        ("apiserver", "1.30.14"),
        ("cluster", "1.9.1"),
        ("cluster", "1.30.2"),
        ("cluster", "1.30.14"),
        ("cluster", "1.31.0"),
        ("cluster", "1.31.0-rc.1"),
    ]


def test_nothing_passed_is_not_good() -> None:
    assert run().is_good
    assert not run(failed=1).is_good
    assert not run(passed=0, skipped=40).is_good
