"""Whether NetworkPolicies isolate the pods of a workload.

Those of its namespace do, those that RayWarden writes for a cluster, and KubeRay's own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import Any

from policies.cluster.exposure import RAY_PORTS
from policies.cluster.state import MAX_COMPARISONS, NamespaceState
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, dict_items, str_items
from policies.network.allowance import Allowance
from policies.network.isolation import ClusterIsolation, IsolationMode
from policies.network.openness import opening_rules
from policies.network.policy import Direction, NetworkPolicy, PolicyRule, rules_of
from policies.network.ports import ALL_PORTS
from policies.network.ray_ports import PORT_PARAMETERS, moved_ports
from policies.network.written import PolicyNames
from policies.ray.kuberay import labels_of_pods
from policies.ray.pod import PodRole
from policies.ray.workload import LABEL_PREFIXES, ClusterSpec, Workload

OFF = ClusterIsolation(IsolationMode.OFF)
# An option of `ray start` in a pod's own command, and its value.
_PORT_OPTION = re.compile(
    rf"--(?:{'|'.join(PORT_PARAMETERS)})(?:=|\s{{1,4}})[\"']?([0-9]{{1,5}})\b"
)


class Isolation(Enum):
    """What NetworkPolicies do for a set of pods."""

    CLOSED = "closed"
    OPEN = "open"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PlannedIsolation:
    """The NetworkPolicies that are made for one cluster: by RayWarden or by KubeRay, never by both.

    `raywarden`: what RayWarden writes; its mode is OFF if it writes none. `kuberay`:
    `spec.networkPolicy`, from which KubeRay makes a policy for each group; None if it makes none,
    or none of ingress.
    """

    raywarden: ClusterIsolation = OFF
    kuberay: Mapping[str, Any] | None = None

    @property
    def is_written(self) -> bool:
        """True if RayWarden writes policies."""
        return self.raywarden.mode is not IsolationMode.OFF

    @property
    def isolates(self) -> bool:
        """True if the planned policies close Ray's ports."""
        return self.is_written or self.kuberay is not None

    def others(self, cluster: str, known: NamespaceState) -> Iterable[NetworkPolicy]:
        """The policies of the namespace that the planned ones do not replace."""
        policies = known.network_policies or ()
        if not self.is_written:
            return policies
        names = PolicyNames.of(cluster)
        return [policy for policy in policies if policy.name not in (names.pods, names.head)]


@dataclass(frozen=True, slots=True)
class PodIsolation:
    """What NetworkPolicies do for pods that share their labels.

    `title` names the pods in messages. `opened_by` names the policies that allow everyone in, and
    `allowed` the entries of `allowFrom` that do.
    """

    title: str
    isolation: Isolation
    opened_by: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


def isolation(
    workload: Workload, known: NamespaceState, planned: PlannedIsolation
) -> Iterator[PodIsolation]:
    """What NetworkPolicies do for each group of a cluster, or for each pod."""
    labeled_pods = list(_labels(workload))
    # A request has no time to match that many, so the answer is unknown.
    too_many = len(labeled_pods) * len(known.network_policies or ()) > MAX_COMPARISONS
    unknown = too_many or (known.network_policies is None and not planned.isolates)
    others = [] if unknown else planned.others(workload.name, known)
    allowed = _allowed(planned.raywarden) if planned.is_written else []
    kuberays = _kuberay_rules(workload.cluster, planned)
    limited = [rule for rule in chain(*kuberays) if rule.strangers is not None]
    for title, labels in labeled_pods:
        if unknown:
            yield PodIsolation(title, Isolation.UNKNOWN)
            continue
        selecting = [policy for policy in others if policy.selects(labels)]
        opened_by, allowing = _opening(selecting, allowed, limited, workload)
        if opened_by or allowing:
            yield PodIsolation(title, Isolation.OPEN, opened_by, allowing)
            continue
        isolated = planned.isolates or any(map(_isolates, selecting))
        yield PodIsolation(title, Isolation.CLOSED if isolated else Isolation.OPEN)


def _isolates(policy: NetworkPolicy) -> bool:
    return policy.isolates(Direction.INGRESS) and policy.is_readable(Direction.INGRESS)


def _opening(
    selecting: Iterable[NetworkPolicy],
    allowed: Iterable[tuple[Allowance, PolicyRule]],
    limited: Iterable[PolicyRule],
    workload: Workload,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the policies, and the texts of the allowances, that open Ray's ports.

    They add up with each other, and with `limited`, the rules of KubeRay's own policy that let in
    public networks.
    """
    opened = [(policy, rule) for policy in selecting for rule in policy.open]
    if not opened and not allowed:
        return (), ()
    rules = [rule for _, rule in (*opened, *allowed)]
    opening = _places(opening_rules([*rules, *limited], ray_ports(workload)))
    names = {policy.name for policy, rule in opened if id(rule) in opening}
    texts = {allowance.text for allowance, rule in allowed if id(rule) in opening}
    return tuple(sorted(names)), tuple(sorted(texts))


def _allowed(written: ClusterIsolation) -> list[tuple[Allowance, PolicyRule]]:
    """The allowances by which RayWarden lets in everyone, or public networks, with their rules."""
    # Without ports, `monitoring` is for metrics alone.
    monitoring = (allowance for allowance in written.monitoring if allowance.ports)
    rules = [(allowance, _rule_of(allowance)) for allowance in (*written.allow_from, *monitoring)]
    return [(allowance, rule) for allowance, rule in rules if rule.is_open]


@lru_cache(maxsize=256)
def _rule_of(allowance: Allowance) -> PolicyRule:
    rule = PolicyRule.of({"from": [allowance.peer()]}, Direction.INGRESS, ROOT)
    return replace(rule, tcp=allowance.ports or ALL_PORTS)


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
    for container in workload.containers:
        for field in ("command", "args"):
            # Options and their values can be words of their own.
            text = " ".join(word for _, word in str_items(container.raw.get(field)))
            if "-port" in text:
                yield from map(int, _PORT_OPTION.findall(text))


def is_closed(workload: Workload, known: NamespaceState, planned: PlannedIsolation) -> bool:
    """True if all pods of the workload are known to be isolated.

    NetworkPolicies do not restrict pods in the node's network.
    """
    if any(pod.spec.get("hostNetwork") is True for pod in workload.pods):
        return False
    groups = isolation(workload, known, planned)
    if any(group.isolation is not Isolation.CLOSED for group in groups):
        return False
    return not any(open_rules(workload, planned))


def open_rules(workload: Workload, planned: PlannedIsolation) -> Iterator[Pointer]:
    """The places of rules in `spec.networkPolicy` that allow everyone to reach Ray's ports."""
    for rules in _kuberay_rules(workload.cluster, planned):
        yield from (rule.pointer for rule in opening_rules(rules, ray_ports(workload)))


def rules_opening_ray(policy: NetworkPolicy, known: NamespaceState) -> list[PolicyRule]:
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


def _kuberay_rules(
    cluster: ClusterSpec | None, planned: PlannedIsolation
) -> Iterator[tuple[PolicyRule, ...]]:
    """The rules of `spec.networkPolicy` that let someone in from outside, list by list.

    A list that is too large to read lets everyone in.
    """
    policy = planned.kuberay
    if policy is None or cluster is None:
        return
    places = [Pointer(("head",)), Pointer(("worker",))]
    for index, _ in dict_items(policy.get("workerGroups")):
        places.append(Pointer(("workerGroups", index)))
    for place in places:
        entries = as_dict(place.read(policy)).get("ingressRules")
        pointer = Pointer((*cluster.pointer, "networkPolicy", *place, "ingressRules"))
        rules = rules_of(entries, Direction.INGRESS, pointer)
        if rules is None:
            rules = (PolicyRule.for_everyone(pointer),)
        yield tuple(rule for rule in rules if rule.is_open)


def foreign_policies(
    workload: Workload, known: NamespaceState, planned: PlannedIsolation
) -> list[str]:
    """NetworkPolicies of other owners that have the names KubeRay uses for its own.

    KubeRay leaves them unchanged (KubeRay 1.7), so the cluster would not get its policy.
    """
    if workload.kind != "RayCluster" or workload.cluster is None:
        return []
    if planned.kuberay is None:
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


def _places(rules: Iterable[PolicyRule]) -> set[int]:
    """What tells these rules apart from rules of other policies at the same place."""
    return {id(rule) for rule in rules}
