"""What manifests say about the cluster they belong to: all that the development server and the command line know."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from policies.cluster.clouds import QUOTA_KINDS
from policies.cluster.network_policy import NetworkPolicy
from policies.cluster.rbac import RbacBinding, RbacGrants, RbacRole
from policies.cluster.state import (
    LiveCluster,
    LiveService,
    NamespaceState,
    namespaces_in_quota,
)
from policies.documents.untyped import as_dict, as_str
from policies.ray import kuberay
from policies.ray.workload import RAY_GROUP, Kind, Workload

_RBAC = "rbac.authorization.k8s.io"


class ManifestNamespaces:
    """`ports.Neighbourhoods` over a set of manifests.

    What no manifest speaks of is not known, rather than not there: nobody commits a whole cluster to one folder. Where
    they are `complete`, they are the cluster. `namespace` is that of manifests that name none.
    """

    def __init__(
        self, documents: Iterable[Any], namespace: str = "default", *, complete: bool = False
    ) -> None:
        self._default = namespace
        self._complete = complete
        self._metadata: dict[str, Mapping[str, Any]] = {}
        self._clusters: dict[str, dict[str, LiveCluster]] = defaultdict(dict)
        self._services: dict[str, dict[str, LiveService]] = defaultdict(dict)
        self._public: dict[str, list[LiveService]] = defaultdict(list)
        self._policies: dict[str, list[NetworkPolicy]] = defaultdict(list)
        self._quotas: dict[str, list[str]] = defaultdict(list)
        roles: dict[str, RbacRole] = {}
        bindings: list[RbacBinding] = []
        for document in map(_reviewed, documents):
            kind = Kind.of(document)
            if (kind.group, kind.kind) == (_RBAC, "ClusterRole"):
                roles[_name(document)] = RbacRole.of(document)
            elif (kind.group, kind.kind) == (_RBAC, "ClusterRoleBinding"):
                bindings.append(RbacBinding.of(document))
            else:
                self._take(kind, document)
        rights = RbacGrants.of(roles, bindings)
        # Pods that a dry run makes are KubeRay's, whoever that is.
        self._rights = replace(
            rights,
            operators=rights.operators | {kuberay.OPERATOR},
            complete=complete or bool(bindings),
        )

    def state_of(self, namespace: str) -> NamespaceState:
        """What the manifests say about `namespace`."""
        nothing = NamespaceState(ray_clusters={}, services={}, network_policies=(), quotas=())
        unsaid = nothing if self._complete else NamespaceState()
        services = self._services.get(namespace, unsaid.services)
        return NamespaceState(
            metadata=self._metadata.get(namespace),
            ray_clusters=self._clusters.get(namespace, unsaid.ray_clusters),
            services=services,
            public_services=self._public.get(namespace, ()) if services is not None else None,
            network_policies=self._policies.get(namespace, unsaid.network_policies),
            quotas=self._quotas.get(namespace, unsaid.quotas),
            rights=self._rights,
        )

    def _take(self, kind: Kind, document: Mapping[str, Any]) -> None:
        namespace = as_str(as_dict(document.get("metadata")).get("namespace")) or self._default
        if kind.group == RAY_GROUP:
            for cluster in _clusters(kind, document):
                self._clusters[namespace][cluster.name] = cluster
            return
        match (kind.group, kind.kind):
            case ("", "Namespace"):
                self._metadata[_name(document)] = as_dict(document.get("metadata"))
            case ("", "Service"):
                self._take_service(namespace, LiveService.of(document))
            case ("networking.k8s.io", "NetworkPolicy"):
                self._policies[namespace].append(NetworkPolicy.of(document))
            case quota if quota in QUOTA_KINDS:
                for name in namespaces_in_quota(document):
                    self._quotas[name or namespace].append(_name(document))

    def _take_service(self, namespace: str, service: LiveService) -> None:
        self._services[namespace][service.name] = service
        if service.public:
            self._public[namespace].append(service)


def _clusters(kind: Kind, document: Mapping[str, Any]) -> Iterator[LiveCluster]:
    """The RayCluster a manifest of KubeRay's is, or becomes."""
    workload = Workload.of(kind, document)
    made = kuberay.cluster_of(workload) if workload and workload.kind != "RayCluster" else document
    if workload and made:
        yield LiveCluster.of(made)


def _reviewed(document: Any) -> Mapping[str, Any]:
    """A manifest, or the object of a recorded AdmissionReview."""
    found = as_dict(document)
    return (
        as_dict(as_dict(found.get("request")).get("object"))
        if found.get("kind") == "AdmissionReview"
        else found
    )


def _name(document: Mapping[str, Any]) -> str:
    return as_str(as_dict(document.get("metadata")).get("name"))
