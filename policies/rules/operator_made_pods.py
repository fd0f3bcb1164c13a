"""A pod is of a Ray cluster because KubeRay made it so, not because it says so."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import (
    GROUP_LABEL,
    NODE_TYPE_LABEL,
    RAY_CLUSTER_LABEL,
    RAY_GROUP,
    Workload,
)

_LABELS = (RAY_CLUSTER_LABEL, NODE_TYPE_LABEL, GROUP_LABEL)
_OWNERS = ROOT / "metadata" / "ownerReferences"
_FIX = (
    "let a RayCluster make its pods; Ray without KubeRay takes raywarden.io/cluster: NAME and "
    "raywarden.io/role: worker (or head, client) in place of the ray.io labels"
)
_LEAVE = "leave the labels ray.io/... and the owner as they were, or delete the pod"


class _Owner(NamedTuple):
    """The RayCluster a pod says it is controlled by."""

    name: str
    uid: str


class OperatorMadePods(Rule):
    """Refuses pods that claim to be of a Ray cluster and were not made by the KubeRay operator.

    Claims are the labels `ray.io/cluster`, `ray.io/node-type`, `ray.io/group` and an owner reference to a RayCluster,
    of a pod or of a template that pods are made from. Nobody else may make them, add them or change them. Who the
    operator is follows from the cluster's RBAC: the service account that a ClusterRoleBinding lets update
    `rayclusters/status` and create pods; one that is bound in namespaces only has to be named.
    Why: NetworkPolicies, Services and the signer of certificates know a cluster's members by these; a pod that forges
    them is inside.
    Fix: let a RayCluster make its pods.
    """

    id: ClassVar[str] = "operator-made-pods"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    operators: tuple[str, ...] = Field(
        (),
        description="user names of KubeRay operators beyond those RBAC tells, such as "
        "`system:serviceaccount:team-a:kuberay-operator`",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.kind != "Pod":
            yield from self._check_template(workload, facts)
            return
        owner = _owner(workload.document)
        if (
            not _claims(workload.document, ROOT)
            and owner is None
            and not _claims(facts.stored, ROOT)
        ):
            return
        if facts.stored is None or _adds_claims(facts.stored, workload.document):
            yield from self._check_maker(
                facts, Pointer(("metadata", "labels", RAY_CLUSTER_LABEL)), "this pod"
            )
        if facts.stored is None:
            yield from self._check_owner(workload, owner, facts)

    def _check_template(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods if workload.cluster is None else ():
            claims = _claims(workload.document, pod.pointer)
            if RAY_CLUSTER_LABEL in claims and claims != _claims(facts.stored, pod.pointer):
                pointer = pod.pointer / "metadata" / "labels" / RAY_CLUSTER_LABEL
                yield from self._check_maker(facts, pointer, "the template of the pods")

    def _check_maker(self, facts: Facts, pointer: Pointer, title: str) -> Iterator[Violation]:
        rights = facts.namespace_state.rights
        if facts.user in rights.operators or facts.user in self.operators:
            return
        if not rights.complete:
            message = (
                f"{title} claims to be of a Ray cluster, and who runs KubeRay is not known here"
            )
            yield self.unknown(message, pointer, _FIX)
            return
        does = (
            "claims to be of a Ray cluster"
            if facts.stored is None
            else "changes what Ray cluster it is of"
        )
        remediation = _FIX if facts.stored is None else _LEAVE
        yield self.violation(
            f"{title} {does}, and KubeRay's operator did not do that", pointer, remediation
        )

    def _check_owner(
        self, workload: Workload, owner: _Owner | None, facts: Facts
    ) -> Iterator[Violation]:
        cluster = as_str(workload.labels.get(RAY_CLUSTER_LABEL))
        if owner is None or owner.name != cluster:
            yield self.violation(
                f"no owner reference says that this pod is of RayCluster {cluster}", _OWNERS, _FIX
            )
            return
        known = facts.namespace_state.ray_clusters
        live = known.get(owner.name) if known is not None else None
        if live is None:
            message = (
                f"no RayCluster {owner.name} is known here, so whether this pod is of it neither"
            )
            yield self.unknown(message, _OWNERS, "create the RayCluster first")
        # A manifest has no uid yet.
        elif live.uid and live.uid != owner.uid:
            yield self.violation(
                f"the RayCluster {owner.name} that owns this pod is another one now", _OWNERS, _FIX
            )


def _adds_claims(stored: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Labels that are other than before, or an owner that was not there; the garbage collector may take owners away."""
    owner = _owner(document)
    return _claims(stored, ROOT) != _claims(document, ROOT) or (
        owner is not None and owner != _owner(stored)
    )


def _claims(document: Mapping[str, Any] | None, pod: Pointer) -> dict[str, Any]:
    labels = as_dict((pod / "metadata" / "labels").read(document))
    return {name: labels[name] for name in _LABELS if name in labels}


def _owner(document: Mapping[str, Any]) -> _Owner | None:
    for _, owner in dict_items(_OWNERS.read(document)):
        if owner.get("kind") == "RayCluster" and as_str(owner.get("apiVersion")).startswith(
            f"{RAY_GROUP}/"
        ):
            return _Owner(as_str(owner.get("name")), as_str(owner.get("uid")))
    return None
