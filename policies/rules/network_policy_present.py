"""NetworkPolicies protect the pods of Ray."""

from collections.abc import Iterator
from typing import ClassVar

from policies.cluster.isolation import (
    Isolation,
    PodIsolation,
    foreign_policies,
    isolation,
    kuberay_policy,
    open_rules,
    rules_opening_ray,
)
from policies.cluster.network_policy import NetworkPolicy
from policies.cluster.related_object import RelatedObject
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import clipped
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload

_INSIDE = "set from: [{podSelector: {}}]"
_OTHER_PODS = "change the podSelector so that it does not match Ray's pods"
# More names do not help the reader, and each can have 253 characters.
_MOST_NAMES = 5


class NetworkPolicyPresent(Rule):
    """Refuses Ray pods without a NetworkPolicy, and NetworkPolicies that open Ray's ports to all.

    A NetworkPolicy of the namespace that selects the pods protects them. So does
    `spec.networkPolicy` with mode DenyAll or DenyAllIngress, but only KubeRay 1.7 or later with the
    feature gate `RayClusterNetworkPolicy` accepts it. NetworkPolicies add up, so one policy can
    open what the others close: it counts as open if it lets everyone reach one of Ray's ports,
    wherever the cluster moved them, or many of the ports that Ray chooses itself. Pods of any
    namespace are everyone, whatever labels they need, because their owners choose these labels. So
    are more public addresses than an IPv4 /15 or an IPv6 /40, in all policies together.
    Why: even with TLS and tokens, the dashboard agent (52365), metrics and Ray Serve use plain
    HTTP, and before Ray 2.54 the agent runs commands even without the token. An attacker cannot
    exploit a port that they cannot reach.
    Fix: create a NetworkPolicy that lets in only the clients of the pods.
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
            remediation = f"{_INSIDE}, or list ports other than Ray's"
            yield self.violation(message, pointer, remediation)
        for name in foreign_policies(workload, facts.namespace_state):
            message = (
                f"the NetworkPolicy {name} does not belong to KubeRay, so KubeRay does not create "
                "its own under that name"
            )
            delete = f"run kubectl delete networkpolicy {name} --namespace={facts.namespace}"
            place = (
                Pointer((*workload.cluster.pointer, "networkPolicy")) if workload.cluster else ROOT
            )
            yield self.violation(message, place, delete)

    def _check_isolation(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        place, remediation = _place(workload), _fix(workload, facts)
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
            names = ", ".join(group.opened_by[:_MOST_NAMES])
            more = len(group.opened_by) - _MOST_NAMES
            if more > 0:
                names = f"{names} and {more} more"
            remediation = f"in the NetworkPolicy {names}, allow only the clients of these pods"
        return self.violation(message, place, remediation)

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        if related_object.kind != "NetworkPolicy":
            return
        policy = NetworkPolicy.of(related_object.document)
        for rule in rules_opening_ray(policy, facts.namespace_state):
            message = "this NetworkPolicy allows everyone to reach Ray's ports"
            remediation = f"{_INSIDE}, or list ports other than Ray's, or {_OTHER_PODS}"
            if rule.networks is not None:
                message = (
                    "this NetworkPolicy and the others for the same pods allow large public "
                    "networks to reach Ray's ports"
                )
                remediation = f"{_INSIDE}, or list fewer public addresses, or {_OTHER_PODS}"
            yield self.violation(message, rule.pointer, remediation)


def _place(workload: Workload) -> Pointer:
    if workload.cluster and kuberay_policy(workload.cluster) is not None:
        return workload.cluster.pointer / "networkPolicy"
    return ROOT / "metadata" / "namespace"


def _fix(workload: Workload, facts: Facts) -> str:
    """A NetworkPolicy for these pods, which each version of KubeRay leaves in place."""
    if workload.cluster is None:
        first = workload.pods[0].labels if workload.pods else {}
        labels = ", ".join(f"{name}: {value}" for name, value in first.items())
        return (
            f"add a NetworkPolicy with podSelector: {{matchLabels: {{{labels}}}}} that allows only "
            "the clients of these pods"
        )
    selector = "{matchExpressions: [{key: ray.io/cluster, operator: Exists}]}"
    if workload.kind == "RayCluster":
        selector = f"{{matchLabels: {{ray.io/cluster: {clipped(workload.name)}}}}}"
    operator = _namespace_of_operator(facts)
    return (
        f"create a NetworkPolicy in the namespace {facts.namespace} with podSelector: {selector} "
        "and ingress: [{from: [{podSelector: {}}, {namespaceSelector: {matchLabels: "
        f"{{kubernetes.io/metadata.name: {operator}}}}}}}]}}], which lets in this namespace and "
        "KubeRay's operator; add your Ingress and Prometheus"
    )


def _namespace_of_operator(facts: Facts) -> str:
    """The namespace of the service account that runs KubeRay, as far as RBAC shows it."""
    accounts = (user.split(":") for user in sorted(facts.namespace_state.rbac.operators))
    return next((parts[2] for parts in accounts if len(parts) == 4), "KUBERAY-NAMESPACE")
