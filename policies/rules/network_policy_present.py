"""NetworkPolicies protect the pods of Ray."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from policies.cluster.pod_isolation import (
    Isolation,
    PlannedIsolation,
    PodIsolation,
    foreign_policies,
    isolation,
    open_rules,
    rules_opening_ray,
)
from policies.cluster.related_object import RelatedObject
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import clipped
from policies.injection.network import planned_isolation
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.network.isolation import (
    ALLOW_FROM_ANNOTATION,
    ISOLATION_ANNOTATION,
    IsolationMode,
    allowances_of,
)
from policies.network.policy import NetworkPolicy
from policies.ray.operator import NETWORK_POLICY_GATE
from policies.ray.workload import Workload

_INSIDE = "set from: [{podSelector: {}}]"
_OTHER_PODS = "change the podSelector so that it does not match Ray's pods"
# More names do not help the reader, and each can have 253 characters.
_MAX_NAMES = 5


class NetworkPolicyPresent(Rule):
    """Refuses Ray pods without a NetworkPolicy, and NetworkPolicies that open Ray's ports to all.

    The NetworkPolicies that RayWarden writes for a RayCluster protect its pods: for each new one,
    unless `networkIsolation` in the policy file is off, and for an older one that was adopted with
    `raywarden network-policy --adopt`. So does a NetworkPolicy of the namespace that selects the
    pods, and `spec.networkPolicy` with mode DenyAll or DenyAllIngress. KubeRay accepts that field
    only from version 1.7 on and with the feature gate `RayClusterNetworkPolicy`; the rule warns if
    it is known not to. NetworkPolicies add up, so one policy can open what the others close: it
    counts as open if it lets everyone reach one of Ray's ports, wherever the cluster moved them, or
    many of the ports that Ray chooses itself. Pods of any namespace are everyone, whatever labels
    they need, because their owners choose these labels. So are more public addresses than an IPv4
    /15 or an IPv6 /40, in all policies together.
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
        planned = planned_isolation(workload, facts)
        yield from self._check_isolation(workload, facts, planned)
        yield from self._check_kuberays(workload, facts, planned)

    def _check_kuberays(
        self, workload: Workload, facts: Facts, planned: PlannedIsolation
    ) -> Iterator[Violation]:
        """`spec.networkPolicy`, from which KubeRay makes NetworkPolicies."""
        if workload.cluster is None or "networkPolicy" not in workload.cluster.spec:
            return
        place = Pointer((*workload.cluster.pointer, "networkPolicy"))
        yield from self._check_support(place, facts)
        for pointer in open_rules(workload, planned):
            message = "a rule of spec.networkPolicy allows everyone to reach Ray's ports"
            remediation = f"{_INSIDE}, or list ports other than Ray's"
            yield self.violation(message, pointer, remediation)
        for name in foreign_policies(workload, facts.namespace_state, planned):
            message = (
                f"the NetworkPolicy {name} does not belong to KubeRay, so KubeRay does not create "
                "its own under that name"
            )
            delete = f"run kubectl delete networkpolicy {name} --namespace={facts.namespace}"
            yield self.violation(message, place, delete)

    def _check_support(self, place: Pointer, facts: Facts) -> Iterator[Violation]:
        """Whether the KubeRay that runs here makes policies from `spec.networkPolicy`."""
        kuberay = facts.namespace_state.kuberay
        if kuberay.drops_network_policy:
            message = "KubeRay before 1.7 does not have spec.networkPolicy, and ignores it"
        elif kuberay.refuses_network_policy:
            message = (
                f"KubeRay refuses a RayCluster with spec.networkPolicy unless its feature gate "
                f"{NETWORK_POLICY_GATE} is on"
            )
        else:
            return
        remediation = "remove networkPolicy, and create NetworkPolicies for the RayCluster"
        if facts.network_isolation.of_namespace(facts.namespace).mode is not IsolationMode.OFF:
            remediation = (
                "remove networkPolicy; RayWarden writes NetworkPolicies for each new RayCluster"
            )
        yield self.violation(message, place, remediation, advisory=True)

    def _check_isolation(
        self, workload: Workload, facts: Facts, planned: PlannedIsolation
    ) -> Iterator[Violation]:
        place = _place(workload)
        for group in isolation(workload, facts.namespace_state, planned):
            if group.isolation is Isolation.OPEN:
                yield self._open(group, place, workload, facts)
            elif group.isolation is Isolation.UNKNOWN:
                message = (
                    "RayWarden cannot verify that NetworkPolicies restrict access to these pods: "
                    "the policies are unknown, or too many to check"
                )
                yield self.unknown(message, place, _fix(workload, facts))
                return

    def _open(
        self, group: PodIsolation, place: Pointer, workload: Workload, facts: Facts
    ) -> Violation:
        # One message for all cases: on UPDATE, violations are compared by their message.
        message = f"NetworkPolicies do not restrict access to the {group.title}"
        if group.opened_by:
            names = _listed(group.opened_by)
            remediation = f"let only clients reach Ray's ports in the NetworkPolicy {names}"
        elif group.allowed:
            remediation = _fix_allowances(group.allowed, workload)
        else:
            remediation = _fix(workload, facts)
        return self.violation(message, place, remediation)

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        if related_object.kind != "NetworkPolicy":
            return
        policy = NetworkPolicy(related_object.document)
        for rule in rules_opening_ray(policy, facts.namespace_state):
            message = "this NetworkPolicy allows everyone to reach Ray's ports"
            remediation = f"{_INSIDE}, or list ports other than Ray's, or {_OTHER_PODS}"
            if rule.strangers is not None:
                message = (
                    "this NetworkPolicy and the others for the same pods allow large public "
                    "networks to reach Ray's ports"
                )
                remediation = f"{_INSIDE}, or list fewer public addresses, or {_OTHER_PODS}"
            yield self.violation(message, rule.pointer, remediation)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    listed = ", ".join(names[:_MAX_NAMES])
    return f"{listed} and {more} more" if more > 0 else listed


def _place(workload: Workload) -> Pointer:
    if workload.cluster and "networkPolicy" in workload.cluster.spec:
        return workload.cluster.pointer / "networkPolicy"
    return ROOT / "metadata" / "namespace"


def _fix_allowances(texts: Sequence[str], workload: Workload) -> str:
    """What to do about entries of `allowFrom` that let in everyone."""
    own = {allowance.text for allowance in allowances_of(workload.annotations)}
    if own.isdisjoint(texts):
        return f"ask the administrator to narrow {_listed(texts)} in networkIsolation.allowFrom"
    return f"name a namespace instead of {_listed(texts)} in {ALLOW_FROM_ANNOTATION}"


def _fix(workload: Workload, facts: Facts) -> str:
    """How to get a NetworkPolicy for these pods, with each version of KubeRay."""
    if workload.cluster is None:
        first = workload.pods[0].labels if workload.pods else {}
        labels = ", ".join(f"{name}: {value}" for name, value in first.items())
        return (
            f"add a NetworkPolicy with podSelector: {{matchLabels: {{{labels}}}}} that allows only "
            "the clients of these pods"
        )
    if _can_be_adopted(workload, facts):
        name = f"{facts.namespace}/{clipped(workload.name)}"
        return f"run raywarden network-policy --adopt {name}, and RayWarden writes NetworkPolicies"
    selector = "{matchExpressions: [{key: ray.io/cluster, operator: Exists}]}"
    if workload.kind == "RayCluster":
        selector = f"{{matchLabels: {{ray.io/cluster: {clipped(workload.name)}}}}}"
    operators = facts.namespace_state.operator_namespaces
    operator = operators[0] if operators else "KUBERAY-NAMESPACE"
    return (
        f"create a NetworkPolicy in the namespace {facts.namespace} with podSelector: {selector} "
        "and ingress: [{from: [{podSelector: {}}, {namespaceSelector: {matchLabels: "
        f"{{kubernetes.io/metadata.name: {operator}}}}}}}]}}], which lets in this namespace and "
        "KubeRay's operator; add your Ingress and Prometheus"
    )


def _can_be_adopted(workload: Workload, facts: Facts) -> bool:
    """A RayCluster from before RayWarden's isolation, for which it writes nothing until asked."""
    is_older = workload.kind == "RayCluster" and facts.stored is not None
    if not is_older or ISOLATION_ANNOTATION in workload.annotations:
        return False
    in_file = facts.network_isolation.of_namespace(facts.namespace)
    return in_file.mode is not IsolationMode.OFF
