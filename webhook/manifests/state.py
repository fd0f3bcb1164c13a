"""What manifests say about namespaces, for the development server and the command line."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from policies.cluster.endpoints import CONTROLLER, MANAGED_BY_LABEL, LiveEndpoints
from policies.cluster.quota import QUOTA_KINDS, LiveQuota, quotas_in
from policies.cluster.rbac import NamespaceRbac, RbacBinding, RbacGrants
from policies.cluster.roles import DEFAULT_ROLES, RbacRole
from policies.cluster.state import LiveCluster, LiveService, NamespaceState
from policies.documents.metadata import labels_of, metadata_of, name_of, namespace_of
from policies.documents.untyped import as_dict
from policies.injection.contract import TlsBy, opts_out, tls_by
from policies.network.isolation import ISOLATION_ANNOTATION, MANAGED
from policies.network.policy import NetworkPolicy
from policies.ray import kuberay
from policies.ray.membership import RAY_GROUP
from policies.ray.operator import KubeRayOperator
from policies.ray.workload import Kind, Workload

_RBAC = "rbac.authorization.k8s.io"
_UNKNOWN = KubeRayOperator()


class ManifestNamespaces:
    """The state of namespaces in a set of manifests.

    Whatever no manifest mentions is unknown, not absent: a folder rarely holds the whole cluster.
    With `complete` the manifests are the whole cluster. `namespace` is the namespace of manifests
    that name none. `operator` is the KubeRay that serves them.
    """

    def __init__(
        self,
        documents: Iterable[Any],
        namespace: str = "default",
        *,
        complete: bool = False,
        operator: KubeRayOperator = _UNKNOWN,
    ) -> None:
        self._default = namespace
        self._complete = complete
        self._operator = operator
        self._metadata: dict[str, Mapping[str, Any]] = {}
        self._clusters: dict[str, dict[str, LiveCluster]] = defaultdict(dict)
        self._services: dict[str, dict[str, LiveService]] = defaultdict(dict)
        self._public: dict[str, list[LiveService]] = defaultdict(list)
        self._endpoints: dict[str, dict[str, LiveEndpoints]] = defaultdict(dict)
        self._policies: dict[str, list[NetworkPolicy]] = defaultdict(list)
        self._quotas: dict[str, list[LiveQuota]] = defaultdict(list)
        self._roles: dict[str, RbacRole] = dict(DEFAULT_ROLES)
        self._bindings: list[RbacBinding] = []
        self._role_bindings: dict[str, list[RbacBinding]] = defaultdict(list)
        for document in map(_object_of, documents):
            self._add(Kind.of(document), document)
        grants = RbacGrants.of(self._roles, self._bindings)
        self._rights = replace(
            grants,
            # A dry run creates pods as this operator, whatever the operator in the cluster is.
            operators=grants.operators | {kuberay.OPERATOR},
            complete=complete or bool(self._bindings),
        )

    def state_of(self, namespace: str) -> NamespaceState:
        """What the manifests say about `namespace`."""
        missing = NamespaceState()
        if self._complete:
            missing = NamespaceState(
                ray_clusters={}, services={}, endpoints={}, network_policies=(), quotas=()
            )
        services = self._services.get(namespace, missing.services)
        public_services = None
        if services is not None:
            public_services = self._public.get(namespace, ())
        return NamespaceState(
            metadata=self._metadata.get(namespace),
            ray_clusters=self._clusters.get(namespace, missing.ray_clusters),
            services=services,
            public_services=public_services,
            endpoints=self._endpoints.get(namespace, missing.endpoints),
            network_policies=self._policies.get(namespace, missing.network_policies),
            quotas=self._quotas.get(namespace, missing.quotas),
            rbac=self._rights,
            namespace_rbac=self._namespace_rbac(namespace),
            kuberay=self._operator,
        )

    def _namespace_rbac(self, namespace: str) -> NamespaceRbac | None:
        if not self._complete and not self._role_bindings:
            return None
        inside = self._role_bindings.get(namespace, ())
        return NamespaceRbac(self._roles.get, inside, tuple(self._role_bindings.values()))

    def _add(self, kind: Kind, document: Mapping[str, Any]) -> None:
        name, namespace = name_of(document), namespace_of(document) or self._default
        match (kind.group, kind.kind):
            case (group, _) if group == RAY_GROUP:
                self._add_cluster(namespace, kind, document)
            case (group, _) if group == _RBAC:
                self._add_rbac(kind, name, namespace, document)
            case ("", "Namespace"):
                self._metadata[name] = metadata_of(document)
            case ("", "Service"):
                self._add_service(namespace, LiveService.of(document))
            case ("discovery.k8s.io", "EndpointSlice"):
                self._add_endpoints(namespace, name, document)
            case ("networking.k8s.io", "NetworkPolicy"):
                self._policies[namespace].append(NetworkPolicy(document))
            case quota if quota in QUOTA_KINDS:
                self._add_quota(namespace, document)

    def _add_cluster(self, namespace: str, kind: Kind, document: Mapping[str, Any]) -> None:
        """Add the RayCluster that a manifest is, or that KubeRay creates from it."""
        workload = Workload.of(kind, document)
        if workload is None:
            return
        is_cluster = workload.kind == "RayCluster"
        ray_cluster = document if is_cluster else kuberay.cluster_of(workload)
        if ray_cluster:
            cluster = LiveCluster.of(ray_cluster)
            view = Workload("RayCluster", ray_cluster)
            if not self._complete and _will_get_tls(view):
                cluster = replace(cluster, raywarden_tls=True)
            if not self._complete and _will_be_isolated(view):
                isolation = {ISOLATION_ANNOTATION: MANAGED, **cluster.isolation}
                cluster = replace(cluster, isolation=isolation)
            self._clusters[namespace][cluster.name] = cluster

    def _add_quota(self, namespace: str, document: Mapping[str, Any]) -> None:
        # Some quotas, such as an ElasticQuotaTree, name the namespaces that they limit.
        for limited, quota in quotas_in(document).items():
            self._quotas[limited or namespace].append(quota)

    def _add_rbac(self, kind: Kind, name: str, namespace: str, document: Mapping[str, Any]) -> None:
        match kind.kind:
            case "ClusterRole":
                self._roles[name] = RbacRole.of(document)
            case "Role":
                self._roles[f"{namespace}/{name}"] = RbacRole.of(document)
            case "ClusterRoleBinding":
                self._bindings.append(RbacBinding.of(document))
            case "RoleBinding":
                metadata = {**metadata_of(document), "namespace": namespace}
                binding = RbacBinding.of_accounts({**document, "metadata": metadata})
                self._role_bindings[namespace].append(binding)

    def _add_endpoints(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        if labels_of(document).get(MANAGED_BY_LABEL) != CONTROLLER:
            self._endpoints[namespace][name] = LiveEndpoints.of(document)

    def _add_service(self, namespace: str, service: LiveService) -> None:
        self._services[namespace][service.name] = service
        if service.public:
            self._public[namespace].append(service)


def _object_of(document: Any) -> Mapping[str, Any]:
    """The manifest itself, or the object in a recorded AdmissionReview."""
    manifest = as_dict(document)
    if manifest.get("kind") != "AdmissionReview":
        return manifest
    return as_dict(as_dict(manifest.get("request")).get("object"))


def _will_get_tls(ray_cluster: Workload) -> bool:
    """Admission will give this RayCluster TLS."""
    return tls_by(ray_cluster) is TlsBy.NONE and not opts_out(ray_cluster)


def _will_be_isolated(ray_cluster: Workload) -> bool:
    """Admission will tell RayWarden to write NetworkPolicies for this RayCluster."""
    has_own = ray_cluster.cluster is not None and "networkPolicy" in ray_cluster.cluster.spec
    return not has_own and not opts_out(ray_cluster)
