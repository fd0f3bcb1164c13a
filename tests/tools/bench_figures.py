"""The figures in the documentation, from the tracked record of a benchmark."""

from tests.bench.figures import lines
from tests.bench.records import PUBLISHED, Record, read


def tables(titles: list[str]) -> str:
    """Tables as text, with the machine and the version that the figures are from."""
    records = read(PUBLISHED)
    parts = []
    for title in titles:
        chosen = [record for record in records if record.figure.table == title]
        if not chosen:
            raise KeyError(f"no published figures of the table {title!r}: make bench-publish")
        parts.append("\n".join(lines(record.figure for record in chosen)))
    sources = {_source(record): None for record in records if record.figure.table in titles}
    return "\n\n".join([*parts, "\n".join(sources)]) + "\n"


def admission_cost() -> str:
    """What a pod costs a replica, for sizing: its mutation and its verdict, on 8 connections."""
    pod, cluster = _review_seconds("pod-10k"), _review_seconds("raycluster-20k")
    return (
        f"{pod * 1e3:.1f} ms of one core per pod (defaults, and a verdict over all rules): "
        f"about {_about(1 / pod)} pods per second and replica; "
        f"a RayCluster of 20 kB costs {cluster / pod:.1f} times as much"
    )


def _review_seconds(name: str) -> float:
    rates = [
        _median("over TLS, one server process", f"{path} {name}, 8 at once", "req/s")
        for path in ("mutate", "validate")
    ]
    return sum(1 / rate for rate in rates)


def enrollment_cost() -> str:
    """What a certificate costs a replica, with a new connection for each."""
    rate = _median("enrollments, one process", "one connection each P-256, 50 at once", "per CPU s")
    return (
        f"{1e3 / rate:.1f} ms, most of it for the new connection: "
        f"about {_about(rate)} per second and replica"
    )


def memory() -> str:
    """The resident memory of a server that knows a large cluster, and after many certificates."""
    table = "resident memory of a server that signs"
    measured = [record.figure for record in read(PUBLISHED) if record.figure.table == table]
    first, last = measured[0], measured[-1]
    return f"{first.median:.0f} MiB with {first.row}, {last.median:.0f} MiB after {last.row}"


def scan_cost() -> str:
    """What a scan of a large cluster takes at most, of all formats."""
    seconds, mebibytes = (_most("raywarden scan", column) for column in ("seconds", "MiB"))
    return f"{seconds:.0f} s and at most {mebibytes:.0f} MiB"


def _most(table: str, column: str) -> float:
    figures = [record.figure for record in read(PUBLISHED)]
    return max(
        figure.median for figure in figures if (figure.table, figure.column.name) == (table, column)
    )


def _median(table: str, row: str, column: str) -> float:
    for record in read(PUBLISHED):
        figure = record.figure
        if (figure.table, figure.row, figure.column.name) == (table, row, column):
            return figure.median
    raise KeyError(f"no published figure {table}: {row}, {column}: make bench-publish")


def _about(rate: float) -> str:
    return f"{round(rate, -2):,.0f}"


def _source(record: Record) -> str:
    return f"({record.date}, version {record.version}, {record.machine})"
