"""The labels by which NetworkPolicies let the submitter of a RayJob in."""

from collections.abc import Iterable
from typing import ClassVar

from policies.cluster.related_object import RelatedObject
from policies.documents.draft import Draft
from policies.documents.metadata import name_of
from policies.model import Facts, Mutation
from policies.ray.membership import (
    ORIGIN_NAME_LABEL,
    is_submitter_job,
    submitter_labels_in,
)
from policies.ray.workload import template_place


class SubmitterLabels(Mutation):
    """Copies the labels of KubeRay's submitter Job to its pod, so that NetworkPolicies let it in.

    The labels are `ray.io/originated-from-crd` and `ray.io/originated-from-cr-name`. KubeRay 1.7
    writes them into the pod template itself; older versions label only the Job. Applies only to a
    Job that KubeRay's operator creates for the RayJob that these labels name.
    """

    id: ClassVar[str] = "submitter-labels"
    kinds: ClassVar[frozenset[str]] = frozenset({"Job"})

    def mutate_related_object(
        self, draft: Draft, related_object: RelatedObject, facts: Facts
    ) -> Iterable[str]:
        """Replaces other values, as KubeRay 1.7 does: they would name another RayJob."""
        labels = submitter_labels_in(related_object.labels)
        if _is_of_kuberay(related_object, facts):
            place = template_place(related_object.kind) / "metadata" / "labels"
            for name, value in labels.items():
                draft.set(place, name, value)
        return ()


def _is_of_kuberay(job: RelatedObject, facts: Facts) -> bool:
    """The Job has the name of its RayJob, as the rule `operator-made-pods` expects of its pod."""
    labels = submitter_labels_in(job.labels)
    if not is_submitter_job(job.kind, job.document, labels):
        return False
    return name_of(job.document) == labels[ORIGIN_NAME_LABEL] and facts.is_from_operator
