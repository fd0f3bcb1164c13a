"""Only KubeRay's operator adds pods to a Ray cluster."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from policies.documents.metadata import controller_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, clipped, dict_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.membership import RAY_CLUSTER_LABEL, RAY_GROUP, claims_in, has_claims
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload

_CONTROLLERS = "system:serviceaccount:kube-system:"
_OWNERS = ROOT / "metadata" / "ownerReferences"
_FIX = (
    "let a RayCluster create its pods; for Ray without KubeRay, use the labels "
    "raywarden.io/cluster: NAME and raywarden.io/role: worker (or head, client) instead of the "
    "ray.io labels"
)
_FIX_UPDATE = "leave the ray.io labels and the owner reference unchanged, or delete the pod"


class _Owner(NamedTuple):
    """The RayCluster that a pod names in its owner references."""

    name: str
    uid: str


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
    Why: NetworkPolicies, Services and the certificate signer recognize the members of a cluster by
    these claims. A pod that forges them becomes a member.
    Fix: let a RayCluster create its pods.
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
        if workload.kind != "Pod":
            yield from self._check_template(workload, facts)
            return
        owner = _owner(workload.document)
        has_claims = bool(_claims(workload.document, ROOT) or _claims(facts.stored, ROOT))
        if not has_claims and owner is None:
            return
        if facts.stored is None or _adds_claims(facts.stored, workload.document):
            place = Pointer(("metadata", "labels", RAY_CLUSTER_LABEL))
            yield from self._check_user(facts, place, "this pod")
        if facts.stored is None:
            yield from self._check_owner(workload.labels, owner, facts)

    def _check_template(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            if not has_claims(pod.labels):
                continue
            claims, labels = claims_in(pod.labels), pod.pointer / "metadata" / "labels"
            if pod.role is PodRole.SUBMITTER:
                yield from self._check_submitter(claims, labels)
            # KubeRay replaces the claims in the groups of a cluster.
            elif workload.cluster is None and claims != _claims(facts.stored, pod.pointer):
                place = labels / next(iter(claims))
                yield from self._check_user(facts, place, "the pod template")
                if self._is_operator(facts):
                    yield from self._check_owner_of_job(workload, pod, facts)

    def _check_submitter(self, claims: Mapping[str, Any], labels: Pointer) -> Iterator[Violation]:
        for name in claims:
            yield self.violation(
                f"the template of the submitter sets the label {name}, by which its pod would "
                "belong to a Ray cluster",
                labels / name,
                f"remove {name}; to let the pod through a NetworkPolicy, use a label of your own",
            )

    def _check_owner_of_job(
        self, workload: Workload, pod: Pod, facts: Facts
    ) -> Iterator[Violation]:
        """KubeRay puts claims into templates only in its clean-up Job.

        Its users write the templates of its other Jobs.
        """
        if pod.role is PodRole.CLEANUP:
            owner = controller_of(workload.document)
            claimed = _Owner(owner.name, owner.uid) if owner else None
            yield from self._check_owner(pod.labels, claimed, facts)
            return
        yield self.violation(
            f"the pod template claims to belong to a Ray cluster, but this {workload.kind} is not "
            "the Redis clean-up of that cluster",
            pod.pointer / "metadata" / "labels",
            _FIX,
        )

    def _is_operator(self, facts: Facts) -> bool:
        return facts.user in self.operators or facts.namespace_state.runs_kuberay(facts.user)

    def _check_user(self, facts: Facts, place: Pointer, title: str) -> Iterator[Violation]:
        """The user of the request must be a KubeRay operator."""
        known = facts.namespace_state
        if self._is_operator(facts):
            return
        if not known.rbac.complete:
            yield self.unknown(
                f"{title} claims to belong to a Ray cluster, but RayWarden does not know which "
                "account runs KubeRay",
                place,
                f"{_FIX}{_hint(facts.user)}",
            )
        elif facts.stored is None:
            yield self.violation(
                f"{title} claims to belong to a Ray cluster, but KubeRay's operator did not create "
                "it",
                place,
                f"{_FIX}{_hint(facts.user)}",
            )
        else:
            yield self.violation(
                f"{title} changes the Ray cluster that it belongs to, but KubeRay's operator did "
                "not request this",
                place,
                f"{_FIX_UPDATE}{_hint(facts.user)}",
            )

    def _check_owner(
        self, labels: Mapping[str, Any], owner: _Owner | None, facts: Facts
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
    owner = _owner(document)
    return owner is not None and owner != _owner(stored)


def _claims(document: Mapping[str, Any] | None, pod: Pointer) -> dict[str, Any]:
    return claims_in(as_dict((pod / "metadata" / "labels").read(document)))


def _owner(document: Mapping[str, Any]) -> _Owner | None:
    # Every owner counts, not only the controller, and a malformed apiVersion such as ray.io/v1/x
    # claims a cluster too.
    for _, owner in dict_items(_OWNERS.read(document)):
        if owner.get("kind") == "RayCluster" and as_str(owner.get("apiVersion")).startswith(
            f"{RAY_GROUP}/"
        ):
            return _Owner(as_str(owner.get("name")), as_str(owner.get("uid")))
    return None
