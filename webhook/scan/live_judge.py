"""Judges one stored object of a cluster, as if it came in now."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from policies import evaluate
from policies.documents.metadata import controller_of, uid_of
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str
from policies.evaluate import Verdict
from policies.model import Violation
from policies.ray.workload import WORKLOAD_KINDS, Kind, Workload
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import AdmissionRequest
from webhook.manifests.dry_run import (
    ReviewedManifest,
    ReviewedObject,
    request_of,
    without_copies,
)
from webhook.manifests.read import Manifest
from webhook.review.finding import Place
from webhook.review.judged import Judge, subject_of
from webhook.review.results import ObjectResult
from webhook.scan.authors import author_of

# Findings of owners that are remembered. Beyond them, a pod repeats what its owner has.
_MAX_REMEMBERED = 500_000

Expect = Callable[[str, Mapping[str, Any]], None]


class LiveJudge:
    """Judges objects with `reviewer`; `expect` is told of each object before.

    An owner must be judged before what it owns: findings that it has, too, are not repeated.
    """

    def __init__(self, reviewer: Reviewer, expect: Expect) -> None:
        self._reviewer = reviewer
        self._expect = expect
        self._judge = Judge(PurePath())
        # The findings of each owner, and of its own owner, by uid: a rule and a message as a hash.
        self._known: dict[str, frozenset[int]] = {}
        self._remembered = 0
        self._texts: dict[str, str] = {}
        self._pointers: dict[Pointer, Pointer] = {}

    @staticmethod
    def is_workload(document: Mapping[str, Any]) -> bool:
        """Whether the object runs Ray, or creates pods that do."""
        return Workload.of(Kind.of(document), document) is not None

    def result(self, document: dict[str, Any]) -> ObjectResult | None:
        """The result; None if the object has nothing to do with Ray, or there is nothing to say."""
        kind = Kind.of(document)
        if not evaluate.is_subject(kind, document):
            return None
        self._expect(kind.kind, document)
        request = request_of(document, "", author_of(document))
        request.measure()
        verdict = self._reviewer.verdict(request)
        owner = controller_of(document)
        known = self._known.get(owner.uid, frozenset()) if owner else frozenset()
        uid = uid_of(document)
        if kind.kind != "Pod":
            self._remember(uid, verdict, known)
        reviewed = _reviewed(request, document, verdict, known)
        result = self._judge.result(ReviewedManifest(Manifest("", 1, document), reviewed, ()))
        if not result.findings and result.allowed and kind.kind not in WORKLOAD_KINDS:
            return None
        result = self._compact(result, str(subject_of(reviewed)))
        return replace(result, api_version=as_str(document.get("apiVersion")), uid=uid)

    def _remember(self, uid: str, verdict: Verdict, known: frozenset[int]) -> None:
        violations = (*verdict.denied, *verdict.warned, *verdict.audited)
        causes = known.union(map(_cause, violations))
        if causes and self._remembered < _MAX_REMEMBERED:
            self._remembered += len(causes)
            self._known[uid] = causes

    def _compact(self, result: ObjectResult, title: str) -> ObjectResult:
        """The result with the title as its place; equal texts are kept in memory once."""
        place = Place("", 1, 1, stored=title)
        share, share_pointer = self._texts.setdefault, self._pointers.setdefault
        findings = tuple(
            replace(
                finding,
                place=place,
                message=share(finding.message, finding.message),
                remediation=share(finding.remediation, finding.remediation),
                pointer=share_pointer(finding.pointer, finding.pointer),
            )
            for finding in result.findings
        )
        return replace(result, source=title, place=place, findings=findings)


def _reviewed(
    request: AdmissionRequest, document: dict[str, Any], verdict: Verdict, known: frozenset[int]
) -> ReviewedObject:
    """The verdict without what is known of the owner, and without copies of other findings."""
    shown = set(map(_cause, (*verdict.denied, *verdict.warned)))
    audited = tuple(each for each in verdict.audited if _cause(each) not in shown)

    def own(violations: tuple[Violation, ...]) -> tuple[Violation, ...]:
        originals = without_copies(request.gvk.kind, document, violations)
        return tuple(each for each in originals if _cause(each) not in known)

    return ReviewedObject(
        kind=request.gvk.kind,
        name=request.name,
        namespace=request.namespace,
        sent=document,
        document=document,
        mutations=(),
        operations=0,
        denied=own(verdict.denied),
        warned=own(verdict.warned),
        audited=own(audited),
        exempted=verdict.exempted,
        notes=(),
    )


def _cause(violation: Violation) -> int:
    return hash((violation.rule, violation.message))
