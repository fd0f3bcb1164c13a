"""Requests that only help an object to end: they are allowed, so that nothing blocks a deletion."""

from collections.abc import Mapping
from typing import Any

from policies.cluster.related_object import RelatedObject
from policies.documents.metadata import annotations_of, controller_of, labels_of, metadata_of
from policies.documents.untyped import as_str
from policies.model import Facts
from policies.ray.membership import JOB_CONTROLLERS, RAY_CLUSTER_LABEL
from policies.ray.pod import PodRole
from policies.ray.workload import Workload


def only_ends_something(subject: Workload | RelatedObject, facts: Facts) -> bool:
    """The request deletes `subject` without changing it, or creates KubeRay's Redis clean-up."""
    if isinstance(subject, Workload) and _is_clean_up(subject, facts):
        return True
    if facts.operation == "CREATE" or facts.stored is None:
        return False
    if subject.metadata.get("deletionTimestamp") is None:
        return False
    try:
        return _requested_content(subject.document) == _requested_content(facts.stored)
    except RecursionError:
        # Too deep to compare, so it may have changed.
        return False


def _is_clean_up(workload: Workload, facts: Facts) -> bool:
    """The Job by which KubeRay empties Redis before a RayCluster can go, or the pod of that Job.

    Their owners make them a clean-up (`PodRole.CLEANUP`). The cluster must also be alive, as far as
    RayWarden knows, and the user must be the one KubeRay's own flow would have.
    """
    pod = next(iter(workload.pods), None)
    if pod is None or pod.role is not PodRole.CLEANUP:
        return False
    name, owner = as_str(pod.labels.get(RAY_CLUSTER_LABEL)), controller_of(workload.document)
    known = facts.namespace_state.ray_clusters
    live = known.get(name) if known is not None else None
    if known is not None and live is None:
        return False
    if workload.kind == "Pod":
        return facts.user in JOB_CONTROLLERS
    is_current = live is None or not live.uid or (owner is not None and owner.uid == live.uid)
    return is_current and facts.user in facts.namespace_state.rbac.operators


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
