"""Runs the test files below folders, or records what admission decides into them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from webhook.policy_tests.files import LoadedTest, find, parse
from webhook.policy_tests.record import record
from webhook.policy_tests.request import NewReviewer
from webhook.policy_tests.results import CaseResult, CaseStatus, PolicyTestRun, UnreadableTest
from webhook.policy_tests.run import Runner, Selected
from webhook.policy_tests.sources import Sources
from webhook.settings import SetupError


@dataclass(frozen=True)
class Session:
    """Runs cases whose names are selected. `here` is the current folder."""

    new_reviewer: NewReviewer
    here: Path
    selected: Selected = lambda name: True

    def run(self, folders: Sequence[Path]) -> PolicyTestRun:
        """Run the cases of every test file in the folders; raises SetupError if there is none."""
        cases: list[CaseResult] = []
        unreadable: list[UnreadableTest] = []
        for file, root in self._files(folders):
            sources = Sources(root)
            try:
                test = parse(file, sources)
                runner = Runner(self.new_reviewer, sources)
                cases += [case.result for case in runner.run(test, self.selected)]
            except SetupError as error:
                unreadable.append(UnreadableTest(str(file), str(error)))
        return PolicyTestRun(cases, unreadable)

    def write(self, folders: Sequence[Path]) -> PolicyTestRun:
        """Record what differs, then run the cases again."""
        notes: list[str] = []
        unreadable: list[UnreadableTest] = []
        for file, root in self._files(folders):
            sources = Sources(root)
            try:
                test = parse(file, sources)
                written = self._record(test, sources)
            except SetupError as error:
                unreadable.append(UnreadableTest(str(file), str(error)))
                continue
            notes += [f"wrote {name}" for name in written]
        result = self.run(folders)
        known = {broken.file for broken in result.unreadable}
        unreadable = [broken for broken in unreadable if broken.file not in known]
        return PolicyTestRun(result.cases, [*result.unreadable, *unreadable], notes)

    def _record(self, test: LoadedTest, sources: Sources) -> list[Path]:
        runner = Runner(self.new_reviewer, sources, records=True)
        cases = list(runner.run(test, self.selected))
        return record(test, cases, sources)

    def _files(self, folders: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
        """Every test file, with the folder that its paths may not lead out of."""
        here = self.here.resolve()
        for folder in folders:
            resolved = folder.resolve()
            outside = resolved if resolved.is_dir() else resolved.parent
            root = here if resolved.is_relative_to(here) else outside
            for file in find([folder]):
                yield file, root


def exit_code(run: PolicyTestRun) -> int:
    """0 if all cases are as expected, 1 if one differs, 2 if something could not be read."""
    if run.count(CaseStatus.UNREADABLE):
        return 2
    return 1 if run.count(CaseStatus.FAILED) else 0
