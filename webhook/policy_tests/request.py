"""Objects as somebody sends them, the cluster they are sent to, and what admission decides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from policies.config import Policy
from policies.documents.metadata import controller_of, name_of, namespace_of
from policies.ray import kuberay
from policies.ray.operator import KubeRayOperator
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import BadReviewError
from webhook.manifests.dry_run import ReviewedManifest, request_of, review_request
from webhook.manifests.read import Manifest
from webhook.manifests.state import ManifestNamespaces
from webhook.policy_tests.sources import UnreadableSourceError
from webhook.ports import NamespaceStates

# Makes a reviewer for a policy, what is known of the cluster, and a day; None means today.
NewReviewer = Callable[[Policy, NamespaceStates, date | None], Reviewer]
Document = dict[str, Any]
_REVIEW = "AdmissionReview"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends objects, into which cluster, and when.

    `cluster` are the objects that exist. With `complete` there are no others, else others are
    unknown. `namespace` is the namespace of objects that name none.
    """

    policy: Policy
    user: str = ""
    groups: Sequence[str] = ()
    namespace: str = "default"
    cluster: Sequence[Document] = ()
    complete: bool = False
    kuberay: KubeRayOperator = field(default_factory=KubeRayOperator)
    today: date | None = None

    def reviewer(self, new_reviewer: NewReviewer, documents: Sequence[Document]) -> Reviewer:
        """A reviewer that knows the cluster and `documents`, which replace objects in it."""
        states = ManifestNamespaces(
            [*self.cluster, *documents],
            self.namespace,
            complete=self.complete,
            operator=self.kuberay,
        )
        return new_reviewer(self.policy, states, self.today)


def create(
    new_reviewer: NewReviewer, sender: Sender, manifests: Sequence[Manifest], *, derive: bool = True
) -> list[ReviewedManifest]:
    """What admission decides about new objects, without those that have nothing to do with Ray.

    With `derive`, also about what KubeRay creates from them. Raises UnreadableSourceError.
    """
    documents = [manifest.document for manifest in manifests]
    if sender.complete and (derive or len(manifests) > 1):
        # Where the cluster is complete, other objects belong to the RayCluster as it is stored.
        documents = _as_stored(sender.reviewer(new_reviewer, ()), sender, documents)
    reviewer = sender.reviewer(new_reviewer, documents)
    return list(_reviewed(reviewer, sender, manifests, {}, derive))


def update(
    new_reviewer: NewReviewer,
    sender: Sender,
    manifests: Sequence[Manifest],
    stored: Sequence[Document],
    *,
    mutated: bool = True,
    derive: bool = False,
) -> list[ReviewedManifest]:
    """What admission decides about objects that replace `stored` ones.

    With `mutated`, RayWarden wrote its defaults into `stored` when they were created. Raises
    UnreadableSourceError, also for an object without a stored one.
    """
    before = list(stored)
    if mutated:
        before = _as_stored(sender.reviewer(new_reviewer, stored), sender, stored)
    reviewer = sender.reviewer(new_reviewer, before)
    by_key = {_key(document, sender.namespace): document for document in before}
    return list(_reviewed(reviewer, sender, manifests, by_key, derive))


def _as_stored(reviewer: Reviewer, sender: Sender, documents: Sequence[Document]) -> list[Document]:
    """The objects with RayWarden's defaults."""
    mutated = []
    for document in documents:
        if document.get("kind") == _REVIEW:
            mutated.append(document)
            continue
        # What KubeRay owns was created by KubeRay, also if another user replaces it.
        owned = controller_of(document) is not None
        user = kuberay.creator_of(document) if owned else sender.user
        request = request_of(document, sender.namespace, user, sender.groups)
        mutated.append(dict(reviewer.mutated(request).document))
    return mutated


def _reviewed(
    reviewer: Reviewer,
    sender: Sender,
    manifests: Sequence[Manifest],
    stored: Mapping[tuple[str, str, str], Document],
    derive: bool,
) -> Iterator[ReviewedManifest]:
    for manifest in manifests:
        before = None
        if stored:
            before = stored.get(_key(manifest.document, sender.namespace))
            if before is None:
                raise UnreadableSourceError(f"{manifest}: oldObjects has no object of this name")
        elif manifest.document.get("kind") == _REVIEW and (sender.user or sender.groups):
            message = "a recorded AdmissionReview has its own user; remove user and groups"
            raise UnreadableSourceError(f"{manifest}: {message}")
        try:
            request = request_of(
                manifest.document, sender.namespace, sender.user, sender.groups, before
            )
        except BadReviewError as error:
            raise UnreadableSourceError(f"{manifest}: {error}") from None
        reviewed = review_request(reviewer, manifest, request, derive=derive)
        if reviewed is not None:
            yield reviewed


def _key(document: Document, namespace: str) -> tuple[str, str, str]:
    kind = str(document.get("kind"))
    # The API server refuses a Namespace in a namespace; its own name is all that counts.
    inside = "" if kind == "Namespace" else namespace_of(document) or namespace
    return kind, inside, name_of(document)
