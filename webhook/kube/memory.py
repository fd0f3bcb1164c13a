"""RayWarden's cache of the cluster, filled by a watch for each resource; admission reads it."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from certs.identity import Cluster, Service
from policies.cluster.endpoints import CONTROLLER, MANAGED_BY_LABEL
from policies.cluster.quota import LiveQuota
from policies.cluster.rbac import NamespaceRbac, RbacBinding, RbacGrants
from policies.cluster.roles import RbacRole
from policies.cluster.state import NamespaceState
from policies.documents.metadata import metadata_of
from webhook.kube.api import KubeApi
from webhook.kube.informer import BRIEF_WATCH_SECONDS, Informer
from webhook.kube.isolation import KubeIsolation
from webhook.kube.kuberay import KubeRayDiscovery
from webhook.kube.network_store import EndpointStore, NetworkPolicyStore
from webhook.kube.request import ForbiddenError, Resource
from webhook.kube.store import (
    ObjectStore,
    QuotaStore,
    RayClusterStore,
    RoleBindingStore,
    RoleStore,
    ServiceStore,
    Store,
    role_named,
)
from webhook.ports import UnavailableError

S = TypeVar("S", bound=Store)

NAMESPACES = Resource("", "v1", "namespaces")
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")
SERVICES = Resource("", "v1", "services")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices")
# Those of Kubernetes' own controller are many, and change with every pod.
_NOT_OF_CONTROLLER = f"{MANAGED_BY_LABEL}!={CONTROLLER}"
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles")
CLUSTER_ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
ELASTIC_QUOTA_TREES = Resource("scheduling.sigs.k8s.io", "v1beta1", "elasticquotatrees")
# Only the first is part of Kubernetes; the others exist where their CRDs are installed.
_QUOTAS = (
    Resource("", "v1", "resourcequotas"),
    ELASTIC_QUOTA_TREES,
    Resource("scheduling.sigs.k8s.io", "v1beta1", "elasticquotas"),
    Resource("scheduling.x-k8s.io", "v1alpha1", "elasticquotas"),
)
_RBAC = (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS)
WATCHED = (
    NAMESPACES,
    RAY_CLUSTERS,
    SERVICES,
    ENDPOINT_SLICES,
    NETWORK_POLICIES,
    *_QUOTAS,
    *_RBAC,
)
_NAMESPACE_FIELDS = ("name", "uid", "creationTimestamp", "labels", "annotations")


class KubeMemory:
    """`ports.NamespaceStates` from informers, which run while `run` runs.

    A resource that has not been listed yet is unknown. While the API server is unavailable, the
    last known state stays.
    """

    def __init__(self, api: KubeApi, *, retry_seconds: float) -> None:
        def informer(
            resource: Resource, new_store: Callable[[], S], on_change: Callable[[], None] = _nothing
        ) -> Informer[S]:
            return Informer(
                api, resource, new_store, on_change=on_change, retry_seconds=retry_seconds
            )

        self._namespaces = informer(NAMESPACES, partial(ObjectStore, _namespace_metadata))
        self._clusters = Informer(
            api,
            RAY_CLUSTERS,
            lambda: RayClusterStore(self._clusters.store),
            on_change=lambda: self.isolation.clusters_changed(),
            watch_seconds=BRIEF_WATCH_SECONDS,
            retry_seconds=retry_seconds,
        )
        self._services = informer(SERVICES, ServiceStore)
        self._endpoints = Informer(
            api,
            ENDPOINT_SLICES,
            EndpointStore,
            labels=_NOT_OF_CONTROLLER,
            on_change=lambda: self.isolation.api_server_changed(),
            retry_seconds=retry_seconds,
        )
        self._network_policies = informer(
            NETWORK_POLICIES, NetworkPolicyStore, lambda: self.isolation.policies_changed()
        )
        self._quotas = tuple(informer(resource, QuotaStore) for resource in _QUOTAS)
        self._cluster_roles = informer(CLUSTER_ROLES, RoleStore, self._update_rights)
        self._cluster_role_bindings = informer(
            CLUSTER_ROLE_BINDINGS, partial(ObjectStore, RbacBinding.of), self._update_rights
        )
        self._roles = informer(ROLES, RoleStore, lambda: self.isolation.roles_changed())
        self._role_bindings = informer(
            ROLE_BINDINGS, RoleBindingStore, lambda: self.isolation.roles_changed()
        )
        self._rights = RbacGrants()
        self.isolation = KubeIsolation(
            self._clusters,
            self._network_policies,
            self._endpoints,
            self._roles,
            self._role_bindings,
            self._cluster_roles,
            lambda: self._rights,
        )
        self._api = api
        self._kuberay = KubeRayDiscovery(api)
        self._informers: tuple[Informer[Any], ...] = (
            self._namespaces,
            self._clusters,
            self._services,
            self._endpoints,
            self._network_policies,
            *self._quotas,
            self._cluster_roles,
            self._cluster_role_bindings,
            self._roles,
            self._role_bindings,
        )

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources that are watched."""
        return tuple(str(informer.resource) for informer in self._informers)

    def up_to_date(self) -> Mapping[str, bool]:
        """Whether the cache of each of `resources` is up to date."""
        return {str(informer.resource): informer.up_to_date for informer in self._informers}

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run())

    async def follow_kuberay(self) -> None:
        """Follow what the installed KubeRay knows until cancelled; nothing waits for it."""
        await self._kuberay.run()

    async def read_once(self, namespace: str = "") -> Mapping[Resource, UnavailableError]:
        """Read every resource once instead of following it, for one namespace or for all.

        Returns the errors by resource. What could not be read stays unknown. RBAC and quotas of
        other namespaces matter to a namespace too, so all of them are read if that is permitted.
        """
        problems: dict[Resource, UnavailableError] = {}
        for informer in self._informers:
            try:
                await self._read_once(informer, namespace)
            except UnavailableError as error:
                problems[informer.resource] = error
        with suppress(UnavailableError):
            await self._kuberay.update()
        return problems

    async def _read_once(self, informer: Informer[Any], namespace: str) -> None:
        resource = informer.resource
        if namespace and resource == NAMESPACES:
            document = await self._api.get(NAMESPACES, "", namespace)
            informer.put_only(document or {"metadata": {"name": namespace}})
            return
        try:
            is_wide = resource in (*_RBAC, ELASTIC_QUOTA_TREES)
            await informer.read_once("" if is_wide else namespace)
        except ForbiddenError:
            # RBAC may also forbid what does not exist.
            if not await self._api.serves(resource):
                informer.be_empty()
                return
            if namespace and resource in (ROLES, ROLE_BINDINGS):
                await informer.read_once(namespace)
            raise

    async def wait_synced(self, on_listed: Callable[[str], None]) -> None:
        """Wait until every resource has been listed once.

        Calls `on_listed` with the name of each of `resources` as soon as it has been listed.
        """

        async def wait(informer: Informer[Any]) -> None:
            await informer.synced.wait()
            on_listed(str(informer.resource))

        await asyncio.gather(*map(wait, self._informers))

    def state_of(self, namespace: str) -> NamespaceState:
        namespaces = self._namespaces.store
        clusters = self._clusters.store
        services = self._services.store
        endpoints = self._endpoints.store
        policies = self._network_policies.store
        metadata = None if namespaces is None else namespaces.get("", namespace)
        ray_clusters = None if clusters is None else clusters.for_rules.within(namespace)
        all_services = None if services is None else services.for_rules.within(namespace)
        public_services = None if services is None else services.public.within(namespace).values()
        network_policies = (
            None if policies is None else policies.for_rules.within(namespace).values()
        )
        return NamespaceState(
            metadata=metadata,
            ray_clusters=ray_clusters,
            services=all_services,
            public_services=public_services,
            endpoints=None if endpoints is None else endpoints.within(namespace),
            network_policies=network_policies,
            quotas=self._quotas_limiting(namespace),
            rbac=self._rights,
            namespace_rbac=self._namespace_rbac(namespace),
            kuberay=self._kuberay.operator,
        )

    def services(self, namespace: str) -> Iterable[Service]:
        """The Services of a namespace; raises UnavailableError before they have been listed."""
        if self._services.store is None:
            raise UnavailableError("the Services are not in RayWarden's cache yet")
        return tuple(self._services.store.for_certs.within(namespace).values())

    def ray_clusters(self) -> Iterable[Cluster]:
        """All known RayClusters; none before they have been listed."""
        if self._clusters.store is None:
            return ()
        return self._clusters.store.for_certs.values()

    def ray_cluster(self, namespace: str, name: str) -> Cluster | None:
        """A known RayCluster; None before they have been listed."""
        store = self._clusters.store
        return store.for_certs.get(namespace, name) if store is not None else None

    def fresh_ray_cluster(self, namespace: str, name: str, uid: str) -> Cluster | None:
        """A RayCluster of this uid; None if it is not known, or if memory may be out of date."""
        store = self._clusters.store
        if store is None or not self._clusters.is_fresh:
            return None
        cluster = store.for_certs.get(namespace, name)
        return cluster if cluster and cluster.uid == uid else None

    def _quotas_limiting(self, namespace: str) -> Collection[LiveQuota] | None:
        quotas: list[LiveQuota] = []
        for informer in self._quotas:
            if informer.store is None:
                return None
            quotas += informer.store.limiting(namespace)
        return quotas

    def _namespace_rbac(self, namespace: str) -> NamespaceRbac | None:
        bindings = self._role_bindings.store
        if bindings is None or self._roles.store is None or self._cluster_roles.store is None:
            return None
        inside = bindings.inside.within(namespace).values()
        about = (bindings.about.within(namespace).values(), bindings.about.within("").values())
        return NamespaceRbac(self._role_named, inside, about)

    def _role_named(self, name: str) -> RbacRole | None:
        return role_named(name, self._roles.store, self._cluster_roles.store)

    def _update_rights(self) -> None:
        roles, bindings = self._cluster_roles.store, self._cluster_role_bindings.store
        if roles is not None and bindings is not None:
            self._rights = RbacGrants.of(roles.within(""), bindings.values())
            self.isolation.operators_changed()


def _namespace_metadata(document: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = metadata_of(document)
    return {name: metadata[name] for name in _NAMESPACE_FIELDS if name in metadata}


def _nothing() -> None:
    pass
