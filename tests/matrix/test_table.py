"""The tables show every published record, and say which promised versions were not run."""

import pytest

from tests.matrix import table
from tests.matrix.record import Part, published
from tests.matrix.test_record import run
from tests.matrix.versions import KUBERNETES, PROMISED, missing
from tests.support.paths import DEPLOY


def test_columns_that_say_nothing_are_left_out() -> None:
    records = [
        run(part="apiserver", kubernetes="1.30.14", kuberay=None, ray=None, settings=[]),
        run(part="apiserver", kubernetes="1.36.2", kuberay=None, ray=None, settings=[], failed=2),
    ]
    assert table.markdown("apiserver", records).splitlines() == [
        "",
        "| Kubernetes | date | result |",
        "| --- | --- | --- |",
        "| 1.30.14 | 2026-11-22 | 12 passed, 1 skipped |",
        "| 1.36.2 | 2026-11-22 | 2 failed, 12 passed, 1 skipped |",
        "",
        "Not run: Kubernetes 1.31, 1.32, 1.33, 1.34, 1.35.",
        "",
    ]


def test_settings_and_notes_are_shown_where_there_are_any() -> None:
    records = [run(note="a | b"), run(kuberay="1.7.0", ray=None, settings=[])]
    assert table.markdown("cluster", records).splitlines()[1:5] == [
        "| Kubernetes | KubeRay | Ray | settings | date | result | note |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| 1.30.14 | 1.6.2 | 2.55.1 | `RayClusterMTLS=true` | 2026-11-22 | 12 passed, 1 skipped "
        "| a \\| b |",
        "| 1.30.14 | 1.7.0 | - | - | 2026-11-22 | 12 passed, 1 skipped | |",
    ]


def test_without_a_record_every_promised_version_is_named() -> None:
    assert table.markdown("e2e", []).strip() == "Not run: Ray 2.52, 2.55, 2.60."


def test_nothing_is_missing_where_all_were_run() -> None:
    records = [run(part="apiserver", kubernetes=f"{minor}.1") for minor in KUBERNETES]
    assert "Not run" not in table.markdown("apiserver", records)
    assert missing(("1.3", "1.30"), ["1.30.1", None]) == ["1.3"]


@pytest.mark.parametrize("part", PROMISED)
def test_the_page_shows_every_published_record(part: Part) -> None:
    page = (DEPLOY / "COMPATIBILITY.md").read_text()
    _, _, block = page.partition(f"<!-- generated: matrix of {part} -->")
    rows = block.partition("<!-- end -->")[0].splitlines()
    of_part = [record for record in published() if record.part == part]
    for record in of_part:
        versions = [record.kubernetes, record.kuberay, record.ray, record.date]
        expected = {*filter(None, versions), table.result(record)}
        assert any(expected <= _cells(row) for row in rows), record


def _cells(row: str) -> set[str]:
    return {cell.strip() for cell in row.split("|")}
