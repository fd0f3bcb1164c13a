"""The NetworkPolicies of a cluster, by what the object and the policy file say."""

from collections.abc import Iterable, Mapping
from typing import Any

from policies.cluster.pod_isolation import PlannedIsolation
from policies.cluster.state import LiveCluster
from policies.injection.contract import is_opted_out
from policies.model import Facts
from policies.network.infrastructure import Infrastructure
from policies.network.isolation import (
    ISOLATION_ANNOTATION,
    MANAGED,
    ClusterIsolation,
    IsolationMode,
    kuberay_closes,
)
from policies.network.policy import NetworkPolicy
from policies.network.ray_traffic import ClusterTraffic
from policies.network.written import Members, PolicyNames, policies_for
from policies.ray.kuberay import copies_metadata
from policies.ray.workload import Workload

_MEMO = "planned-isolation"


def planned_isolation(workload: Workload, facts: Facts) -> PlannedIsolation:
    """The policies that RayWarden or KubeRay makes for a workload, now or when it is admitted."""
    planned = workload.memo.get(_MEMO)
    if not isinstance(planned, PlannedIsolation):
        planned = workload.memo[_MEMO] = _planned_isolation(workload, facts)
    return planned


def _planned_isolation(workload: Workload, facts: Facts) -> PlannedIsolation:
    if workload.cluster is None:
        return PlannedIsolation()
    of_kuberay = workload.cluster.spec.get("networkPolicy")
    # Where KubeRay leaves ingress open (DenyAllEgress), RayWarden closes it.
    dropped = facts.namespace_state.kuberay.drops_network_policy
    if kuberay_closes(of_kuberay) and not dropped:
        return PlannedIsolation(kuberay=of_kuberay)
    if is_opted_out(workload, facts):
        return PlannedIsolation()
    is_cluster = workload.kind == "RayCluster"
    # KubeRay copies annotations of some kinds only.
    annotations = workload.annotations if is_cluster or copies_metadata(workload) else {}
    # KubeRay creates a RayCluster from other kinds, and RayWarden adds the annotation to that.
    if not is_cluster:
        annotations = {ISOLATION_ANNOTATION: MANAGED, **annotations}
    in_file = facts.network_isolation.of_namespace(facts.namespace)
    return PlannedIsolation(in_file.of_cluster(annotations))


def isolation_of_live(cluster: LiveCluster, facts: Facts) -> ClusterIsolation:
    """What RayWarden writes for a RayCluster that exists."""
    return facts.network_isolation.of_namespace(facts.namespace).of_cluster(cluster.isolation)


def written_policies(
    traffic: ClusterTraffic, isolation: ClusterIsolation, facts: Facts
) -> Iterable[NetworkPolicy]:
    """The policies that RayWarden writes for a RayCluster, as views."""
    if isolation.mode is IsolationMode.OFF:
        return []
    names, members = PolicyNames.of(traffic.name), Members.of(traffic.name)
    written = policies_for(traffic, isolation, infrastructure(facts), names, members)
    return [NetworkPolicy(_document(policy.name, policy.spec)) for policy in written]


def policies_around(
    traffic: ClusterTraffic, isolation: ClusterIsolation, facts: Facts
) -> list[NetworkPolicy]:
    """The policies of the namespace, and those that RayWarden writes for a RayCluster."""
    others = PlannedIsolation(isolation).others(traffic.name, facts.namespace_state)
    return [*others, *written_policies(traffic, isolation, facts)]


def infrastructure(facts: Facts) -> Infrastructure:
    """What clusters work with, as far as RBAC and RayWarden's own settings show it."""
    signer = (facts.signer.namespace, facts.signer.port)
    return Infrastructure(facts.namespace_state.operator_namespaces, signer)


def _document(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}
