"""Requests that only help an object to end: they are allowed, so that nothing blocks a deletion."""

from collections.abc import Mapping
from typing import Any

from policies.cluster.related_object import RelatedObject
from policies.documents.metadata import annotations_of, labels_of, metadata_of
from policies.model import Facts
from policies.ray.pod import PodRole
from policies.ray.workload import Workload

# The job controller's user name depends on the flag --use-service-account-credentials of
# kube-controller-manager.
_JOB_CONTROLLERS = (
    "system:serviceaccount:kube-system:job-controller",
    "system:kube-controller-manager",
)


def only_ends_something(subject: Workload | RelatedObject, facts: Facts) -> bool:
    """The request deletes `subject` without changing it, or creates KubeRay's Redis clean-up pod.

    The clean-up pod counts only when the user is the one KubeRay's own flow would have.
    """
    if isinstance(subject, Workload) and any(pod.role is PodRole.CLEANUP for pod in subject.pods):
        # KubeRay creates a Job, and the job controller creates its pod. The label alone proves
        # nothing: any tenant can write it.
        if subject.kind == "Pod":
            return facts.user in _JOB_CONTROLLERS
        return facts.user in facts.namespace_state.rbac.operators
    if facts.operation == "CREATE" or facts.stored is None:
        return False
    if subject.metadata.get("deletionTimestamp") is None:
        return False
    try:
        return _requested_content(subject.document) == _requested_content(facts.stored)
    except RecursionError:
        # Too deep to compare, so it may have changed.
        return False


def _requested_content(document: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an object that request something: all but its status and most metadata.

    A deleted object whose finalizer its author keeps stays in use, so a change still counts.
    """
    content = {
        name: value for name, value in document.items() if name not in ("metadata", "status")
    }
    content["labels"] = labels_of(document)
    content["annotations"] = annotations_of(document)
    content["owners"] = metadata_of(document).get("ownerReferences") or []
    return content
