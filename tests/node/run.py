"""Carries out the steps, cleans up in any case, prints the table and appends the record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.matrix.record import RECORDS, Record, append
from tests.node.kubectl import Kubectl
from tests.node.ownership import CLEAN, clean_up
from tests.node.plan import Step, carry_out
from tests.node.progress import Progress
from tests.node.result import Outcome, StepResult, counts, table
from tests.node.versions import Versions

FAILED, REFUSED, INTERRUPTED = 1, 2, 130


@dataclass(frozen=True)
class Run:
    """A run: what it uses, and how it ends."""

    kubectl: Kubectl
    progress: Progress
    versions: Versions
    ray: str
    keep: bool = False
    installed_before: bool = False
    records: Path = RECORDS

    def carry_out(self, steps: Sequence[Step], *, complete: bool) -> int:
        """Run the steps; returns an exit code. Only a complete run is recorded."""
        results: list[StepResult] = []
        interrupted = False
        try:
            for result in carry_out(steps, self.progress, installed_before=self.installed_before):
                results.append(result)
        except KeyboardInterrupt:
            interrupted = True
            self.progress.say("interrupted; a second Ctrl-C leaves everything as it is")
        finally:
            left = self._end()
        if results:
            self.progress.say(f"\n{table(results)}")
        if interrupted:
            return INTERRUPTED
        self._record(results, complete)
        failed = any(result.outcome is Outcome.FAILED for result in results)
        return FAILED if failed else left

    def _end(self) -> int:
        if self.keep:
            self.progress.say(f"kept. To remove everything: {CLEAN}")
            return 0
        return clean(self.kubectl, self.progress)

    def _record(self, results: list[StepResult], complete: bool) -> None:
        if not complete:
            self.progress.say("not recorded: only some of the steps ran")
            return
        note = "with the RayWarden that was installed" if self.installed_before else ""
        record = Record(
            part="cluster",
            kubernetes=self.versions.kubernetes or None,
            kuberay=self.versions.kuberay or None,
            ray=self.ray,
            settings=self.versions.settings,
            date=datetime.now(UTC).date().isoformat(),
            note=note,
            **counts(results),
        )
        append(record, self.records)
        self.progress.say(f"recorded in {self.records}")


def clean(
    kubectl: Kubectl,
    progress: Progress,
    clean_up: Callable[[Kubectl, Progress], list[str]] = clean_up,
) -> int:
    """Delete what runs made, and say what is left; returns an exit code."""
    try:
        left = clean_up(kubectl, progress)
    except KeyboardInterrupt:
        progress.say(f"left as it is. To remove everything: {CLEAN}")
        return INTERRUPTED
    for problem in left:
        progress.say(f"not deleted: {problem}")
    if left:
        progress.say(f"delete these yourself, or try again: {CLEAN}")
        return FAILED
    progress.say("nothing is left behind")
    return 0
