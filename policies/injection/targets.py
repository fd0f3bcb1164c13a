"""The objects that mutations may change."""

from collections.abc import Mapping
from typing import Any

from policies.cluster.related_object import RelatedObject
from policies.injection.contract import MANAGED, MARKER_LABEL, TlsBy, is_opted_out, tls_by
from policies.model import Facts
from policies.ray.pod import PodRole
from policies.ray.workload import Kind, Workload


def target_of(kind: Kind, document: Mapping[str, Any]) -> Workload | RelatedObject | None:
    """The view of an object of a kind that mutations may change.

    KubeRay's Job is a related object, even if its author lets its pod start Ray.
    """
    if kind.kind == "Job":
        related_object = RelatedObject.of(kind, document)
        if related_object is not None:
            return related_object
    return Workload.of(kind, document)


def is_target(subject: Workload | RelatedObject, facts: Facts) -> bool:
    """New RayClusters whose TLS no other party provides, stored managed ones, and their new pods.

    A cluster that predates RayWarden is left unchanged: with TLS in only some of its pods, the
    pods could not talk to each other. Each mutation decides by itself about a new Job.
    """
    if isinstance(subject, RelatedObject):
        return facts.operation == "CREATE"
    if subject.kind == "RayCluster" and facts.operation == "UPDATE":
        return facts.before is not None and facts.before.labels.get(MARKER_LABEL) == MANAGED
    if facts.operation != "CREATE":
        return False
    if is_opted_out(subject, facts):
        return False
    if subject.kind == "RayCluster":
        return tls_by(subject) in (TlsBy.NONE, TlsBy.RAYWARDEN)
    if subject.kind != "Pod":
        return False
    return tls_by(subject) is TlsBy.RAYWARDEN or subject.pods[0].role is PodRole.SUBMITTER
