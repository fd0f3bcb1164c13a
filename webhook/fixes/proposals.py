"""What the remedies of a review change, in the files in which the objects are written."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policies.documents.metadata import metadata_of, name_of, namespace_of
from policies.documents.pointer import Pointer
from policies.model import Violation
from policies.registry import RULE_IDS
from policies.remedies import quota
from policies.remedies.edits import Append, Create, Edit, Remove, Rename, SetMember
from policies.remedies.emptied import DocumentEdit
from policies.remedies.grammar import Choice, Remedy, remedy_of
from webhook.fixes.text import DocumentFix
from webhook.manifests.dry_run import ReviewedManifest, ReviewedObject
from webhook.manifests.read import Manifest, Written
from webhook.review.authored import authored_pointer
from webhook.review.finding import ReviewFinding
from webhook.review.run import ReviewRun

_NOT_WRITTEN = "RayWarden cannot tell where the manifest says this"
_NAME_IS_TAKEN = "these manifests have another object of the same name"
NEEDS_AUTHOR = "only its author can do this"
NEEDS_CHOICE = "the remedy chooses a value: --fix=all writes it"

# Recognizes a finding in the next review: its file, object, rule, message and place.
Key = tuple[str, int, str, str, Pointer]
# The finding, and its remediation: a second one is another step.
Step = tuple[Key, str]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A finding, and the change of the file `file` that removes it; None and why if none does.

    `manifest` is where the finding is; its remedy may change another file.
    """

    finding: ReviewFinding
    manifest: Manifest
    file: str
    fix: DocumentFix | None
    why_not: str = ""

    @property
    def key(self) -> Key:
        finding, manifest = self.finding, self.manifest
        # The number, because two objects of a file may have the same name.
        place = manifest.source, manifest.number
        return (*place, finding.rule, finding.message, finding.pointer)

    @property
    def step(self) -> Step:
        return self.key, self.finding.remediation


def proposals(run: ReviewRun, most: Choice) -> Iterator[Proposal]:
    """A proposal for each finding that counts. `most` is the greatest choice to be made."""
    objects = _Objects(run)
    outcomes = (outcome for outcome in run.outcomes if isinstance(outcome, ReviewedManifest))
    for outcome, result in zip(outcomes, run.results.objects, strict=True):
        findings: dict[tuple[str, str, Pointer], list[ReviewFinding]] = defaultdict(list)
        for finding in result.findings:
            findings[finding.rule, finding.message, finding.pointer].append(finding)
        for reviewed in (outcome.outcome, *outcome.derived):
            for violation in (*reviewed.denied, *reviewed.warned, *reviewed.audited):
                # Some violations are of the manifest itself, before any mutation.
                as_sent = replace(reviewed, document=reviewed.sent)
                version = as_sent if violation.as_written else reviewed
                place = authored_pointer(version, violation.pointer)
                same = findings[violation.rule, violation.message, place]
                if same and same[0].counts:
                    yield objects.proposal(same[0], violation, outcome.manifest, version, most)
                del same[:1]


class _Objects:
    """The objects of a review by their kind and name."""

    def __init__(self, run: ReviewRun) -> None:
        self._manifests: dict[tuple[str, str, str], Manifest] = {}
        # What other proposals create, possibly in another file.
        self._new: set[tuple[str, str, str]] = set()
        self._by_namespace: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._needs: dict[str, quota.Needs] = {}
        for manifest in run.manifests:
            self._by_namespace[namespace_of(manifest.document)].append(manifest.document)
            self._manifests.setdefault(_identity(manifest.document), manifest)

    def proposal(
        self,
        finding: ReviewFinding,
        violation: Violation,
        manifest: Manifest,
        reviewed: ReviewedObject,
        most: Choice,
    ) -> Proposal:
        remedy = remedy_of(violation, reviewed.document)
        why_not = _why_not(violation, remedy, manifest, most)
        if why_not or manifest.written is None:
            return Proposal(finding, manifest, manifest.source, None, why_not)
        appended = [edit for edit in remedy.edits if isinstance(edit, Append)]
        if appended:
            return self._appending(finding, appended[0], reviewed.namespace, manifest)
        own = [edit for edit in remedy.edits if not isinstance(edit, Create)]
        edits = [_authored(edit, reviewed, manifest.written) for edit in own]
        if None in edits:
            return Proposal(finding, manifest, manifest.source, None, _NOT_WRITTEN)
        new = [edit.document for edit in remedy.edits if isinstance(edit, Create)]
        missing = [document for document in new if not self._has(document, manifest)]
        if not edits and not missing:
            return self._completing(finding, new[:1], manifest)
        created = tuple(self._created(missing, manifest))
        sure = tuple(edit for edit in edits if edit is not None)
        fix = DocumentFix(manifest.written.document, sure, created)
        return Proposal(finding, manifest, manifest.source, fix)

    def _appending(
        self, finding: ReviewFinding, edit: Append, namespace: str, manifest: Manifest
    ) -> Proposal:
        """Append to a list of another object, which may stand in another file."""
        own = namespace_of(manifest.document)
        places = ((edit.kind, space, edit.name) for space in dict.fromkeys((own, namespace)))
        found = next(filter(None, map(self._manifests.get, places)), None)
        if found is None or found.written is None:
            return Proposal(finding, manifest, manifest.source, None, _NOT_WRITTEN)
        pointer = Pointer((*found.written.pointer, *edit.pointer))
        fix = DocumentFix(found.written.document, (replace(edit, pointer=pointer),))
        return Proposal(finding, manifest, found.source, fix)

    def _completing(
        self, finding: ReviewFinding, new: Sequence[dict[str, Any]], manifest: Manifest
    ) -> Proposal:
        """Add what is missing to the quota that has the name of the one to create."""
        for wanted in (self._with_room(document, manifest) for document in new):
            existing = self._existing(wanted, manifest)
            if existing is None or existing.written is None:
                continue
            limits = quota.missing_limits(existing.document, wanted)
            place = Pointer((*existing.written.pointer, "spec", "hard"))
            edits = tuple(SetMember(place / name, value) for name, value in limits.items())
            if edits:
                fix = DocumentFix(existing.written.document, edits)
                return Proposal(finding, manifest, existing.source, fix)
        return Proposal(finding, manifest, manifest.source, None, _NAME_IS_TAKEN)

    def _with_room(self, document: dict[str, Any], manifest: Manifest) -> dict[str, Any]:
        """The object; a quota has room for the objects of the namespace."""
        if document["kind"] != quota.KIND:
            return document
        namespace = namespace_of(manifest.document)
        if namespace not in self._needs:
            self._needs[namespace] = quota.needs(self._by_namespace[namespace])
        return quota.with_room(document, self._needs[namespace])

    def _existing(self, document: dict[str, Any], manifest: Manifest) -> Manifest | None:
        """The object of the same name in these manifests."""
        identities = _identity(document), _identity(_as_author(document, manifest))
        return next(filter(None, map(self._manifests.get, identities)), None)

    def _has(self, document: dict[str, Any], manifest: Manifest) -> bool:
        """These manifests have an object of the same name."""
        return self._existing(document, manifest) is not None

    def _created(
        self, missing: Iterable[dict[str, Any]], manifest: Manifest
    ) -> Iterator[dict[str, Any]]:
        """The objects to create, without those that another proposal creates."""
        for document in missing:
            if _identity(document) not in self._new:
                self._new.add(_identity(document))
                yield _as_author(self._with_room(document, manifest), manifest)


def _as_author(document: dict[str, Any], manifest: Manifest) -> dict[str, Any]:
    """The object without a namespace if its author leaves that to the command line."""
    metadata = dict(metadata_of(document))
    if not namespace_of(manifest.document):
        metadata.pop("namespace", None)
    return {**document, "metadata": metadata}


def _why_not(violation: Violation, remedy: Remedy, manifest: Manifest, most: Choice) -> str:
    if manifest.document.get("kind") == "AdmissionReview":
        return "it is a recorded AdmissionReview"
    # Administrators write the remediations of their own rules, for people to read.
    if violation.rule not in RULE_IDS or remedy.choice is Choice.AUTHOR:
        return NEEDS_AUTHOR
    return NEEDS_CHOICE if remedy.choice > most else ""


def _authored(edit: Edit, reviewed: ReviewedObject, written: Written) -> DocumentEdit | None:
    """The edit of the document in which the author wrote the object; None if that is not sure."""
    if not isinstance(edit, SetMember | Rename | Remove):
        return None
    place = authored_pointer(reviewed, edit.pointer)
    outermost = reviewed
    while outermost.parent is not None:
        outermost = outermost.parent
    last, existing = edit.pointer[-1], place.read(outermost.sent)
    is_same_name = place[-1:] == (last,) or (isinstance(last, int) and _ends_in_index(place))
    is_inside = Pointer(place[:-2]).read(outermost.sent) is not None
    if not is_same_name or (reviewed is not outermost and not is_inside):
        return None
    # What KubeRay or a mutation wrote is not what the author wrote.
    if existing != edit.pointer.read(reviewed.document) and existing is not None:
        return None
    if not isinstance(edit, SetMember) and existing is None:
        return None
    return replace(edit, pointer=Pointer((*written.pointer, *place)))


def _ends_in_index(place: Pointer) -> bool:
    return bool(place) and isinstance(place[-1], int)


def _identity(document: dict[str, Any]) -> tuple[str, str, str]:
    return str(document.get("kind")), namespace_of(document), name_of(document)
