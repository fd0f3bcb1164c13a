"""Turns the outcome of a dry run into findings with their places."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePath

from policies.documents.pointer import ROOT, Pointer
from policies.model import Severity, Violation
from policies.registry import RULES
from webhook.manifests.dry_run import ReviewedManifest, ReviewedObject
from webhook.manifests.read import Manifest
from webhook.review.authored import authored_pointer
from webhook.review.finding import Level, Place, ReviewFinding, Subject, SuppressedBy, Suppression
from webhook.review.fingerprint import Fingerprints, named_path
from webhook.review.results import DerivedObject, ObjectResult

# The severity of rules that the administrator wrote, which state none.
_OWN_RULE = Severity.MEDIUM
# Where a recorded AdmissionReview has the object.
_REVIEWED = ROOT / "request" / "object"
_SEVERITIES = {rule.id: rule.severity for rule in RULES}

Judgment = tuple[Level, Violation, Suppression | None]


class Judge:
    """Makes the results of one review; `folder` is the folder that fingerprints are relative to."""

    def __init__(self, folder: PurePath) -> None:
        self._folder = folder
        self._fingerprints = Fingerprints()
        # The findings of a file follow each other.
        self._relative = lru_cache(maxsize=1)(self._relative_to_folder)

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
            file = place.template or self._relative(manifest.source)
            fingerprint = self._fingerprints.of(
                file, subject, violation.rule, violation.message, path
            )
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

    def _relative_to_folder(self, source: str) -> str:
        path = PurePath(source)
        if path.is_relative_to(self._folder):
            path = path.relative_to(self._folder)
        return path.as_posix()


def subject_of(reviewed: ReviewedObject) -> Subject:
    """The object as people name it."""
    return Subject(reviewed.kind, reviewed.namespace, reviewed.name)


def place_of(manifest: Manifest, pointer: Pointer) -> Place:
    """Where a value of a manifest stands in its file."""
    written = manifest.written
    if written is None:
        return Place(manifest.source, 1, 1)
    is_review = manifest.document.get("kind") == "AdmissionReview"
    path = (*written.pointer, *(_REVIEWED if is_review else ROOT), *pointer)
    position = written.text.position(written.document, path)
    template = written.text.template(written.document)
    return Place(manifest.source, position.line, position.column, template)


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
