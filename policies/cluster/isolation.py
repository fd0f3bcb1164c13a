"""Whether NetworkPolicies isolate the pods of a workload: KubeRay's own, or the namespace's."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from policies.cluster.exposure import RAY_PORTS
from policies.cluster.network_policy import NetworkPolicy, OpenRule, opening_rules, rules_of
from policies.cluster.state import (
    MAX_COMPARISONS,
    MORE_PORT_PARAMS,
    PORT_PARAMS,
    NamespaceState,
    moved_ports,
)
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items, str_items
from policies.ray.kuberay import labels_of_pods
from policies.ray.pod import PodRole
from policies.ray.workload import LABEL_PREFIXES, ClusterSpec, Workload

# The modes of `spec.networkPolicy` that isolate ingress; the first is the default.
_CLOSED = ("DenyAll", "DenyAllIngress")
# An option of `ray start` in a pod's own command, and its value.
_PORT_OPTION = re.compile(
    rf"--(?:{'|'.join((*PORT_PARAMS, *MORE_PORT_PARAMS))})(?:=|\s{{1,4}})[\"']?([0-9]{{1,5}})\b"
)


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
            pods = _by_namespace(workload, title, labels, known)
        # Policies add up: one of the namespace can open what KubeRay's closes.
        if kuberay_isolates and not pods.opened_by:
            pods = PodIsolation(title, Isolation.CLOSED)
        yield pods


def ray_ports(workload: Workload) -> frozenset[int]:
    """The ports of Ray that run code: its defaults, and those that the workload sets itself."""
    ports = workload.memo.get("ray-ports")
    if not isinstance(ports, frozenset):
        ports = workload.memo["ray-ports"] = frozenset((*RAY_PORTS, *_own_ports(workload)))
    return ports


def _own_ports(workload: Workload) -> Iterator[int]:
    if workload.cluster:
        for group in workload.cluster.groups:
            yield from moved_ports(group)
        return
    for container, _ in workload.containers:
        for field in ("command", "args"):
            # Options and their values can be words of their own.
            text = " ".join(word for _, word in str_items(container.raw.get(field)))
            if "-port" in text:
                yield from map(int, _PORT_OPTION.findall(text))


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
    for rules in _kuberay_rules(workload.cluster):
        yield from (rule.pointer for rule in opening_rules(rules, ray_ports(workload)))


def rules_opening_ray(policy: NetworkPolicy, known: NamespaceState) -> list[OpenRule]:
    """The rules of a NetworkPolicy that allow everyone to reach Ray's ports.

    The policy adds up with the others that select the same pods of a live RayCluster. A policy that
    selects Ray's labels counts as one for pods that are still to come.
    """
    if not policy.open:
        return []
    opening = set[int]()
    if any(name.startswith(LABEL_PREFIXES) for name in policy.selected_names):
        opening |= _places(opening_rules(policy.open, RAY_PORTS))
    others = [
        other for other in known.network_policies or () if other.open and other.name != policy.name
    ]
    budget = MAX_COMPARISONS
    for cluster in (known.ray_clusters or {}).values():
        ports = {port for port in cluster.ports if isinstance(port, int)}.union(RAY_PORTS)
        for labels in cluster.pod_labels:
            budget -= 1 + len(others)
            # With more pods than the time of a request allows to compare, assume that one matches.
            if budget < 0 or cluster.too_large:
                opening |= _places(opening_rules(policy.open, ports))
            elif policy.selects(labels):
                rules = [rule for other in others if other.selects(labels) for rule in other.open]
                opening |= _places(opening_rules([*policy.open, *rules], ports))
    return [rule for rule in policy.open if id(rule) in opening]


def _kuberay_rules(cluster: ClusterSpec | None) -> Iterator[tuple[OpenRule, ...]]:
    """The rules of `spec.networkPolicy` that let someone in from outside, list by list.

    A list that is too large to read lets everyone in.
    """
    policy = kuberay_policy(cluster)
    if policy is None or cluster is None:
        return
    places = [Pointer(("head",)), Pointer(("worker",))]
    for index, _ in dict_items(policy.get("workerGroups")):
        places.append(Pointer(("workerGroups", index)))
    for place in places:
        rules = as_dict(place.read(policy)).get("ingressRules")
        pointer = Pointer((*cluster.pointer, "networkPolicy", *place, "ingressRules"))
        read = rules_of(rules, pointer)
        yield (OpenRule.everything(pointer),) if read is None else read


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


def _by_namespace(
    workload: Workload, title: str, labels: Mapping[str, Any], known: NamespaceState
) -> PodIsolation:
    """What the NetworkPolicies of the namespace do for pods with these labels."""
    if known.network_policies is None:
        return PodIsolation(title, Isolation.UNKNOWN)
    selecting = [policy for policy in known.network_policies if policy.selects(labels)]
    if any(policy.open for policy in selecting):
        # What KubeRay's own policy lets in counts as well, because policies add up.
        rules = [rule for policy in selecting for rule in policy.open]
        kuberays = (rule for own in _kuberay_rules(workload.cluster) for rule in own)
        limited = (rule for rule in kuberays if rule.networks is not None)
        opening = _places(opening_rules([*rules, *limited], ray_ports(workload)))
        names = {policy.name for policy in selecting if opening & _places(policy.open)}
        if names:
            return PodIsolation(title, Isolation.OPEN, tuple(sorted(names)))
    isolated = any(policy.isolates for policy in selecting)
    return PodIsolation(title, Isolation.CLOSED if isolated else Isolation.OPEN)


def _places(rules: Iterable[OpenRule]) -> set[int]:
    """What tells these rules apart from rules of other policies at the same place."""
    return {id(rule) for rule in rules}
