"""The record of a run: one JSON object on one line, as in the table of what was run."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from tests.node.result import StepResult, counts
from tests.node.versions import Versions
from tests.support.paths import REPOSITORY

RECORDS = REPOSITORY / ".matrix" / "records.jsonl"


def record(
    versions: Versions, ray: str, results: Sequence[StepResult], day: date, note: str
) -> dict[str, object]:
    """What ran with which versions."""
    return {
        "part": "cluster",
        "kubernetes": versions.kubernetes,
        "kuberay": versions.kuberay,
        "ray": ray,
        "settings": list(versions.settings),
        "date": day.isoformat(),
        **counts(results),
        "note": note,
    }


def append(entry: dict[str, object], file: Path = RECORDS) -> None:
    """Add a record to the file of records."""
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as lines:
        lines.write(json.dumps(entry) + "\n")
