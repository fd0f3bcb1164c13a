"""Nobody reaches Ray's pods but who is meant to."""

from collections.abc import Iterator
from typing import ClassVar

from policies.cluster.exposure import RAY_PORTS
from policies.cluster.isolation import Isolation, foreign_policies, isolation, open_rules
from policies.cluster.network_policy import NetworkPolicy
from policies.cluster.related_object import RelatedObject
from policies.cluster.state import MOST_LOOKED_AT
from policies.documents.pointer import ROOT, Pointer
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import LABEL_PREFIXES, Workload


class NetworkPolicyPresent(Rule):
    """Refuses Ray whose pods no NetworkPolicy closes, and NetworkPolicies that open Ray's ports to everyone.

    They are closed by `spec.networkPolicy` in the modes DenyAll and DenyAllIngress, of which KubeRay (from 1.7, with
    its feature gate) makes the policies, or by a NetworkPolicy of the namespace that selects them. Policies add up: one
    that lets everyone in opens what others close.
    Why: TLS and tokens leave the dashboard agent (52365), metrics and Ray Serve in plain HTTP; what cannot be reached
    need not be trusted.
    Fix: `networkPolicy: {mode: DenyAllIngress}` in the cluster's spec, or a NetworkPolicy.
    """

    id: ClassVar[str] = "network-policy-present"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # A pod KubeRay makes was judged as part of its RayCluster; labels can be taken off it later.
        if workload.is_kuberay_pod and facts.stored is None:
            return
        place, remediation = _place(workload), _fix(workload)
        found = list(isolation(workload, facts.namespace_state))
        for one in found:
            if one.by is Isolation.OPEN:
                close = f"have the NetworkPolicy {', '.join(one.opened_by)} let in only who needs these pods"
                message = f"no NetworkPolicy closes the {one.title}"
                yield self.violation(message, place, close if one.opened_by else remediation)
        if any(one.by is Isolation.UNKNOWN for one in found):
            yield self.unknown(
                "whether a NetworkPolicy closes its pods is not known here", place, remediation
            )
        for pointer in open_rules(workload):
            message = "a rule of spec.networkPolicy lets everyone reach Ray's ports"
            yield self.violation(
                message, pointer, "write from: [{podSelector: {}}], or ports: without Ray's"
            )
        for name in foreign_policies(workload, facts.namespace_state):
            message = (
                f"the NetworkPolicy {name} is not KubeRay's, which then writes none of that name"
            )
            yield self.violation(
                message, place, f"kubectl delete networkpolicy {name} --namespace={facts.namespace}"
            )

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        if related_object.kind != "NetworkPolicy":
            return
        policy = NetworkPolicy.of(related_object.document)
        if _selects_ray(policy, facts):
            for pointer in policy.open_rules(*RAY_PORTS):
                message = "this policy lets everyone reach Ray's ports"
                remediation = "write from: [{podSelector: {}}], ports: without Ray's, or a podSelector without its pods"
                yield self.violation(message, pointer, remediation)


def _selects_ray(policy: NetworkPolicy, facts: Facts) -> bool:
    """By the labels it names, or because pods of a live cluster carry them."""
    if any(name.startswith(LABEL_PREFIXES) for name in policy.selected_names):
        return True
    left = MOST_LOOKED_AT
    for cluster in (facts.namespace_state.ray_clusters or {}).values():
        left -= len(cluster.pod_labels)
        # Of more pods than can be looked at in time, some will be selected.
        if left < 0 or cluster.too_large or any(map(policy.selects, cluster.pod_labels)):
            return True
    return False


def _place(workload: Workload) -> Pointer:
    return workload.cluster.pointer / "networkPolicy" if workload.cluster else ROOT


def _fix(workload: Workload) -> str:
    if workload.cluster:
        kuberay = "(KubeRay 1.7 with its feature gate for it)"
        policy = "a NetworkPolicy that selects ray.io/cluster, and lets in these pods, KubeRay's operator and your Ingress"
        return f"write networkPolicy: {{mode: DenyAllIngress}} {kuberay}, or {policy}"
    labels = ", ".join(
        f"{name}: {value}" for pod in workload.pods[:1] for name, value in pod.labels.items()
    )
    return f"write a NetworkPolicy with podSelector: {{matchLabels: {{{labels}}}}}, that lets in who needs these pods"
