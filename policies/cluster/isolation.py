"""Can anybody reach the pods of a Ray cluster? By KubeRay's own NetworkPolicies, or those of the namespace."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from policies.cluster.exposure import RAY_PORTS
from policies.cluster.network_policy import lets_everyone_in
from policies.cluster.state import MOST_LOOKED_AT, NamespaceState
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.kuberay import labels_of_pods
from policies.ray.pod import PodRole
from policies.ray.workload import ClusterSpec, Workload

# Modes of `spec.networkPolicy` that close what comes in; the default is the first.
_CLOSED = ("DenyAll", "DenyAllIngress")


class Isolation(Enum):
    """What NetworkPolicies do for a set of pods."""

    CLOSED = "closed"
    OPEN = "open"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Isolated:
    """Pods that share their labels, how they are called, and what NetworkPolicies do for them.

    `opened_by` names those that let everyone in.
    """

    title: str
    by: Isolation
    opened_by: tuple[str, ...] = ()


def isolation(workload: Workload, known: NamespaceState) -> Iterator[Isolated]:
    """What NetworkPolicies do for each group of a cluster, or for a pod."""
    listed = list(_labels(workload))
    too_many = len(listed) * len(known.network_policies or ()) > MOST_LOOKED_AT
    for title, labels in listed:
        # More than there is time to look at is as good as not known.
        found = (
            Isolated(title, Isolation.UNKNOWN) if too_many else _by_namespace(title, labels, known)
        )
        # Policies add up: what KubeRay's close another of the namespace may open.
        yield (
            Isolated(title, Isolation.CLOSED)
            if _kuberay_closes(workload.cluster) and not found.opened_by
            else found
        )


def is_closed(workload: Workload, known: NamespaceState) -> bool:
    """All of its pods are known to be closed to strangers."""
    return all(one.by is Isolation.CLOSED for one in isolation(workload, known)) and not any(
        open_rules(workload)
    )


def own_policy(cluster: ClusterSpec | None) -> Mapping[str, Any] | None:
    """`spec.networkPolicy`, of which KubeRay makes a NetworkPolicy for each group; None where there is none."""
    found = cluster.spec.get("networkPolicy") if cluster else None
    return found if isinstance(found, dict) else None


def open_rules(workload: Workload) -> Iterator[Pointer]:
    """Where `spec.networkPolicy` has a rule of its author's that lets everyone reach Ray's ports."""
    policy, cluster = own_policy(workload.cluster), workload.cluster
    if policy is None or cluster is None:
        return
    places = [Pointer(("head",)), Pointer(("worker",))]
    places += [
        Pointer(("workerGroups", index)) for index, _ in dict_items(policy.get("workerGroups"))
    ]
    for place in places:
        for index, rule in dict_items(as_dict(place.read(policy)).get("ingressRules")):
            if lets_everyone_in(rule, RAY_PORTS):
                yield Pointer((*cluster.pointer, "networkPolicy", *place, "ingressRules", index))


def foreign_policies(workload: Workload, known: NamespaceState) -> list[str]:
    """NetworkPolicies that stand where KubeRay would write its own, and which it then leaves alone (KubeRay 1.7)."""
    if (
        own_policy(workload.cluster) is None
        or workload.cluster is None
        or workload.kind != "RayCluster"
    ):
        return []
    names = {
        f"{workload.name}-{_policy_suffix(group.role, group.name)}"
        for group in workload.cluster.groups
    }
    standing = known.network_policies or ()
    return sorted(
        policy.name for policy in standing if policy.name in names and policy.owner != workload.name
    )


def _policy_suffix(role: PodRole, name: str) -> str:
    return "head" if role is PodRole.HEAD else f"workers-{name}"


def _labels(workload: Workload) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if workload.cluster:
        titles = (group.title for group in workload.cluster.groups)
        yield from zip(titles, labels_of_pods(workload), strict=True)
    else:
        # A submitter serves nothing that could be reached.
        yield from (
            (pod.title, pod.labels) for pod in workload.pods if pod.role is not PodRole.SUBMITTER
        )


def _kuberay_closes(cluster: ClusterSpec | None) -> bool:
    policy = own_policy(cluster)
    return policy is not None and (as_str(policy.get("mode")) or _CLOSED[0]) in _CLOSED


def _by_namespace(title: str, labels: Mapping[str, Any], known: NamespaceState) -> Isolated:
    policies = known.network_policies
    if policies is None:
        return Isolated(title, Isolation.UNKNOWN)
    selecting = [policy for policy in policies if policy.selects(labels)]
    opened_by = tuple(
        sorted(policy.name for policy in selecting if any(policy.open_rules(*RAY_PORTS)))
    )
    closed = any(policy.isolates for policy in selecting) and not opened_by
    return Isolated(title, Isolation.CLOSED if closed else Isolation.OPEN, opened_by)
