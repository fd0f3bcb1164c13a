"""What ran with which versions, and with which result.

Programs that install RayWarden elsewhere append records of their own in the same form.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter

from tests.support.paths import REPOSITORY

RECORDS = REPOSITORY / ".matrix" / "records.jsonl"
PUBLISHED = REPOSITORY / "tests" / "matrix" / "published.json"

Part = Literal["apiserver", "e2e", "cluster"]
Version = Annotated[str, Field(pattern=r"^\d+\.\d+(\.[0-9A-Za-z.+-]+)?$")]
Combination = tuple[Part, str | None, str | None, str | None, tuple[str, ...]]


class Record(BaseModel):
    """One run: its versions, its date in UTC, and its numbers of tests.

    A version is None where that program took no part. `settings` are what differs from the
    defaults, such as a feature gate `RayClusterMTLS=true`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: Part
    kubernetes: Version | None
    kuberay: Version | None
    ray: Version | None
    settings: tuple[str, ...] = ()
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    passed: NonNegativeInt
    failed: NonNegativeInt
    skipped: NonNegativeInt
    note: str = ""

    @property
    def combination(self) -> Combination:
        """What a newer record of the same combination replaces."""
        return self.part, self.kubernetes, self.kuberay, self.ray, tuple(sorted(self.settings))

    @property
    def is_good(self) -> bool:
        """Whether something passed and nothing failed."""
        return self.passed > 0 and not self.failed


_PUBLISHED = TypeAdapter(list[Record])


def append(record: Record, file: Path = RECORDS) -> None:
    """Add a record as the last line of a file, which is made if it does not exist."""
    file.parent.mkdir(parents=True, exist_ok=True)
    line = orjson.dumps(record.model_dump(), option=orjson.OPT_APPEND_NEWLINE)
    with file.open("ab") as stream:
        stream.write(line)


def read(file: Path = RECORDS) -> list[Record]:
    """The records in a file of one record a line; none if it does not exist."""
    if not file.exists():
        return []
    return [Record.model_validate_json(line) for line in file.read_bytes().splitlines() if line]


def published(file: Path = PUBLISHED) -> list[Record]:
    """The records that the documentation shows; none if the file does not exist."""
    return _PUBLISHED.validate_json(file.read_bytes()) if file.exists() else []


def publish(records: Iterable[Record], file: Path = PUBLISHED) -> None:
    """Replace the published records of the same combinations that are not newer."""
    chosen = newest([*published(file), *records])
    documents = [record.model_dump() for record in chosen]
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    file.write_bytes(orjson.dumps(documents, option=options))


def newest(records: Iterable[Record]) -> list[Record]:
    """The newest record of each combination; of one day, the last in the list."""
    chosen: dict[Combination, Record] = {}
    for record in sorted(records, key=lambda record: record.date):
        chosen[record.combination] = record
    return sorted(chosen.values(), key=_order)


def _order(record: Record) -> tuple[object, ...]:
    parts: tuple[Part, ...] = ("apiserver", "e2e", "cluster")
    versions = (record.kubernetes, record.kuberay, record.ray)
    return parts.index(record.part), *map(_version_order, versions), sorted(record.settings)


def _version_order(version: str | None) -> tuple[tuple[bool, int, str], ...]:
    """Orders numbers by value, and anything else as text before them."""
    parts = version.replace("-", ".").split(".") if version else []
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)
