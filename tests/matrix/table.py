"""The tables of `deploy/COMPATIBILITY.md`, from published records."""

from collections.abc import Callable, Mapping, Sequence

from tests.matrix.record import Part, Record, published
from tests.matrix.versions import PROMISED, missing

_NOT_RECORDED = "-"
_COLUMNS: Mapping[str, Callable[[Record], str]] = {
    "Kubernetes": lambda record: record.kubernetes or _NOT_RECORDED,
    "KubeRay": lambda record: record.kuberay or _NOT_RECORDED,
    "Ray": lambda record: record.ray or _NOT_RECORDED,
    "settings": lambda record: ", ".join(f"`{setting}`" for setting in record.settings) or "-",
    "date": lambda record: record.date,
    "result": lambda record: result(record),
    "note": lambda record: record.note.replace("|", "\\|"),
}


def of_part(part: Part) -> str:
    """The table of one part of the tests as they were published."""
    return markdown(part, [record for record in published() if record.part == part])


def markdown(part: Part, records: Sequence[Record]) -> str:
    """A table without the columns that say nothing, and below it what was not run."""
    lines = _table(records) if records else []
    program, promised = PROMISED[part]
    versions = {"Kubernetes": "kubernetes", "KubeRay": "kuberay", "Ray": "ray"}[program]
    not_run = missing(promised, [getattr(record, versions) for record in records])
    if lines and not_run:
        lines.append("")
    if not_run:
        lines.append(f"Not run: {program} {', '.join(not_run)}.")
    return "\n".join(["", *lines, "", ""])


def result(record: Record) -> str:
    """The numbers of tests, what is bad first."""
    counts = (("failed", record.failed), ("passed", record.passed), ("skipped", record.skipped))
    shown = [f"{number} {name}" for name, number in counts if number or name == "passed"]
    return ", ".join(shown)


def _table(records: Sequence[Record]) -> list[str]:
    kept = [name for name, cell in _COLUMNS.items() if any(map(_says(cell), records))]
    rows = [kept, ["---"] * len(kept)]
    for record in records:
        rows.append([_COLUMNS[name](record) for name in kept])
    return [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in rows]


def _says(cell: Callable[[Record], str]) -> Callable[[Record], bool]:
    return lambda record: cell(record) not in ("", _NOT_RECORDED)
