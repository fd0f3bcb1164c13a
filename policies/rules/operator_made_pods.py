"""Only KubeRay's operator adds pods to a Ray cluster, and only its Jobs submit to one."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from policies.cluster.related_object import RelatedObject
from policies.documents.metadata import controller_of, labels_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, clipped
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.membership import (
    JOB_CONTROLLERS,
    ORIGIN_KIND_LABEL,
    ORIGIN_NAME_LABEL,
    RAY_CLUSTER_LABEL,
    ClusterOwner,
    claims_in,
    cluster_owner_of,
    has_claims,
    is_submitter_job,
    is_submitter_pod,
    submitter_labels_in,
)
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Group, Workload, template_place

_CONTROLLERS = "system:serviceaccount:kube-system:"
_OWNERS = ROOT / "metadata" / "ownerReferences"
_FIX = (
    "let a RayCluster create its pods; for Ray without KubeRay, use the labels "
    "raywarden.io/cluster: NAME and raywarden.io/role: worker (or head, client) instead of the "
    "ray.io labels"
)
_FIX_SUBMITTER = (
    f"remove {ORIGIN_KIND_LABEL}; to let another client through the NetworkPolicies, name it in "
    "the annotation raywarden.io/allow-from of the RayCluster, or in networkIsolation.allowFrom of "
    "the policy file"
)
_FIX_UPDATE = "leave the ray.io labels and the owner reference unchanged, or delete the pod"


class _Claim(NamedTuple):
    """What a pod claims to be, what an update of the claim does, and what to do instead."""

    text: str
    change: str
    fix: str


_MEMBER = _Claim(
    "claims to belong to a Ray cluster", "changes the Ray cluster that it belongs to", _FIX
)
_SUBMITTER = _Claim(
    "claims to submit the job of a RayJob",
    "changes the RayJob whose job it submits",
    _FIX_SUBMITTER,
)
_MEMBER_THAT_SUBMITS = f"a pod of a Ray cluster {_SUBMITTER.text}"


class OperatorMadePods(Rule):
    """Refuses pods that claim to belong to a Ray cluster but that KubeRay did not create.

    A pod claims this with one of the labels `ray.io/cluster`, `ray.io/node-type` and
    `ray.io/group`, or with an owner reference to a RayCluster. Other users may not create, add or
    change these claims in pods or in pod templates. RayWarden finds the operator in the RBAC of the
    cluster: it is the service account that may update `rayclusters/status` and create pods. A
    ClusterRoleBinding makes it the operator of all namespaces. A RoleBinding, which KubeRay's chart
    creates with `singleNamespaceInstall`, makes it the operator of that namespace only. Tenants who
    may write such a RoleBinding gain nothing with it: RBAC lets them grant only rights that they
    have themselves, the owner must still be a live RayCluster of the same namespace, and the pods
    of a namespace may join its clusters anyway. The operator itself may write claims into one
    template only: that of the Job that cleans up Redis for the RayCluster that owns the Job. The
    template of a RayJob's submitter may not have claims, because KubeRay copies them to the
    submitter's pod.
    With the label `ray.io/originated-from-crd: RayJob`, a pod claims to submit the job of the
    RayJob that `ray.io/originated-from-cr-name` names. Only the operator may create a template
    with it: that of the Job that the RayJob owns. Only Kubernetes' job controller may create a
    pod with it, and only for the Job of that name.
    Why: NetworkPolicies, Services and the certificate signer recognize the members of a cluster by
    these claims. A pod that forges them becomes a member. NetworkPolicies let submitters reach the
    dashboard, where they can run code.
    Fix: let a RayCluster create its pods, and a RayJob its submitter.
    """

    id: ClassVar[str] = "operator-made-pods"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    operators: tuple[str, ...] = Field(
        (),
        description="user names of other KubeRay operators that RayWarden does not find in RBAC, "
        "such as `system:serviceaccount:team-a:kuberay-operator`",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.kind == "Pod":
            yield from self._check_member(workload, facts)
            yield from self._check_pod_of_submitter(workload, facts)
            return
        yield from self._check_template(workload, facts)
        if workload.cluster is None:
            yield from self._check_template_of_submitter(workload, facts)
        else:
            for group in workload.cluster.groups:
                yield from self._check_group(group)

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        yield from self._check_template_of_submitter(related_object, facts)

    def _check_member(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        owner = cluster_owner_of(workload.document)
        has_claims = bool(_claims(workload.document, ROOT) or _claims(facts.stored, ROOT))
        if not has_claims and owner is None:
            return
        if facts.stored is None or _adds_claims(facts.stored, workload.document):
            place = Pointer(("metadata", "labels", RAY_CLUSTER_LABEL))
            yield from self._check_user(facts, place, "this pod", _MEMBER)
        if facts.stored is None:
            yield from self._check_owner(workload.labels, owner, facts)

    def _check_pod_of_submitter(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        place = Pointer(("metadata", "labels", ORIGIN_KIND_LABEL))
        labels = submitter_labels_in(workload.labels)
        if not labels or labels == _submitter_labels(facts.stored, ROOT):
            return
        if facts.stored is not None:
            yield self.violation(f"this pod {_SUBMITTER.change}", place, _FIX_UPDATE)
        elif has_claims(workload.labels):
            yield self.violation(_MEMBER_THAT_SUBMITS, place, _FIX_SUBMITTER)
        elif facts.user not in JOB_CONTROLLERS or not is_submitter_pod(workload.document):
            yield self.violation(
                f"this pod {_SUBMITTER.text}, but Kubernetes did not create it for the Job of that "
                "RayJob",
                place,
                _FIX_SUBMITTER,
            )

    def _check_template_of_submitter(
        self, subject: Workload | RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        pod = template_place(subject.kind)
        labels = _submitter_labels(subject.document, pod)
        if not labels or labels == _submitter_labels(facts.stored, pod):
            return
        place = pod / "metadata" / "labels" / ORIGIN_KIND_LABEL
        if is_submitter_job(subject.kind, subject.document, labels):
            yield from self._check_user(facts, place, "the pod template", _SUBMITTER)
            return
        yield self.violation(
            f"the pod template {_SUBMITTER.text}, but this {subject.kind} is not the Job of that "
            "RayJob",
            place,
            _FIX_SUBMITTER,
        )

    def _check_group(self, group: Group) -> Iterator[Violation]:
        """KubeRay copies these labels to the pods of the group."""
        own = as_dict(group.raw.get("labels"))
        if submitter_labels_in({**group.pod.labels, **own}):
            metadata = group.pod.pointer / "metadata"
            labels = (group.pointer if ORIGIN_KIND_LABEL in own else metadata) / "labels"
            yield self.violation(_MEMBER_THAT_SUBMITS, labels / ORIGIN_KIND_LABEL, _FIX_SUBMITTER)

    def _check_template(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            if pod.role is PodRole.SUBMITTER:
                yield from self._check_origin(workload, pod)
            if not has_claims(pod.labels):
                continue
            claims, labels = claims_in(pod.labels), pod.pointer / "metadata" / "labels"
            if pod.role is PodRole.SUBMITTER:
                yield from self._check_submitter(claims, labels)
            # KubeRay replaces the claims in the groups of a cluster.
            elif workload.cluster is None and claims != _claims(facts.stored, pod.pointer):
                place = labels / next(iter(claims))
                yield from self._check_user(facts, place, "the pod template", _MEMBER)
                if facts.is_from_operator:
                    yield from self._check_owner_of_job(workload, pod, facts)

    def _check_submitter(self, claims: Mapping[str, Any], labels: Pointer) -> Iterator[Violation]:
        for name in claims:
            yield self.violation(
                f"the template of the submitter sets the label {name}, by which its pod would "
                "belong to a Ray cluster",
                labels / name,
                f"remove {name}; to let the pod through a NetworkPolicy, use a label of your own",
            )

    def _check_origin(self, workload: Workload, pod: Pod) -> Iterator[Violation]:
        """KubeRay overwrites these labels from 1.7 on; before, it copies them to the pod."""
        labels = submitter_labels_in(pod.labels)
        is_own = workload.kind == "RayJob" and labels.get(ORIGIN_NAME_LABEL) == workload.name
        if labels and not is_own:
            yield self.violation(
                f"the template of the submitter {_SUBMITTER.text} other than this one",
                pod.pointer / "metadata" / "labels" / ORIGIN_KIND_LABEL,
                f"remove {ORIGIN_KIND_LABEL}",
            )

    def _check_owner_of_job(
        self, workload: Workload, pod: Pod, facts: Facts
    ) -> Iterator[Violation]:
        """KubeRay puts claims into templates only in its clean-up Job.

        Its users write the templates of its other Jobs.
        """
        if pod.role is PodRole.CLEANUP:
            owner = controller_of(workload.document)
            claimed = ClusterOwner(owner.name, owner.uid) if owner else None
            yield from self._check_owner(pod.labels, claimed, facts)
            return
        yield self.violation(
            f"the pod template claims to belong to a Ray cluster, but this {workload.kind} is not "
            "the Redis clean-up of that cluster",
            pod.pointer / "metadata" / "labels",
            _FIX,
        )

    def _check_user(
        self, facts: Facts, place: Pointer, title: str, claim: _Claim
    ) -> Iterator[Violation]:
        """The user of the request must be a KubeRay operator."""
        if facts.is_from_operator:
            return
        hint = _hint(facts.user)
        if not facts.namespace_state.rbac.complete:
            yield self.unknown(
                f"{title} {claim.text}, but RayWarden does not know which account runs KubeRay",
                place,
                claim.fix + hint,
            )
        elif facts.stored is None:
            yield self.violation(
                f"{title} {claim.text}, but KubeRay's operator did not create it",
                place,
                claim.fix + hint,
            )
        else:
            yield self.violation(
                f"{title} {claim.change}, but KubeRay's operator did not request this",
                place,
                _FIX_UPDATE + hint,
            )

    def _check_owner(
        self, labels: Mapping[str, Any], owner: ClusterOwner | None, facts: Facts
    ) -> Iterator[Violation]:
        cluster = as_str(labels.get(RAY_CLUSTER_LABEL))
        if owner is None or owner.name != cluster:
            message = f"this pod has no owner reference to the RayCluster {cluster}"
            yield self.violation(message, _OWNERS, _FIX)
            return
        live = (facts.namespace_state.ray_clusters or {}).get(owner.name)
        if live is None:
            message = (
                f"the RayCluster {owner.name} is unknown to RayWarden, so the owner of this pod "
                "cannot be verified"
            )
            yield self.unknown(message, _OWNERS, "create the RayCluster first")
        # A RayCluster from a manifest has no uid yet.
        elif live.uid and live.uid != owner.uid:
            message = f"the owner reference to the RayCluster {owner.name} has an outdated uid"
            yield self.violation(message, _OWNERS, _FIX)


def _hint(user: str) -> str:
    """What helps if `user` does run KubeRay; empty for people and Kubernetes' own controllers."""
    if not user.startswith("system:serviceaccount:") or user.startswith(_CONTROLLERS):
        return ""
    return (
        f"; if {clipped(user)} runs KubeRay, an administrator must bind KubeRay's role to it in "
        "this namespace, or list it in the parameter operators of operator-made-pods"
    )


def _adds_claims(stored: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """The update changes the labels, or adds an owner.

    The garbage collector may remove owners.
    """
    if _claims(stored, ROOT) != _claims(document, ROOT):
        return True
    owner = cluster_owner_of(document)
    return owner is not None and owner != cluster_owner_of(stored)


def _claims(document: Mapping[str, Any] | None, pod: Pointer) -> dict[str, Any]:
    return claims_in(as_dict((pod / "metadata" / "labels").read(document)))


def _submitter_labels(document: Mapping[str, Any] | None, pod: Pointer) -> dict[str, Any]:
    return submitter_labels_in(labels_of(as_dict(pod.read(document))))
