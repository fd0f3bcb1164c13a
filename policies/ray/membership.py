"""What makes a pod Ray's: labels that claim it, the owner that proves it, or `ray start` in it.

Two kinds of pods have labels that NetworkPolicies let in: the members of a RayCluster, and the
submitter, which submits the job of a RayJob.

Mutations, rules and commands ask here. The match conditions of `deploy/base` and the signer
(`certs.identity`) cannot; tests hold them to the same answers.
Source: KubeRay 1.3 to 1.7, `labelPod`, `getSubmitterTemplate` and `buildRedisCleanupJob`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from policies.documents.metadata import controller_of, labels_of, metadata_of
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.pod import Pod, PodRole
from policies.ray.ray_start import ARGS, COMMAND, commands_in, ray_starts

RAY_GROUP = "ray.io"
RAY_CLUSTER_LABEL = "ray.io/cluster"
NODE_TYPE_LABEL = "ray.io/node-type"
GROUP_LABEL = "ray.io/group"
ORIGIN_KIND_LABEL = "ray.io/originated-from-crd"
ORIGIN_NAME_LABEL = "ray.io/originated-from-cr-name"
OPT_IN_CLUSTER_LABEL = "raywarden.io/cluster"
OPT_IN_ROLE_LABEL = "raywarden.io/role"
# NetworkPolicies, Services and KubeRay recognize the pods of a RayCluster by these labels. KubeRay
# writes them into the pods of its groups, whatever the template says. In the template of a
# submitter it keeps what the author wrote.
CLAIM_LABELS = (RAY_CLUSTER_LABEL, NODE_TYPE_LABEL, GROUP_LABEL)
_CLAIMS = frozenset(CLAIM_LABELS)
# KubeRay writes these into the template of a submitter from 1.7 on; before, only into its Job.
SUBMITTER_LABELS = (ORIGIN_KIND_LABEL, ORIGIN_NAME_LABEL)
# The job controller's user name depends on the flag --use-service-account-credentials of
# kube-controller-manager.
JOB_CONTROLLERS = (
    "system:serviceaccount:kube-system:job-controller",
    "system:kube-controller-manager",
)


class ClusterOwner(NamedTuple):
    """The RayCluster that a pod names in its owner references."""

    name: str
    uid: str


def cluster_owner_of(document: Mapping[str, Any]) -> ClusterOwner | None:
    """The first RayCluster among the owners of a pod, which need not be its controller."""
    # A malformed apiVersion such as ray.io/v1/x claims a cluster too.
    for _, owner in dict_items(metadata_of(document).get("ownerReferences")):
        if owner.get("kind") == "RayCluster" and as_str(owner.get("apiVersion")).startswith(
            f"{RAY_GROUP}/"
        ):
            return ClusterOwner(as_str(owner.get("name")), as_str(owner.get("uid")))
    return None


def claims_in(labels: Mapping[str, Any]) -> dict[str, Any]:
    """The labels by which a pod claims to belong to a RayCluster; one of them is enough."""
    return {name: labels[name] for name in CLAIM_LABELS if name in labels}


def has_claims(labels: Mapping[str, Any]) -> bool:
    """True if a pod with these labels claims to belong to a RayCluster."""
    return not _CLAIMS.isdisjoint(labels)


def submitter_labels_in(labels: Mapping[str, Any]) -> dict[str, Any]:
    """The labels by which a pod claims to submit the job of a RayJob; empty if it does not."""
    if labels.get(ORIGIN_KIND_LABEL) != "RayJob":
        return {}
    return {name: labels[name] for name in SUBMITTER_LABELS if name in labels}


def is_submitter_job(kind: str, document: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """The object is the Job that the RayJob named by these labels controls."""
    owner = controller_of(document)
    if kind != "Job" or owner is None or (owner.group, owner.kind) != (RAY_GROUP, "RayJob"):
        return False
    return owner.name == labels.get(ORIGIN_NAME_LABEL)


def is_submitter_pod(document: Mapping[str, Any]) -> bool:
    """The pod is controlled by a Job with the name of its RayJob, as KubeRay names it."""
    owner = controller_of(document)
    if owner is None or (owner.group, owner.kind) != ("batch", "Job"):
        return False
    return owner.name == labels_of(document).get(ORIGIN_NAME_LABEL)


def has_opted_in(labels: Mapping[str, Any]) -> bool:
    """True if a pod with these labels belongs to a cluster without KubeRay.

    A claim takes precedence: opting in must not bypass the check of the owner.
    """
    return OPT_IN_CLUSTER_LABEL in labels and not has_claims(labels)


def ray_pod(kind: str, document: Mapping[str, Any], place: Pointer) -> Pod | None:
    """The pod or template at `place` in an object that is not KubeRay's; None if it is not Ray's.

    A pod that claims a role it cannot have counts as a worker, because workers get every
    protection.
    """
    raw = as_dict(place.read(document))
    labels = labels_of(raw)
    if has_claims(labels):
        known = (PodRole.HEAD, PodRole.WORKER)
        role = _role(labels.get(NODE_TYPE_LABEL), *known)
        if _is_clean_up(kind, document, labels):
            role = PodRole.CLEANUP
        return Pod(raw, place, role, as_str(labels.get(GROUP_LABEL)))
    if OPT_IN_CLUSTER_LABEL in labels:
        role_label = labels.get(OPT_IN_ROLE_LABEL)
        role = _role(role_label, PodRole.HEAD, PodRole.WORKER, PodRole.CLIENT)
        return Pod(raw, place, role, as_str(role_label))
    if starts_ray(raw):
        return Pod(raw, place, PodRole.WORKER, "")
    if kind == "Pod" and submitter_labels_in(labels):
        return Pod(raw, place, PodRole.SUBMITTER, "")
    return None


def starts_ray(pod: Mapping[str, Any]) -> bool:
    """True if a container of this pod or template visibly runs `ray start`.

    Only commands and arguments count, because the match conditions see no more of a pod without
    labels.
    """
    spec = as_dict(pod.get("spec"))
    for list_name in ("containers", "initContainers"):
        for _, container in dict_items(spec.get(list_name)):
            starts = ray_starts(commands_in(container), container)
            if any(place in (COMMAND, ARGS) for place in starts):
                return True
    return False


def _is_clean_up(kind: str, document: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """The object is the Job by which KubeRay empties Redis for a deleted RayCluster, or its pod.

    The label alone proves nothing. KubeRay makes the RayCluster the controller of that Job, and
    the job controller makes the Job the controller of the pod.
    """
    if labels.get(NODE_TYPE_LABEL) != PodRole.CLEANUP:
        return False
    cluster, owner = as_str(labels.get(RAY_CLUSTER_LABEL)), controller_of(document)
    if not cluster or owner is None:
        return False
    if kind == "Job":
        return (owner.group, owner.kind, owner.name) == (RAY_GROUP, "RayCluster", cluster)
    return kind == "Pod" and (owner.group, owner.kind) == ("batch", "Job")


def _role(label: Any, *known: PodRole) -> PodRole:
    """The role that a label names; a worker if it names none of the `known` roles."""
    return next((role for role in known if role == label), PodRole.WORKER)
