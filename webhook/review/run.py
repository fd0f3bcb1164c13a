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
from webhook.review.progress import Track, untracked
from webhook.review.results import Results
from webhook.review.suppressions import IgnoreComments

_UNKNOWN_KUBERAY = KubeRayOperator()
# The outcome of a manifest; None if it has nothing to do with Ray.
Outcome = ReviewedManifest | UnreadableManifest | None


@dataclass(frozen=True, slots=True)
class ReviewRun:
    """The manifests, the outcome of each, and the results for reports."""

    manifests: Sequence[Manifest]
    outcomes: Sequence[Outcome]
    results: Results


@dataclass(frozen=True, slots=True)
class ReadSources:
    """The manifests in files, folders and pipes, what could not be read, and the files skipped."""

    manifests: Sequence[Manifest]
    unreadable: Sequence[UnreadableManifest] = ()
    skipped: int = 0

    @classmethod
    def of(cls, sources: Sequence[str], track: Track = untracked) -> "ReadSources":
        """Read every source: files, folders, or `-` for standard input."""
        manifests: list[Manifest] = []
        unreadable: list[UnreadableManifest] = []
        skipped = 0
        for source in sources:
            for result in track(read(source), "reading manifests"):
                match result:
                    case Manifest():
                        manifests.append(result)
                    case UnreadableManifest():
                        unreadable.append(result)
                    case SkippedFile():
                        skipped += 1
        return cls(manifests, unreadable, skipped)


@dataclass(frozen=True, slots=True)
class ReviewBasis:
    """What manifests are judged by.

    `namespace` is the namespace of manifests that name none. `notes` are about the policy. With
    `schemas`, those of KubeRay's kinds, fields are checked as well. Comments have an effect with
    `suppressions` only.
    """

    new_reviewer: Callable[[NamespaceStates], Reviewer]
    namespace: str = "default"
    kuberay: KubeRayOperator = _UNKNOWN_KUBERAY
    notes: Sequence[str] = ()
    schemas: Schemas | None = None
    suppressions: IgnoreComments | None = None


def review_manifests(
    sources: ReadSources, basis: ReviewBasis, track: Track = untracked
) -> ReviewRun:
    """Review every manifest in the sources. `track` is shown how far the review is."""
    manifests = sources.manifests
    documents = [manifest.document for manifest in manifests]
    states = ManifestNamespaces(documents, basis.namespace, operator=basis.kuberay)
    reviewer = basis.new_reviewer(states)
    outcomes = [_outcome(reviewer, manifest, basis) for manifest in track(manifests, "reviewing")]
    folder = Path.cwd()
    judge = Judge(folder, basis.suppressions)
    results = Results(
        objects=judge.results(track(list(_reviewed(outcomes)), "locating findings")),
        unreadable=[*sources.unreadable, *_unreadable(outcomes)],
        skipped=sources.skipped + outcomes.count(None),
        notes=[*basis.notes, *notes_on_other_policies(documents)],
        texts={text.name: text for text in _texts(manifests)},
        folder=folder,
    )
    return ReviewRun(manifests, outcomes, results)


def _outcome(reviewer: Reviewer, manifest: Manifest, basis: ReviewBasis) -> Outcome:
    try:
        return review_manifest(reviewer, manifest, basis.namespace, basis.schemas)
    except BadReviewError as error:
        return UnreadableManifest(str(manifest), str(error))


def _reviewed(outcomes: Sequence[Outcome]) -> Iterator[ReviewedManifest]:
    return (outcome for outcome in outcomes if isinstance(outcome, ReviewedManifest))


def _unreadable(outcomes: Sequence[Outcome]) -> Iterator[UnreadableManifest]:
    return (outcome for outcome in outcomes if isinstance(outcome, UnreadableManifest))


def _texts(manifests: Sequence[Manifest]) -> Iterator[SourceText]:
    return (manifest.written.text for manifest in manifests if manifest.written)
