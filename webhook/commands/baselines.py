"""`--baseline FILE` and `--write-baseline FILE`."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from webhook.review.baseline import Baseline
from webhook.review.results import Results


def with_baseline(
    results: Results, file: Path | None, written: Path | None, today: date
) -> Results:
    """The results where the findings of the baseline do not count; raises SetupError.

    With `written`, the baseline is brought up to date and stored there first. A file that exists
    keeps its dates.
    """
    baseline = Baseline()
    if file:
        baseline = Baseline.read(file)
    elif written:
        baseline = Baseline.read(written, may_be_missing=True)
    if written:
        baseline = baseline.updated(results, today)
        baseline.write(written)
    remarks = [f"{file}: {remark}" for remark in baseline.remarks(results)]
    results = replace(results, notes=[*results.notes, *remarks])
    return baseline.applied(results)
