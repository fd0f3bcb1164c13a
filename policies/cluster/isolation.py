"""Whether NetworkPolicies isolate the pods of a workload: KubeRay's own, or the namespace's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from policies.cluster.exposure import RAY_PORTS
from policies.cluster.network_policy import allows_everyone
from policies.cluster.state import MAX_COMPARISONS, NamespaceState
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.kuberay import labels_of_pods
from policies.ray.pod import PodRole
from policies.ray.workload import ClusterSpec, Workload

# The modes of `spec.networkPolicy` that isolate ingress; the first is the default.
_CLOSED = ("DenyAll", "DenyAllIngress")


class Isolation(Enum):
    """What NetworkPolicies do for a set of pods."""

    CLOSED = "closed"
    OPEN = "open"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PodIsolation:
    """What NetworkPolicies do for pods that share their labels.

    `title` names the pods in messages; `opened_by` names the policies that allow everyone in.
    """

    title: str
    isolation: Isolation
    opened_by: tuple[str, ...] = ()


def isolation(workload: Workload, known: NamespaceState) -> Iterator[PodIsolation]:
    """What NetworkPolicies do for each group of a cluster, or for each pod."""
    labeled_pods = list(_labels(workload))
    kuberay_isolates = _kuberay_isolates(workload.cluster)
    # A request has no time to match that many, so the answer is unknown.
    too_many = len(labeled_pods) * len(known.network_policies or ()) > MAX_COMPARISONS
    for title, labels in labeled_pods:
        if too_many:
            pods = PodIsolation(title, Isolation.UNKNOWN)
        else:
            pods = _by_namespace(title, labels, known)
        # Policies add up: one of the namespace can open what KubeRay's closes.
        if kuberay_isolates and not pods.opened_by:
            pods = PodIsolation(title, Isolation.CLOSED)
        yield pods


def is_closed(workload: Workload, known: NamespaceState) -> bool:
    """True if all pods of the workload are known to be isolated."""
    if any(pods.isolation is not Isolation.CLOSED for pods in isolation(workload, known)):
        return False
    return not any(open_rules(workload))


def kuberay_policy(cluster: ClusterSpec | None) -> Mapping[str, Any] | None:
    """`spec.networkPolicy`, from which KubeRay creates a NetworkPolicy for each group.

    None if the cluster does not have it.
    """
    policy = cluster.spec.get("networkPolicy") if cluster else None
    return policy if isinstance(policy, dict) else None


def open_rules(workload: Workload) -> Iterator[Pointer]:
    """The places of rules in `spec.networkPolicy` that allow everyone to reach Ray's ports."""
    policy, cluster = kuberay_policy(workload.cluster), workload.cluster
    if policy is None or cluster is None:
        return
    places = [Pointer(("head",)), Pointer(("worker",))]
    for index, _ in dict_items(policy.get("workerGroups")):
        places.append(Pointer(("workerGroups", index)))
    for place in places:
        for index, rule in dict_items(as_dict(place.read(policy)).get("ingressRules")):
            if allows_everyone(rule, RAY_PORTS):
                yield Pointer((*cluster.pointer, "networkPolicy", *place, "ingressRules", index))


def foreign_policies(workload: Workload, known: NamespaceState) -> list[str]:
    """NetworkPolicies of other owners that have the names KubeRay uses for its own.

    KubeRay leaves them unchanged (KubeRay 1.7), so the cluster would not get its policy.
    """
    if workload.kind != "RayCluster" or workload.cluster is None:
        return []
    if kuberay_policy(workload.cluster) is None:
        return []
    suffixes = (_policy_suffix(group.role, group.name) for group in workload.cluster.groups)
    names = {f"{workload.name}-{suffix}" for suffix in suffixes}
    return sorted(
        policy.name
        for policy in known.network_policies or ()
        if policy.name in names and policy.owner != workload.name
    )


def _policy_suffix(role: PodRole, name: str) -> str:
    return "head" if role is PodRole.HEAD else f"workers-{name}"


def _labels(workload: Workload) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The title and the labels of each group's pods, or of each pod."""
    if workload.cluster:
        titles = (group.title for group in workload.cluster.groups)
        yield from zip(titles, labels_of_pods(workload), strict=True)
        return
    for pod in workload.pods:
        # A submitter listens on no port.
        if pod.role is not PodRole.SUBMITTER:
            yield pod.title, pod.labels


def _kuberay_isolates(cluster: ClusterSpec | None) -> bool:
    policy = kuberay_policy(cluster)
    return policy is not None and (as_str(policy.get("mode")) or _CLOSED[0]) in _CLOSED


def _by_namespace(title: str, labels: Mapping[str, Any], known: NamespaceState) -> PodIsolation:
    """What the NetworkPolicies of the namespace do for pods with these labels."""
    if known.network_policies is None:
        return PodIsolation(title, Isolation.UNKNOWN)
    selecting = [policy for policy in known.network_policies if policy.selects(labels)]
    opening = [policy.name for policy in selecting if any(policy.open_rules(*RAY_PORTS))]
    if opening:
        return PodIsolation(title, Isolation.OPEN, tuple(sorted(opening)))
    isolated = any(policy.isolates for policy in selecting)
    return PodIsolation(title, Isolation.CLOSED if isolated else Isolation.OPEN)
