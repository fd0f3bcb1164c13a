"""Turns the outcome of a dry run into findings with their places."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePath

from policies.documents.pointer import ROOT, Pointer
from policies.model import Severity, Violation
from policies.registry import RULES
from webhook.manifests.dry_run import ReviewedManifest, ReviewedObject
from webhook.manifests.read import STDIN, Manifest, Written
from webhook.review.authored import authored_pointer
from webhook.review.files import file_in
from webhook.review.finding import Level, Place, ReviewFinding, Subject, SuppressedBy, Suppression
from webhook.review.fingerprint import Fingerprints, named_path
from webhook.review.results import DerivedObject, ObjectResult
from webhook.review.suppressions import AUTHOR_SUPPRESSIONS, IgnoreComments, IgnoreProblem

# The severity of rules that the administrator wrote, which state none.
_OWN_RULE = Severity.MEDIUM
# Where a recorded AdmissionReview has the object.
_REVIEWED = ROOT / "request" / "object"
_SEVERITIES = {rule.id: rule.severity for rule in RULES}

Judgment = tuple[Level, Violation, Suppression | None]


class Judge:
    """Makes the results of one review; `folder` is the folder that fingerprints are relative to.

    `suppressions` are the comments in the manifests; without them, comments have no effect.
    """

    def __init__(self, folder: PurePath, suppressions: IgnoreComments | None = None) -> None:
        self._folder = folder
        self._fingerprints = Fingerprints()
        self._suppressions = suppressions

    def results(self, reviewed: Iterable[ReviewedManifest]) -> list[ObjectResult]:
        """The results of a whole review, with findings about comments that have no effect."""
        manifests, results = [], []
        for outcome in reviewed:
            manifests.append(outcome.manifest)
            results.append(self.result(outcome))
        # A comment may be for any object of its document, so all findings must be known.
        first = set()
        for index, manifest in enumerate(manifests):
            written = manifest.written
            if written and (written.text, written.document) not in first:
                first.add((written.text, written.document))
                results[index] = self._with_problems(results[index], written)
        return results

    def result(self, reviewed: ReviewedManifest) -> ObjectResult:
        """The findings in a manifest, and in what KubeRay creates from it."""
        outcome, manifest = reviewed.outcome, reviewed.manifest
        findings = list(self._findings(manifest, outcome, outcome))
        for derived in reviewed.derived:
            findings += self._findings(manifest, outcome, derived)
        return ObjectResult(
            source=str(manifest),
            place=place_of(manifest, ROOT),
            subject=subject_of(outcome),
            allowed=reviewed.allowed,
            mutations=outcome.mutations,
            operations=outcome.operations,
            notes=outcome.notes,
            findings=tuple(findings),
            derived=tuple(map(_derived, reviewed.derived)),
        )

    def _findings(
        self, manifest: Manifest, outcome: ReviewedObject, reviewed: ReviewedObject
    ) -> Iterator[ReviewFinding]:
        subject = subject_of(outcome)
        derived = None if reviewed is outcome else subject_of(reviewed)
        for level, violation, suppression in _judgments(reviewed):
            pointer = violation.pointer
            if not violation.as_written:
                pointer = authored_pointer(reviewed, pointer)
            place = place_of(manifest, pointer)
            path = named_path(pointer, outcome.sent)
            fingerprint = self._fingerprint(place, subject, violation.rule, violation.message, path)
            if suppression is None:
                suppression = self._by_comment(manifest, pointer, violation.rule)
            yield ReviewFinding(
                rule=violation.rule,
                level=level,
                severity=_SEVERITIES.get(violation.rule, _OWN_RULE),
                message=violation.message,
                remediation=violation.remediation,
                pointer=pointer,
                place=place,
                subject=subject,
                fingerprint=fingerprint,
                derived=derived,
                suppression=suppression,
            )

    def _fingerprint(
        self, place: Place, subject: Subject, rule: str, message: str, path: Iterator[str]
    ) -> str:
        file = file_in(self._folder, place.file)
        # The author of a file in the repository could name another one, whose findings are known.
        is_rendered = place.file == STDIN or PurePath(file).is_absolute()
        if is_rendered and place.template:
            file = place.template
        return self._fingerprints.of(file, subject, rule, message, path)

    def _by_comment(self, manifest: Manifest, pointer: Pointer, rule: str) -> Suppression | None:
        written = manifest.written
        if written is None or self._suppressions is None:
            return None
        if not self._suppressions.has_comments(written.text):
            return None
        path = _path_in_document(manifest, written, pointer)
        lines = [
            written.text.position(written.document, path, key=is_key).line
            for is_key in (False, True)
        ]
        return self._suppressions.suppression(rule, written, lines)

    def _with_problems(self, result: ObjectResult, written: Written) -> ObjectResult:
        """The result with what is wrong with the comments of its document."""
        if self._suppressions is None:
            return result
        problems = self._suppressions.problems(written)
        findings = [self._problem(result, problem) for problem in problems]
        return replace(result, findings=(*result.findings, *findings))

    def _problem(self, result: ObjectResult, problem: IgnoreProblem) -> ReviewFinding:
        comment = problem.ignore.comment
        place = replace(result.place, line=comment.line, column=comment.column)
        message, rule = problem.message, AUTHOR_SUPPRESSIONS
        return ReviewFinding(
            rule=rule,
            level=Level.NOTE,
            severity=Severity.LOW,
            message=message,
            remediation=problem.remediation,
            pointer=ROOT,
            place=place,
            subject=result.subject,
            fingerprint=self._fingerprint(place, result.subject, rule, message, iter(())),
        )


def subject_of(reviewed: ReviewedObject) -> Subject:
    """The object as people name it."""
    return Subject(reviewed.kind, reviewed.namespace, reviewed.name)


def place_of(manifest: Manifest, pointer: Pointer) -> Place:
    """Where a value of a manifest stands in its file."""
    written = manifest.written
    if written is None:
        return Place(manifest.source, 1, 1)
    path = _path_in_document(manifest, written, pointer)
    position = written.text.position(written.document, path)
    template = written.text.template(written.document)
    return Place(manifest.source, position.line, position.column, template)


def _path_in_document(manifest: Manifest, written: Written, pointer: Pointer) -> Pointer:
    is_review = manifest.document.get("kind") == "AdmissionReview"
    return Pointer((*written.pointer, *(_REVIEWED if is_review else ROOT), *pointer))


def _derived(reviewed: ReviewedObject) -> DerivedObject:
    return DerivedObject(
        subject_of(reviewed), reviewed.mutations, reviewed.operations, reviewed.notes
    )


def _judgments(reviewed: ReviewedObject) -> Iterator[Judgment]:
    levels = (
        (Level.ERROR, reviewed.denied),
        (Level.WARNING, reviewed.warned),
        (Level.NOTE, reviewed.audited),
    )
    for level, violations in levels:
        for violation in violations:
            yield level, violation, None
    for violation, reason in reviewed.exempted:
        yield Level.ERROR, violation, Suppression(SuppressedBy.EXEMPTION, reason)
