"""Reviews a manifest offline, and the objects that KubeRay would create from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from policies import evaluate
from policies.documents.metadata import name_of, namespace_of
from policies.documents.pointer import ROOT, Pointer
from policies.kuberay.as_written import AsWritten
from policies.kuberay.schema import Schemas
from policies.model import Violation
from policies.ray import kuberay
from policies.ray.workload import Kind, Workload
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import AdmissionRequest, request_in
from webhook.manifests.read import Manifest

# Places of a derived object with the corresponding places of the object it is created from.
Origins = tuple[tuple[Pointer, Pointer], ...]
_METADATA, _SPEC = ROOT / "metadata", ROOT / "spec"


@dataclass(frozen=True, slots=True)
class ReviewedObject:
    """An object after admission: `document` as it would be stored, and its violations.

    `sent` is the object before admission. `parent` is the object that KubeRay creates it from, and
    `origins` are the places in both that correspond to each other: of this one, then of the parent.
    """

    kind: str
    name: str
    namespace: str
    sent: dict[str, Any]
    document: dict[str, Any]
    mutations: tuple[str, ...]
    operations: int
    denied: tuple[Violation, ...]
    warned: tuple[Violation, ...]
    audited: tuple[Violation, ...]
    exempted: tuple[tuple[Violation, str], ...]
    notes: tuple[str, ...]
    parent: "ReviewedObject | None" = field(default=None, repr=False)
    origins: Origins = ()

    @property
    def allowed(self) -> bool:
        return not self.denied

    @property
    def place(self) -> str:
        """The namespace and the name; only the name if the object is a Namespace."""
        return self.name if self.kind == "Namespace" else f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ReviewedManifest:
    """The outcome of a manifest, and those of the objects KubeRay would create from it."""

    manifest: Manifest
    outcome: ReviewedObject
    derived: tuple[ReviewedObject, ...]

    @property
    def allowed(self) -> bool:
        return self.outcome.allowed and all(derived.allowed for derived in self.derived)

    @property
    def warned(self) -> bool:
        return any(outcome.warned for outcome in (self.outcome, *self.derived))


@dataclass(frozen=True, slots=True)
class _Copy:
    """A container that KubeRay copies from Ray's container, and the titles of both in messages."""

    pointer: Pointer
    title: str
    title_of_ray: str

    def contains(self, violation: Violation) -> bool:
        return violation.pointer[: len(self.pointer)] == self.pointer

    def cause(self, violation: Violation) -> tuple[str, str, str]:
        """The rule, message and remediation of the same violation in Ray's container."""
        message = violation.message.replace(self.title, self.title_of_ray)
        return violation.rule, message, violation.remediation


def review_manifest(
    reviewer: Reviewer, manifest: Manifest, namespace: str, schemas: Schemas | None = None
) -> ReviewedManifest | None:
    """The review of a manifest or recorded AdmissionReview; None if it has nothing to do with Ray.

    `namespace` is the namespace of a manifest that names none. With `schemas`, the fields of a
    manifest are checked as well. Raises BadReviewError for a broken AdmissionReview.
    """
    request = request_of(manifest.document, namespace)
    return review_request(reviewer, manifest, request, schemas=schemas)


def review_request(
    reviewer: Reviewer,
    manifest: Manifest,
    request: AdmissionRequest,
    *,
    derive: bool = True,
    schemas: Schemas | None = None,
) -> ReviewedManifest | None:
    """The review of the request that sends a manifest; None if it has nothing to do with Ray.

    With `derive`, of the objects that KubeRay would create from it as well. With `schemas`, the
    fields of the manifest are checked as well.
    """
    # An update must not escape the rules by removing what makes its object one of Ray's.
    versions = [version for version in (request.object, request.old_object) if version is not None]
    is_subject = any(evaluate.is_subject(request.gvk, version) for version in versions)
    if request.object is None or not is_subject:
        return None
    as_written = None
    # The API server has already dropped fields from the object in an AdmissionReview.
    if schemas is not None and manifest.document.get("kind") != "AdmissionReview":
        as_written = AsWritten(manifest.document, schemas)
    outcome = _admit(reviewer, request, as_written)
    if not derive:
        return ReviewedManifest(manifest, outcome, ())
    reported = set(map(_cause, (*outcome.denied, *outcome.warned, *outcome.audited)))
    derived = tuple(
        _without_reported(_without_copies(descendant), reported)
        for descendant in _descendants(reviewer, outcome)
    )
    return ReviewedManifest(manifest, outcome, derived)


def request_of(
    document: dict[str, Any],
    namespace: str,
    user: str = "",
    groups: Sequence[str] = (),
    stored: dict[str, Any] | None = None,
) -> AdmissionRequest:
    """The request that sends an object, or the one in a recorded AdmissionReview.

    With `stored`, the request is an update of that object. Raises BadReviewError for a broken
    AdmissionReview.
    """
    if document.get("kind") == "AdmissionReview":
        return request_in(document)
    kind, name = Kind.of(document), name_of(document)
    # The API server also sends the name of a Namespace as the namespace of the request.
    own_namespace = name if kind.kind == "Namespace" else namespace_of(document)
    return AdmissionRequest.model_validate(
        {
            "uid": "review",
            "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "operation": "CREATE" if stored is None else "UPDATE",
            "name": name,
            "namespace": own_namespace or namespace,
            "userInfo": {"username": user, "groups": groups},
            "object": document,
            "oldObject": stored,
            "dryRun": True,
        }
    )


def _admit(
    reviewer: Reviewer, request: AdmissionRequest, as_written: AsWritten | None = None
) -> ReviewedObject:
    request.measure()
    mutated = reviewer.mutated(request)
    document = dict(mutated.document)
    stored = request.model_copy(update={"object": document})
    stored.measure()
    verdict = reviewer.verdict(stored, as_written)
    shown = set(map(_cause, (*verdict.denied, *verdict.warned)))
    return ReviewedObject(
        kind=request.gvk.kind,
        name=request.name or Workload(request.gvk.kind, document).name,
        namespace=request.namespace,
        sent=request.object or {},
        document=document,
        mutations=mutated.mutations,
        operations=len(mutated.operations),
        denied=verdict.denied,
        warned=verdict.warned,
        audited=tuple(violation for violation in verdict.audited if _cause(violation) not in shown),
        exempted=verdict.exempted,
        notes=mutated.warnings,
    )


def _descendants(reviewer: Reviewer, outcome: ReviewedObject) -> Iterator[ReviewedObject]:
    """The objects KubeRay creates from an admitted object, admitted as its own."""
    for document, origins in _children(Workload(outcome.kind, outcome.document)):
        request = request_of(document, outcome.namespace, kuberay.creator_of(document))
        child = replace(_admit(reviewer, request), parent=outcome, origins=origins)
        yield child
        yield from _descendants(reviewer, child)


def _children(workload: Workload) -> Iterator[tuple[dict[str, Any], Origins]]:
    """The objects KubeRay creates from one, each with the places that it copies."""
    if workload.kind == "RayCluster":
        groups = workload.cluster.groups if workload.cluster else ()
        with_ray = (group.pod for group in groups if group.pod.ray_container)
        for pod, document in zip(with_ray, kuberay.pods_of(workload), strict=True):
            yield document, _copied(pod.pointer)
        return
    ray_cluster, submitter = kuberay.cluster_of(workload), kuberay.submitter_of(workload)
    if ray_cluster is not None and workload.cluster is not None:
        yield ray_cluster, ((_METADATA, _METADATA), (_SPEC, workload.cluster.pointer))
    if submitter is not None:
        yield submitter, _copied(workload.submitter_template)


def _copied(template: Pointer) -> Origins:
    """The places of a pod, and of the template it is created from."""
    return ((_METADATA, template / "metadata"), (_SPEC, template / "spec"))


def _without_copies(outcome: ReviewedObject) -> ReviewedObject:
    """The outcome without violations that a container has as a copy of Ray's container.

    Authors cannot edit the copy. A violation that Ray's container does not have stays.
    """
    copies = _copies_in(Workload(outcome.kind, outcome.document))
    return replace(
        outcome,
        denied=_violations_of_originals(outcome.denied, copies),
        warned=_violations_of_originals(outcome.warned, copies),
        audited=_violations_of_originals(outcome.audited, copies),
    )


def without_copies(
    kind: str, document: dict[str, Any], violations: tuple[Violation, ...]
) -> tuple[Violation, ...]:
    """The violations without those that a container has as a copy of Ray's container."""
    return _violations_of_originals(violations, _copies_in(Workload(kind, document)))


def _copies_in(workload: Workload) -> list[_Copy]:
    return [
        _Copy(container.pointer, container.title, pod.ray_container.title)
        for pod in workload.pods
        for container in pod.containers
        if pod.ray_container and kuberay.is_copy_of_ray(container)
    ]


def _violations_of_originals(
    violations: tuple[Violation, ...], copies: Sequence[_Copy]
) -> tuple[Violation, ...]:
    originals = {
        (violation.rule, violation.message, violation.remediation)
        for violation in violations
        if _copied_cause(violation, copies) is None
    }
    return tuple(
        violation for violation in violations if _copied_cause(violation, copies) not in originals
    )


def _copied_cause(violation: Violation, copies: Sequence[_Copy]) -> tuple[str, str, str] | None:
    """The same violation in Ray's container; None if this one is not in a copy of it."""
    return next((copy.cause(violation) for copy in copies if copy.contains(violation)), None)


def _without_reported(outcome: ReviewedObject, reported: set[tuple[str, str]]) -> ReviewedObject:
    """The outcome without violations that are already reported.

    Most violations of a RayCluster are violations of its pods too; authors should read them once.
    """
    return replace(
        outcome,
        denied=_new_violations(outcome.denied, reported),
        warned=_new_violations(outcome.warned, reported),
        audited=_new_violations(outcome.audited, reported),
    )


def _new_violations(
    violations: tuple[Violation, ...], reported: set[tuple[str, str]]
) -> tuple[Violation, ...]:
    """The violations that are not in `reported` yet; adds them to it.

    An object may violate a rule at several places with the same message: all of them are new.
    """
    new = tuple(violation for violation in violations if _cause(violation) not in reported)
    reported.update(map(_cause, new))
    return new


def _cause(violation: Violation) -> tuple[str, str]:
    """What violations of an object and of those that are created from it have in common."""
    return violation.rule, violation.message
