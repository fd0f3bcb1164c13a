"""NetworkPolicies protect the pods of Ray."""

from collections.abc import Iterator
from typing import ClassVar

from policies.cluster.exposure import RAY_PORTS
from policies.cluster.isolation import (
    Isolation,
    PodIsolation,
    foreign_policies,
    isolation,
    open_rules,
)
from policies.cluster.network_policy import NetworkPolicy
from policies.cluster.related_object import RelatedObject
from policies.cluster.state import MAX_COMPARISONS
from policies.documents.pointer import ROOT, Pointer
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import LABEL_PREFIXES, Workload


class NetworkPolicyPresent(Rule):
    """Refuses Ray pods without a NetworkPolicy, and NetworkPolicies that open Ray's ports to all.

    `spec.networkPolicy` with mode DenyAll or DenyAllIngress protects the pods: KubeRay creates the
    NetworkPolicies (version 1.7 or later, with its feature gate on). A NetworkPolicy of the
    namespace that selects the pods protects them, too. NetworkPolicies add up, so a single policy
    that allows everyone opens what the others close.
    Why: even with TLS and tokens, the dashboard agent (52365), metrics and Ray Serve use plain
    HTTP. An attacker cannot exploit a port that they cannot reach.
    Fix: set `networkPolicy: {mode: DenyAllIngress}` in the cluster's spec, or add a NetworkPolicy.
    """

    id: ClassVar[str] = "network-policy-present"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # A pod that KubeRay creates was checked as part of its RayCluster. An update of such a pod
        # is checked, because it can remove the labels that a NetworkPolicy selects.
        if workload.is_kuberay_pod and facts.stored is None:
            return
        yield from self._check_isolation(workload, facts)
        for pointer in open_rules(workload):
            message = "a rule of spec.networkPolicy allows everyone to reach Ray's ports"
            remediation = "set from: [{podSelector: {}}], or list ports other than Ray's"
            yield self.violation(message, pointer, remediation)
        for name in foreign_policies(workload, facts.namespace_state):
            message = (
                f"the NetworkPolicy {name} does not belong to KubeRay, so KubeRay does not create "
                "its own under that name"
            )
            delete = f"run kubectl delete networkpolicy {name} --namespace={facts.namespace}"
            yield self.violation(message, _place(workload), delete)

    def _check_isolation(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        place, remediation = _place(workload), _fix(workload)
        groups = list(isolation(workload, facts.namespace_state))
        for group in groups:
            if group.isolation is Isolation.OPEN:
                yield self._open(group, place, remediation)
        if any(group.isolation is Isolation.UNKNOWN for group in groups):
            message = (
                "RayWarden cannot verify that NetworkPolicies restrict access to these pods: the "
                "policies are unknown, or too many to check"
            )
            yield self.unknown(message, place, remediation)

    def _open(self, group: PodIsolation, place: Pointer, remediation: str) -> Violation:
        # One message for both cases: on UPDATE, violations are compared by their message.
        message = f"NetworkPolicies do not restrict access to the {group.title}"
        if group.opened_by:
            names = ", ".join(group.opened_by)
            remediation = f"in the NetworkPolicy {names}, allow only the clients of these pods"
        return self.violation(message, place, remediation)

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        if related_object.kind != "NetworkPolicy":
            return
        policy = NetworkPolicy.of(related_object.document)
        if _selects_ray(policy, facts):
            for pointer in policy.open_rules(*RAY_PORTS):
                message = "this NetworkPolicy allows everyone to reach Ray's ports"
                remediation = (
                    "set from: [{podSelector: {}}], or list ports other than Ray's, or change the "
                    "podSelector so that it does not match Ray's pods"
                )
                yield self.violation(message, pointer, remediation)


def _selects_ray(policy: NetworkPolicy, facts: Facts) -> bool:
    """The policy selects Ray's labels, or labels that pods of a live cluster carry."""
    if any(name.startswith(LABEL_PREFIXES) for name in policy.selected_names):
        return True
    budget = MAX_COMPARISONS
    for cluster in (facts.namespace_state.ray_clusters or {}).values():
        budget -= len(cluster.pod_labels)
        # With more pods than the time of a request allows to compare, assume that one matches.
        if budget < 0 or cluster.too_large or any(map(policy.selects, cluster.pod_labels)):
            return True
    return False


def _place(workload: Workload) -> Pointer:
    return workload.cluster.pointer / "networkPolicy" if workload.cluster else ROOT


def _fix(workload: Workload) -> str:
    if workload.cluster:
        return (
            "set networkPolicy: {mode: DenyAllIngress} (KubeRay 1.7 with its feature gate), or add "
            "a NetworkPolicy that selects ray.io/cluster and allows these pods, KubeRay's operator "
            "and your Ingress"
        )
    first = workload.pods[0].labels if workload.pods else {}
    labels = ", ".join(f"{name}: {value}" for name, value in first.items())
    return (
        f"add a NetworkPolicy with podSelector: {{matchLabels: {{{labels}}}}} that allows only the "
        "clients of these pods"
    )
