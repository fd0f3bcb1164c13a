"""What a benchmark measures: figures with names, each from several rounds.

A part of the benchmark makes a `Table` and adds a row for each thing it measures. That prints the
row, and keeps its figures for the record.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_TITLE_WIDTH = 40
_COLUMN_WIDTH = 10


@dataclass(frozen=True, slots=True)
class Column:
    """What a figure says about its row, how it is printed, and in which direction it improves."""

    name: str
    digits: int = 0
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value: the median of its rounds."""

    table: str
    row: str
    column: Column
    rounds: tuple[float, ...]

    @property
    def name(self) -> str:
        return f"{self.table}: {self.row}, {self.column.name}"

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """The median distance of a round from the median: outliers do not count."""
        return statistics.median(abs(value - self.median) for value in self.rounds)

    @property
    def text(self) -> str:
        # `z` writes zero without a sign.
        return f"{self.median:z.{self.column.digits}f}"


# Everything that this process has measured so far.
measured: list[Figure] = []


class Table:
    """A table that is printed while its rows are measured."""

    def __init__(self, title: str, *columns: Column) -> None:
        self._title = title
        self._columns = columns
        print(f"\n{_line(title, [column.name for column in columns])}")

    def add(self, row: str, *cells: float | Sequence[float]) -> None:
        """Print a row, and keep its figures.

        Each cell has the values of all rounds; a single value is one round, which says nothing
        about noise.
        """
        figures = [
            Figure(self._title, row, column, _rounds(cell))
            for column, cell in zip(self._columns, cells, strict=True)
        ]
        measured.extend(figures)
        print(_line(row, [figure.text for figure in figures]), flush=True)


def lines(figures: Iterable[Figure]) -> list[str]:
    """Figures as `Table` prints them, without empty lines."""
    tables: dict[str, dict[str, list[Figure]]] = {}
    for figure in figures:
        tables.setdefault(figure.table, {}).setdefault(figure.row, []).append(figure)
    text = []
    for title, rows in tables.items():
        first = next(iter(rows.values()))
        text.append(_line(title, [figure.column.name for figure in first]))
        for row, cells in rows.items():
            text.append(_line(row, [figure.text for figure in cells]))
    return text


def _rounds(cell: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(cell) if isinstance(cell, Sequence) else (cell,)


def _line(title: str, cells: Iterable[str]) -> str:
    return f"{title:<{_TITLE_WIDTH}}" + "".join(f"{cell:>{_COLUMN_WIDTH}}" for cell in cells)
