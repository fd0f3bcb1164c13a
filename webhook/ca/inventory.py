"""Which cluster uses which generation, which pods must restart, and what expires when."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certs.authority import cluster_authority
from certs.identity import Cluster
from certs.profile import EXPIRY_WARNING, CertificateProfile
from certs.rotation import PodCertificateStatus, pod_certificate_status
from certs.seed import Generation, Seed
from policies.documents.metadata import labels_of, name_of, namespace_of
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.membership import OPT_IN_CLUSTER_LABEL, RAY_CLUSTER_LABEL, has_opted_in
from policies.ray.pod import ENROLL_CONTAINER
from webhook.kube.objects import created_of, opted_in_cluster_of, ray_cluster_of


@dataclass(frozen=True)
class ClusterEntry:
    """A cluster with enrolled pods, and the generation of the seed that signs for it now."""

    cluster: Cluster
    generation: Generation
    ca_ends: datetime
    pods: tuple[PodCertificateStatus, ...]

    @property
    def title(self) -> str:
        return f"{self.cluster.namespace}/{self.cluster.name}"

    @property
    def outdated(self) -> int:
        """How many pods have a certificate from a CA that no longer signs for this cluster."""
        return sum(pod.signer is not self.generation for pod in self.pods)

    @property
    def missing_new_ca(self) -> int:
        """How many pods do not trust every CA that may sign for this cluster later."""
        return sum(pod.missing_new_ca for pod in self.pods)

    def signed_by(self, name: str) -> int:
        """How many pods have a certificate from the generation of this name."""
        return sum(pod.signer is not None and pod.signer.name == name for pod in self.pods)

    @property
    def ends(self) -> datetime:
        """When the cluster's CA or the first certificate of its pods expires."""
        return min(self.ca_ends, *(pod.ends for pod in self.pods))


@dataclass(frozen=True)
class Inventory:
    """The stored seed, and every cluster with enrolled pods."""

    seed: Seed
    clusters: tuple[ClusterEntry, ...]
    now: datetime

    def using(self, generation: Generation) -> tuple[ClusterEntry, ...]:
        """The clusters that `generation` signs for."""
        return tuple(entry for entry in self.clusters if entry.generation is generation)

    def ends_soon(self, entry: ClusterEntry) -> bool:
        """Whether the cluster's CA or a certificate of its pods expires within 60 days."""
        return entry.ends < self.now + EXPIRY_WARNING


def take_inventory(
    seed: Seed,
    ray_clusters: Iterable[Mapping[str, Any]],
    namespaces: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    profile: CertificateProfile,
    now: datetime,
) -> Inventory:
    """The inventory of live objects, given as JSON values.

    Only pods with RayWarden's init container count, and only if their cluster still exists.
    """
    clusters_by_name: dict[tuple[str, str], Cluster] = {}
    for document in ray_clusters:
        cluster = ray_cluster_of(document)
        clusters_by_name[cluster.namespace, cluster.name] = cluster
    namespaces_by_name = {name_of(namespace): namespace for namespace in namespaces}
    statuses: dict[Cluster, list[PodCertificateStatus]] = {}
    for pod in filter(_enrolls, pods):
        pod_cluster = _cluster_of(pod, clusters_by_name, namespaces_by_name)
        if pod_cluster:
            status = pod_certificate_status(seed, pod_cluster, created_of(pod), profile)
            statuses.setdefault(pod_cluster, []).append(status)
    ordered = sorted(statuses, key=lambda cluster: (cluster.namespace, cluster.name))
    entries = tuple(_entry(seed, cluster, statuses[cluster]) for cluster in ordered)
    return Inventory(seed, entries, now)


def _entry(seed: Seed, cluster: Cluster, pods: Iterable[PodCertificateStatus]) -> ClusterEntry:
    generation = seed.for_cluster(cluster.created)
    certificate = cluster_authority(generation, cluster).certificate
    return ClusterEntry(cluster, generation, certificate.not_valid_after_utc, tuple(pods))


def _enrolls(pod: Mapping[str, Any]) -> bool:
    containers = dict_items(as_dict(pod.get("spec")).get("initContainers"))
    return any(container.get("name") == ENROLL_CONTAINER for _, container in containers)


def _cluster_of(
    pod: Mapping[str, Any],
    clusters_by_name: Mapping[tuple[str, str], Cluster],
    namespaces_by_name: Mapping[str, Mapping[str, Any]],
) -> Cluster | None:
    """The RayCluster that the pod's label names, or its cluster of Ray without KubeRay."""
    namespace, labels = namespace_of(pod), labels_of(pod)
    if RAY_CLUSTER_LABEL in labels:
        return clusters_by_name.get((namespace, as_str(labels[RAY_CLUSTER_LABEL])))
    if has_opted_in(labels) and namespace in namespaces_by_name:
        name = as_str(labels[OPT_IN_CLUSTER_LABEL])
        return opted_in_cluster_of(namespaces_by_name[namespace], name)
    return None
