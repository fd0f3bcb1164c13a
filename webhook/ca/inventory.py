"""Which cluster uses which generation of the seed, what must restart, and what ends when."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certs.authority import cluster_authority
from certs.identity import Cluster
from certs.profile import SOON, CertificateProfile
from certs.rotation import PodCertificateStatus, pod_certificate_status
from certs.seed import Generation, Seed
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.pod import ENROLL_CONTAINER
from policies.ray.workload import OPT_IN_CLUSTER_LABEL, RAY_CLUSTER_LABEL
from webhook.kube.objects import created_of, opted_in_cluster_of, ray_cluster_of


@dataclass(frozen=True)
class ClusterEntry:
    """A cluster with pods that enrolled: the generation that signs for it now, and how its pods stand to it."""

    cluster: Cluster
    generation: Generation
    ca_ends: datetime
    pods: tuple[PodCertificateStatus, ...]

    @property
    def title(self) -> str:
        return f"{self.cluster.namespace}/{self.cluster.name}"

    @property
    def outdated(self) -> int:
        """How many pods have a certificate of a CA that signs no more."""
        return sum(pod.signer is not self.generation for pod in self.pods)

    @property
    def missing_new_ca(self) -> int:
        """How many pods do not trust every CA that may sign next."""
        return sum(pod.missing_new_ca for pod in self.pods)

    def signed_by(self, name: str) -> int:
        """How many pods have a certificate of the generation of this name."""
        return sum(pod.signer is not None and pod.signer.name == name for pod in self.pods)

    @property
    def ends(self) -> datetime:
        """When the first certificate of its pods ends, or its CA."""
        return min(self.ca_ends, *(pod.ends for pod in self.pods))


@dataclass(frozen=True)
class Inventory:
    """The seed as it is stored, and every cluster with pods that enrolled."""

    seed: Seed
    clusters: tuple[ClusterEntry, ...]
    now: datetime

    def using(self, generation: Generation) -> tuple[ClusterEntry, ...]:
        return tuple(entry for entry in self.clusters if entry.generation is generation)

    def ends_soon(self, entry: ClusterEntry) -> bool:
        """Whether something of it ends within 60 days."""
        return entry.ends < self.now + SOON


def take(
    seed: Seed,
    ray_clusters: Iterable[Mapping[str, Any]],
    namespaces: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    profile: CertificateProfile,
    now: datetime,
) -> Inventory:
    """The inventory of live objects, raw as JSON has them. Pods count that have our init container."""
    known = {
        (cluster.namespace, cluster.name): cluster for cluster in map(ray_cluster_of, ray_clusters)
    }
    homes = {as_str(as_dict(one.get("metadata")).get("name")): one for one in namespaces}
    members: dict[Cluster, list[PodCertificateStatus]] = {}
    for pod in filter(_enrolls, pods):
        if cluster := _cluster_of(pod, known, homes):
            members.setdefault(cluster, []).append(
                pod_certificate_status(seed, cluster, created_of(pod), profile)
            )
    ordered = sorted(members, key=lambda cluster: (cluster.namespace, cluster.name))
    return Inventory(
        seed, tuple(_entry(seed, cluster, members[cluster]) for cluster in ordered), now
    )


def _entry(seed: Seed, cluster: Cluster, pods: Iterable[PodCertificateStatus]) -> ClusterEntry:
    generation = seed.for_cluster(cluster.created)
    certificate = cluster_authority(generation, cluster).certificate
    return ClusterEntry(cluster, generation, certificate.not_valid_after_utc, tuple(pods))


def _enrolls(pod: Mapping[str, Any]) -> bool:
    containers = dict_items(as_dict(pod.get("spec")).get("initContainers"))
    return any(container.get("name") == ENROLL_CONTAINER for _, container in containers)


def _cluster_of(
    pod: Mapping[str, Any],
    known: Mapping[tuple[str, str], Cluster],
    homes: Mapping[str, Mapping[str, Any]],
) -> Cluster | None:
    metadata = as_dict(pod.get("metadata"))
    namespace, labels = as_str(metadata.get("namespace")), as_dict(metadata.get("labels"))
    if RAY_CLUSTER_LABEL in labels:
        return known.get((namespace, as_str(labels[RAY_CLUSTER_LABEL])))
    if OPT_IN_CLUSTER_LABEL in labels and namespace in homes:
        return opted_in_cluster_of(homes[namespace], as_str(labels[OPT_IN_CLUSTER_LABEL]))
    return None
