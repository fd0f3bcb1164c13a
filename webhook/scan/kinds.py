"""The kinds that a scan reads, in the order in which it reads them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.metadata import controller_of, metadata_of
from policies.documents.untyped import as_dict, dict_items
from policies.ray.membership import RAY_GROUP
from webhook.kube.objects import pod_has_ended
from webhook.kube.request import Resource

_ENDED_CONDITIONS = ("Complete", "Failed")


@dataclass(frozen=True, slots=True)
class ScannedKind:
    """A kind and its resource, in the versions that an API server may serve, newest first."""

    kind: str
    group: str
    plural: str
    versions: tuple[str, ...] = ("v1",)

    def resources(self) -> Iterator[Resource]:
        """The resource in each version."""
        return (Resource(self.group, version, self.plural) for version in self.versions)

    @property
    def is_of_ray(self) -> bool:
        """Whether a scan without this kind has seen nothing of Ray."""
        return self.group == RAY_GROUP or self.kind == "Pod"

    def complete(self, item: Mapping[str, Any], version: str) -> dict[str, Any]:
        """An item of a list, which states no kind, as the object is written elsewhere."""
        api_version = f"{self.group}/{version}" if self.group else version
        return {"apiVersion": api_version, "kind": self.kind, **item}


_GATEWAY = "gateway.networking.k8s.io"
# An owner is before what it owns, because its findings are not repeated.
SCANNED = (
    ScannedKind("Namespace", "", "namespaces"),
    ScannedKind("RayCronJob", RAY_GROUP, "raycronjobs"),
    ScannedKind("RayJob", RAY_GROUP, "rayjobs"),
    ScannedKind("RayService", RAY_GROUP, "rayservices"),
    ScannedKind("RayCluster", RAY_GROUP, "rayclusters"),
    ScannedKind("CronJob", "batch", "cronjobs"),
    ScannedKind("Job", "batch", "jobs"),
    ScannedKind("Deployment", "apps", "deployments"),
    ScannedKind("ReplicaSet", "apps", "replicasets"),
    ScannedKind("StatefulSet", "apps", "statefulsets"),
    ScannedKind("DaemonSet", "apps", "daemonsets"),
    ScannedKind("ReplicationController", "", "replicationcontrollers"),
    ScannedKind("Pod", "", "pods"),
    ScannedKind("Service", "", "services"),
    ScannedKind("Endpoints", "", "endpoints"),
    ScannedKind("EndpointSlice", "discovery.k8s.io", "endpointslices"),
    ScannedKind("Ingress", "networking.k8s.io", "ingresses"),
    ScannedKind("NetworkPolicy", "networking.k8s.io", "networkpolicies"),
    ScannedKind("HTTPRoute", _GATEWAY, "httproutes", ("v1", "v1beta1")),
    ScannedKind("GRPCRoute", _GATEWAY, "grpcroutes", ("v1", "v1alpha2")),
    ScannedKind("TLSRoute", _GATEWAY, "tlsroutes", ("v1", "v1alpha3", "v1alpha2")),
    ScannedKind("TCPRoute", _GATEWAY, "tcproutes", ("v1", "v1alpha2")),
    ScannedKind("Route", "route.openshift.io", "routes"),
)


def has_ended(kind: str, document: Mapping[str, Any]) -> bool:
    """Whether nothing runs of an object any more: it is deleted, has finished, or was replaced."""
    if "deletionTimestamp" in metadata_of(document):
        return True
    status = as_dict(document.get("status"))
    match kind:
        case "Pod":
            return pod_has_ended(document)
        case "Job":
            conditions = (entry for _, entry in dict_items(status.get("conditions")))
            return any(
                entry.get("type") in _ENDED_CONDITIONS and entry.get("status") == "True"
                for entry in conditions
            )
        case "ReplicaSet":
            # Deployments keep those of earlier revisions.
            replicas = as_dict(document.get("spec")).get("replicas")
            return replicas == 0 and controller_of(document) is not None
    return False
