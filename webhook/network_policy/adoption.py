"""Adds existing RayClusters to those for which RayWarden writes NetworkPolicies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.configured import NetworkIsolation
from policies.documents.metadata import annotations_of, name_of, namespace_of
from policies.documents.untyped import as_dict, as_str, printable
from policies.network.infrastructure import Infrastructure
from policies.network.isolation import (
    ISOLATION_ANNOTATION,
    MANAGED,
    ClusterIsolation,
    IsolationMode,
    kuberay_closes,
)
from policies.network.ray_traffic import ClusterTraffic
from policies.network.written import Members, PolicyNames, WrittenPolicy, policies_for
from policies.ray.workload import Workload

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Adoption:
    """A RayCluster that can be adopted, and the policies that RayWarden will write for it."""

    cluster: Object
    traffic: ClusterTraffic
    isolation: ClusterIsolation
    policies: Sequence[WrittenPolicy]

    def __str__(self) -> str:
        return _title(self.cluster)

    def lines(self, lost: Sequence[str]) -> Iterator[str]:
        """What will happen; `lost` are those who can no longer reach the cluster."""
        yield f"{self}: mode {self.isolation.mode}"
        for policy in self.policies:
            yield f"  RayWarden will write the NetworkPolicy {policy.name}:"
            for rule in (*policy.ingress, *(policy.egress or ())):
                yield f"    allows: {rule.reason}"
        for line in lost:
            yield f"  will be closed: {line}"
        if lost:
            yield (
                "  To keep them, name their clients in networkIsolation.allowFrom of the policy "
                "file before you adopt the cluster"
            )


@dataclass(frozen=True, slots=True)
class NotAdopted:
    """A RayCluster that is not adopted, and why."""

    title: str
    why: str

    def __str__(self) -> str:
        return f"{self.title}: {self.why}"


def adoption_of(
    cluster: Object, configured: NetworkIsolation, infrastructure: Infrastructure
) -> Adoption | NotAdopted:
    """What adopting a RayCluster means under this part of the policy file."""
    title, annotations = _title(cluster), annotations_of(cluster)
    if ISOLATION_ANNOTATION in annotations:
        value = printable(as_str(annotations[ISOLATION_ANNOTATION]))
        why = f"already has the annotation {ISOLATION_ANNOTATION}: {value}"
        return NotAdopted(title, why)
    if kuberay_closes(as_dict(cluster.get("spec")).get("networkPolicy")):
        return NotAdopted(
            title, "KubeRay writes its NetworkPolicies, because it has spec.networkPolicy"
        )
    namespace, name = namespace_of(cluster), name_of(cluster)
    adopted = {**annotations, ISOLATION_ANNOTATION: MANAGED}
    isolation = configured.of_namespace(namespace).of_cluster(adopted)
    if isolation.mode is IsolationMode.OFF:
        why = f"the policy file turns network isolation off in the namespace {namespace}"
        return NotAdopted(title, why)
    traffic = ClusterTraffic.of(Workload("RayCluster", cluster))
    names, members = PolicyNames.of(name), Members.of(name)
    written = tuple(policies_for(traffic, isolation, infrastructure, names, members))
    return Adoption(cluster, traffic, isolation, written)


def _title(cluster: Object) -> str:
    return printable(f"RayCluster {namespace_of(cluster)}/{name_of(cluster)}", 400)
