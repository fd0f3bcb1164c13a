"""Runs the cases of test files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from policies.problems import Path as Place
from policies.ray.operator import KubeRayOperator
from webhook.manifests.read import Manifest
from webhook.policy_tests.cases import Case
from webhook.policy_tests.comparison import CaseOutcome, diff_of, differences
from webhook.policy_tests.files import LoadedTest
from webhook.policy_tests.request import NewReviewer, Sender, create, update
from webhook.policy_tests.results import CaseResult, Difference, Effect, effect_of
from webhook.policy_tests.sources import Sources, UnreadableSourceError
from webhook.review.finding import ReviewFinding
from webhook.settings import SetupError

Selected = Callable[[str], bool]


@dataclass(frozen=True)
class RunCase:
    """A case that was run: its number in the file (from 0), its result and its outcome.

    The outcome is None if the case could not be run.
    """

    index: int
    result: CaseResult
    outcome: CaseOutcome | None = field(default=None, repr=False)


class Runner:
    """Runs cases, with reviewers that `new_reviewer` makes and objects that `sources` reads.

    With `records`, what is expected will be written: a case may expect nothing yet, and the file of
    `stored` may be missing.
    """

    def __init__(
        self, new_reviewer: NewReviewer, sources: Sources, *, records: bool = False
    ) -> None:
        self._new_reviewer = new_reviewer
        self._sources = sources
        self._records = records

    def run(self, test: LoadedTest, selected: Selected = lambda name: True) -> Iterator[RunCase]:
        """The cases of a test file whose names are selected, in their order.

        Raises SetupError if the objects of the file cannot be read.
        """
        reader = _Reader(test, (), self._sources)
        try:
            cluster = reader.manifests("cluster", test.test.cluster)
        except UnreadableSourceError as error:
            raise SetupError(test.line(reader.place, str(error))) from None
        for index, case in enumerate(test.test.cases):
            if selected(case.name):
                yield self._run_case(test, index, case, cluster)

    def _run_case(
        self, test: LoadedTest, index: int, case: Case, cluster: Sequence[Manifest]
    ) -> RunCase:
        place, line = ("cases", index), test.line_of(index)
        if not case.expect.expects_something and not self._records:
            message = "expects nothing: set expect, or start raywarden test --write"
            problem = test.line((*place, "expect"), message)
            return RunCase(index, CaseResult(str(test.file), line, case.name, problem=problem))
        reader = _Reader(test, place, self._sources)
        try:
            outcome = self._outcome(reader, case, cluster)
            stored = reader.expected_stored(case.expect.stored, missing_is_empty=self._records)
        except UnreadableSourceError as error:
            problem = test.line(reader.place, str(error))
            return RunCase(index, CaseResult(str(test.file), line, case.name, problem=problem))
        found = tuple(differences(case.expect, outcome, stored))
        result = CaseResult(
            file=str(test.file),
            line=line,
            name=case.name,
            differences=found,
            diff=diff_of(found),
            unexpected=tuple(_unexpected(found, outcome)),
            findings=outcome.findings,
        )
        return RunCase(index, result, outcome)

    def _outcome(self, reader: "_Reader", case: Case, cluster: Sequence[Manifest]) -> CaseOutcome:
        sender = reader.sender(case, cluster)
        old = reader.manifests("oldObjects", case.old_objects)
        sent = reader.manifests("objects", case.objects)
        if case.updates:
            stored = [manifest.document for manifest in old]
            reviewed = update(
                self._new_reviewer,
                sender,
                sent,
                stored,
                mutated=case.old_objects_mutated,
                derive=bool(case.derived),
            )
        else:
            reviewed = create(self._new_reviewer, sender, sent, derive=case.derived is not False)
        return CaseOutcome(reviewed)


class _Reader:
    """Reads what a case names; `place` is the place in the file of what was read last."""

    def __init__(self, test: LoadedTest, place: Place, sources: Sources) -> None:
        self._test = test
        self._case_place = place
        self._sources = sources
        self.place = place

    def manifests(self, name: str, entries: tuple[Any, ...]) -> list[Manifest]:
        """The objects of a field."""
        manifests: list[Manifest] = []
        place = (*self._case_place, name)
        for index, entry in enumerate(entries):
            self.place = (*place, index)
            manifests += self._sources.manifests(self._test.file, entry)
        self.place = place
        return manifests

    def sender(self, case: Case, cluster: Sequence[Manifest]) -> Sender:
        """What the case says about the request, and the file where the case says nothing."""
        both = (case, self._test.test)
        around = [*cluster, *self.manifests("cluster", case.cluster)]
        version, gates = _first(both, "kuberay", ""), _first(both, "kuberay_feature_gates", "")
        self.place = (*self._case_place, "kuberayFeatureGates")
        if gates and not version:
            raise UnreadableSourceError("kuberayFeatureGates needs kuberay")
        return Sender(
            policy=self._test.policy,
            user=_first(both, "user", ""),
            groups=_first(both, "groups", ()),
            namespace=_first(both, "namespace", "default"),
            cluster=[manifest.document for manifest in around],
            complete=_first(both, "cluster_is_complete", False),
            kuberay=KubeRayOperator.of_release(version, gates) or KubeRayOperator(),
            today=_first(both, "today", None),
        )

    def expected_stored(
        self, source: Any, *, missing_is_empty: bool
    ) -> list[dict[str, Any]] | None:
        """The objects that `expect.stored` names or contains; None if the case does not say."""
        self.place = (*self._case_place, "expect", "stored")
        if source is None or isinstance(source, list):
            return source
        if missing_is_empty and not self._sources.path(self._test.file, source).exists():
            return []
        manifests = self._sources.manifests(self._test.file, source)
        return [manifest.document for manifest in manifests]


def _first(settings: tuple[Any, ...], name: str, default: Any) -> Any:
    """The first value that is set."""
    values = (getattr(setting, name) for setting in settings)
    return next((value for value in values if value is not None), default)


def _unexpected(found: tuple[Difference, ...], outcome: CaseOutcome) -> Iterator[ReviewFinding]:
    """The findings that explain the differences: those of rules that are not expected."""
    exact = {difference.field: difference.expected for difference in found}
    for finding in outcome.findings:
        effect = effect_of(finding)
        if effect in exact:
            if finding.rule not in exact[effect]:
                yield finding
        elif effect is Effect.DENIES and exact.get("verdict") == "allowed":
            yield finding
