"""Reviews the manifests in files, folders and pipes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from policies.kuberay.schema import Schemas
from policies.ray.operator import KubeRayOperator
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import BadReviewError
from webhook.manifests.dry_run import ReviewedManifest, review_manifest
from webhook.manifests.other_policies import notes_on_other_policies
from webhook.manifests.read import Manifest, SkippedFile, UnreadableManifest, read
from webhook.manifests.source_text import SourceText
from webhook.manifests.state import ManifestNamespaces
from webhook.ports import NamespaceStates
from webhook.review.judged import Judge
from webhook.review.results import Results

# The outcome of a manifest; None if it has nothing to do with Ray.
Outcome = ReviewedManifest | UnreadableManifest | None


@dataclass(frozen=True, slots=True)
class ReviewRun:
    """The manifests, the outcome of each, and the results for reports."""

    manifests: Sequence[Manifest]
    outcomes: Sequence[Outcome]
    results: Results


def review_sources(
    sources: Sequence[str],
    new_reviewer: Callable[[NamespaceStates], Reviewer],
    namespace: str,
    kuberay: KubeRayOperator,
    notes: Sequence[str] = (),
    schemas: Schemas | None = None,
) -> ReviewRun:
    """Review every manifest in the sources: files, folders, or `-` for standard input.

    `namespace` is the namespace of manifests that name none. `notes` are about the policy. With
    `schemas`, those of KubeRay's kinds, fields are checked as well.
    """
    manifests: list[Manifest] = []
    unreadable: list[UnreadableManifest] = []
    skipped = 0
    for source in sources:
        for result in read(source):
            match result:
                case Manifest():
                    manifests.append(result)
                case UnreadableManifest():
                    unreadable.append(result)
                case SkippedFile():
                    skipped += 1
    documents = [manifest.document for manifest in manifests]
    reviewer = new_reviewer(ManifestNamespaces(documents, namespace, operator=kuberay))
    outcomes = [_outcome(reviewer, manifest, namespace, schemas) for manifest in manifests]
    judge = Judge(Path.cwd())
    results = Results(
        objects=[judge.result(outcome) for outcome in _reviewed(outcomes)],
        unreadable=[*unreadable, *_unreadable(outcomes)],
        skipped=skipped + outcomes.count(None),
        notes=[*notes, *notes_on_other_policies(documents)],
        texts={text.name: text for text in _texts(manifests)},
    )
    return ReviewRun(manifests, outcomes, results)


def _outcome(
    reviewer: Reviewer, manifest: Manifest, namespace: str, schemas: Schemas | None
) -> Outcome:
    try:
        return review_manifest(reviewer, manifest, namespace, schemas)
    except BadReviewError as error:
        return UnreadableManifest(str(manifest), str(error))


def _reviewed(outcomes: Sequence[Outcome]) -> Iterator[ReviewedManifest]:
    return (outcome for outcome in outcomes if isinstance(outcome, ReviewedManifest))


def _unreadable(outcomes: Sequence[Outcome]) -> Iterator[UnreadableManifest]:
    return (outcome for outcome in outcomes if isinstance(outcome, UnreadableManifest))


def _texts(manifests: Sequence[Manifest]) -> Iterator[SourceText]:
    return (manifest.written.text for manifest in manifests if manifest.written)
