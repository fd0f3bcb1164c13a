"""A manifest through the whole pipeline, offline: what is injected, what refused, what KubeRay would make of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policies import evaluate
from policies.documents.untyped import as_dict, as_str
from policies.model import Violation
from policies.ray import kuberay
from policies.ray.workload import Kind, Workload
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import AdmissionRequest, request_in
from webhook.manifests.read import Manifest


@dataclass(frozen=True, slots=True)
class ReviewedObject:
    """One object after admission: as it would be stored, and what the rules say to that."""

    kind: str
    name: str
    namespace: str
    document: dict[str, Any]
    mutations: tuple[str, ...]
    operations: int
    denied: tuple[Violation, ...]
    warned: tuple[Violation, ...]
    exempted: tuple[tuple[Violation, str], ...]
    notes: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        return not self.denied

    @property
    def place(self) -> str:
        """Its name, after its namespace's where it has one."""
        return self.name if self.kind == "Namespace" else f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ReviewedManifest:
    """A manifest's own outcome, and those of the objects KubeRay would make of it."""

    manifest: Manifest
    outcome: ReviewedObject
    derived: tuple[ReviewedObject, ...]

    @property
    def allowed(self) -> bool:
        return self.outcome.allowed and all(made.allowed for made in self.derived)

    @property
    def warned(self) -> bool:
        return any(outcome.warned for outcome in (self.outcome, *self.derived))


def review_manifest(
    reviewer: Reviewer, manifest: Manifest, namespace: str
) -> ReviewedManifest | None:
    """Put a manifest (or a recorded AdmissionReview) through admission; None for what has nothing to do with Ray.

    `namespace` is that of manifests that name none. Raises BadReviewError for a broken AdmissionReview.
    """
    request = _request(manifest.document, namespace)
    if request.object is None or not evaluate.is_subject(request.gvk, request.object):
        return None
    outcome = _admit(reviewer, request)
    found = {
        (violation.rule, violation.message) for violation in (*outcome.denied, *outcome.warned)
    }
    derived = tuple(_unreported(made, found) for made in _descend(reviewer, outcome))
    return ReviewedManifest(manifest, outcome, derived)


def _request(document: dict[str, Any], namespace: str, user: str = "") -> AdmissionRequest:
    if document.get("kind") == "AdmissionReview":
        return request_in(document)
    metadata = as_dict(document.get("metadata"))
    kind = Kind.of(document)
    return AdmissionRequest.model_validate(
        {
            "uid": "review",
            "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "operation": "CREATE",
            "name": as_str(metadata.get("name")),
            "namespace": as_str(metadata.get("name" if kind.kind == "Namespace" else "namespace"))
            or namespace,
            "userInfo": {"username": user},
            "object": document,
            "dryRun": True,
        }
    )


def _admit(reviewer: Reviewer, request: AdmissionRequest) -> ReviewedObject:
    mutated = reviewer.mutated(request)
    document = dict(mutated.document)
    verdict = reviewer.verdict(request.model_copy(update={"object": document}))
    return ReviewedObject(
        kind=request.gvk.kind,
        name=request.name or Workload(request.gvk.kind, document).name,
        namespace=request.namespace,
        document=document,
        mutations=mutated.mutations,
        operations=len(mutated.operations),
        denied=verdict.denied,
        warned=verdict.warned,
        exempted=verdict.exempted,
        notes=mutated.warnings,
    )


def _descend(reviewer: Reviewer, outcome: ReviewedObject) -> Iterator[ReviewedObject]:
    """What KubeRay makes of an admitted object, each admitted in its turn."""
    for document in _children(Workload(outcome.kind, outcome.document)):
        made = _admit(reviewer, _request(document, outcome.namespace, kuberay.OPERATOR))
        yield made
        yield from _descend(reviewer, made)


def _children(workload: Workload) -> Sequence[dict[str, Any]]:
    if workload.kind == "RayCluster":
        return list(kuberay.pods_of(workload))
    made = (kuberay.cluster_of(workload), kuberay.submitter_of(workload))
    return [document for document in made if document is not None]


def _unreported(made: ReviewedObject, found: set[tuple[str, str]]) -> ReviewedObject:
    """`made` without the violations its author has already read: a cluster's are its pods' too."""

    def fresh(violations: tuple[Violation, ...]) -> tuple[Violation, ...]:
        kept = tuple(
            violation
            for violation in violations
            if (violation.rule, violation.message) not in found
        )
        found.update((violation.rule, violation.message) for violation in kept)
        return kept

    return replace(made, denied=fresh(made.denied), warned=fresh(made.warned))
