"""What is remembered of the cluster: everything the admission path may know, kept by one watch for each resource."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from certs.identity import Cluster, Service
from policies.cluster.network_policy import NetworkPolicy
from policies.cluster.rbac import RbacBinding, RbacGrants, RbacRole
from policies.cluster.state import NamespaceState
from policies.documents.untyped import as_dict
from webhook.kube.api import KubeApi
from webhook.kube.informer import Informer
from webhook.kube.request import Resource
from webhook.kube.store import Objects, Quotas, RayClusters, Services, Store
from webhook.ports import UnavailableError

K = TypeVar("K", bound=Store)

NAMESPACES = Resource("", "v1", "namespaces")
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")
SERVICES = Resource("", "v1", "services")
_NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
# Those after the first are there where somebody has installed them.
_QUOTAS = (
    Resource("", "v1", "resourcequotas"),
    Resource("scheduling.sigs.k8s.io", "v1beta1", "elasticquotatrees"),
    Resource("scheduling.sigs.k8s.io", "v1beta1", "elasticquotas"),
    Resource("scheduling.x-k8s.io", "v1alpha1", "elasticquotas"),
)
WATCHED = (NAMESPACES, RAY_CLUSTERS, SERVICES, _NETWORK_POLICIES, *_QUOTAS, ROLES, BINDINGS)
_OF_A_NAMESPACE = ("name", "uid", "creationTimestamp", "labels", "annotations")


class KubeMemory:
    """`ports.Neighbourhoods` over watch caches; `run` has to run beside it.

    What has not been listed yet is not known; what was last known stays while the API server is away.
    """

    def __init__(self, api: KubeApi, *, retry_seconds: float) -> None:
        def watch(
            resource: Resource, new: Callable[[], K], changed: Callable[[], None] = _nothing
        ) -> Informer[K]:
            return Informer(api, resource, new, changed=changed, retry_seconds=retry_seconds)

        self._namespaces = watch(NAMESPACES, partial(Objects, _namespace_of))
        self._clusters = watch(RAY_CLUSTERS, RayClusters)
        self._services = watch(SERVICES, Services)
        self._network_policies = watch(_NETWORK_POLICIES, partial(Objects, NetworkPolicy.of))
        self._quotas = tuple(watch(resource, Quotas) for resource in _QUOTAS)
        self._roles = watch(ROLES, partial(Objects, RbacRole.of), self._weigh_rights)
        self._bindings = watch(BINDINGS, partial(Objects, RbacBinding.of), self._weigh_rights)
        self._rights = RbacGrants()
        self._caches: tuple[Informer[Any], ...] = (
            self._namespaces,
            self._clusters,
            self._services,
            self._network_policies,
            *self._quotas,
            self._roles,
            self._bindings,
        )

    @property
    def resources(self) -> tuple[str, ...]:
        """What is watched."""
        return tuple(str(cache.resource) for cache in self._caches)

    def current(self) -> Mapping[str, bool]:
        """Which of `resources` are known as they are now."""
        return {str(cache.resource): cache.current for cache in self._caches}

    async def run(self) -> None:
        """Keep up with the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for cache in self._caches:
                group.create_task(cache.run())

    async def wait_synced(self, on_listed: Callable[[str], None]) -> None:
        """Until everything has been listed once; `on_listed` hears of each of `resources` when it has."""

        async def wait(cache: Informer[Any]) -> None:
            await cache.synced.wait()
            on_listed(str(cache.resource))

        await asyncio.gather(*map(wait, self._caches))

    def state_of(self, namespace: str) -> NamespaceState:
        namespaces, clusters, services = (
            self._namespaces.kept,
            self._clusters.kept,
            self._services.kept,
        )
        policies = self._network_policies.kept
        return NamespaceState(
            metadata=None if namespaces is None else namespaces.get("", namespace),
            ray_clusters=None if clusters is None else clusters.for_rules.within(namespace),
            services=None if services is None else services.for_rules.within(namespace),
            public_services=None
            if services is None
            else services.public.within(namespace).values(),
            network_policies=None if policies is None else policies.within(namespace).values(),
            quotas=self._quotas_over(namespace),
            rights=self._rights,
        )

    def services(self, namespace: str) -> Iterable[Service]:
        """The Services of a namespace; raises UnavailableError before they have been listed."""
        if self._services.kept is None:
            raise UnavailableError(f"the {SERVICES} have not been listed yet")
        return tuple(self._services.kept.for_certs.within(namespace).values())

    def ray_clusters(self) -> Iterable[Cluster]:
        """All RayClusters there are, as far as it is known."""
        return () if self._clusters.kept is None else self._clusters.kept.for_certs.values()

    def _quotas_over(self, namespace: str) -> Collection[str] | None:
        found: list[str] = []
        for cache in self._quotas:
            if cache.kept is None:
                return None
            found += cache.kept.over(namespace)
        return found

    def _weigh_rights(self) -> None:
        roles, bindings = self._roles.kept, self._bindings.kept
        if roles is not None and bindings is not None:
            self._rights = RbacGrants.of(roles.within(""), bindings.values())


def _namespace_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = as_dict(document.get("metadata"))
    return {name: metadata[name] for name in _OF_A_NAMESPACE if name in metadata}


def _nothing() -> None:
    pass
