"""What network isolation reads of a running cluster, with the user's own rights."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from policies.cluster.rbac import RbacBinding, RbacGrants, namespaces_of, operators_of_namespaces
from policies.cluster.roles import RbacRole
from policies.documents.metadata import name_of, namespace_of
from policies.documents.untyped import as_dict, as_str, dict_items, str_items
from policies.network.infrastructure import Infrastructure
from policies.ray.workload import Workload
from webhook.kube.adapters import KubeObjectLists
from webhook.kube.api import KubeApi
from webhook.kube.memory import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ENDPOINT_SLICES,
    RAY_CLUSTERS,
    ROLE_BINDINGS,
    ROLES,
    SERVICES,
)
from webhook.kube.request import ForbiddenError, NotFoundError, Resource
from webhook.network_policy.choices import ASSUMED_OPERATOR
from webhook.network_policy.targets import NoTarget, PolicyTarget, target_of_cluster, targets_in
from webhook.ports import UnavailableError

T = TypeVar("T")

_RAY_JOBS, _RAY_SERVICES = (
    Resource(RAY_CLUSTERS.group, RAY_CLUSTERS.version, plural)
    for plural in ("rayjobs", "rayservices")
)
_ROUTES = (
    Resource("networking.k8s.io", "v1", "ingresses"),
    Resource("gateway.networking.k8s.io", "v1", "httproutes"),
    Resource("route.openshift.io", "v1", "routes"),
)
_KINDS = {"ingresses": "Ingress", "httproutes": "HTTPRoute", "routes": "Route"}

Object = Mapping[str, Any]


class ClusterReader:
    """Reads with the caller's rights. Every call may raise UnavailableError."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._lists = KubeObjectLists(api)

    async def ray_cluster(self, namespace: str, name: str) -> Object | None:
        """The RayCluster; None if it does not exist."""
        return await self._api.get(RAY_CLUSTERS, namespace, name)

    async def ray_clusters(self, pattern: str) -> list[Object]:
        """The RayClusters whose `NAMESPACE/NAME` matches a pattern."""
        namespace = pattern.partition("/")[0]
        within = "" if "*" in namespace else namespace
        clusters = await self._list(RAY_CLUSTERS, within)
        return [each for each in clusters if fnmatchcase(_key(each), pattern)]

    async def targets(self, namespace: str, name: str) -> list[PolicyTarget | NoTarget]:
        """The RayCluster of this name, or those of the RayJob or RayService of this name."""
        cluster = await self.ray_cluster(namespace, name)
        if cluster is not None:
            return [target_of_cluster(Workload("RayCluster", cluster))]
        for kind, resource in (("RayJob", _RAY_JOBS), ("RayService", _RAY_SERVICES)):
            owner = await self._get_known(resource, namespace, name)
            if owner is not None:
                return await self._targets_of(kind, owner)
        return []

    async def infrastructure(
        self, namespace: str, usual: Infrastructure, chosen: Sequence[str] = ()
    ) -> tuple[Infrastructure, list[str]]:
        """What the clusters of a namespace work with, and notes on what could not be read.

        `chosen`: the namespaces of operators that the user named. `usual` is for what is unknown.
        """
        notes: list[str] = []
        operators = chosen or await known(self.operators(namespace))
        if not operators:
            operators = usual.operators
            notes.append(f"{ASSUMED_OPERATOR}, because RBAC does not tell you or may not be read")
        api_server = await known(self.api_server())
        return Infrastructure(operators, usual.signer, api_server or ()), notes

    async def operators(self, namespace: str) -> Sequence[str]:
        """The namespaces of the service accounts that can run KubeRay for `namespace`."""
        cluster_roles, cluster_bindings, roles, bindings = await asyncio.gather(
            self._lists.list_all(CLUSTER_ROLES),
            self._lists.list_all(CLUSTER_ROLE_BINDINGS),
            self._list(ROLES, namespace),
            self._list(ROLE_BINDINGS, namespace),
        )
        by_name = {name_of(role): RbacRole.of(role) for role in cluster_roles}
        users = set(RbacGrants.of(by_name, map(RbacBinding.of, cluster_bindings)).operators)
        by_name |= {f"{namespace}/{name_of(role)}": RbacRole.of(role) for role in roles}
        users |= set(operators_of_namespaces(by_name, map(RbacBinding.of_accounts, bindings)))
        return namespaces_of(users)

    async def api_server(self) -> Sequence[tuple[str, int]]:
        """The addresses and ports of the API server: its own, and those of its Service.

        A network judges a connection before or after it replaces the Service's address.
        """
        service, endpoints = await asyncio.gather(
            self._api.get(SERVICES, "default", "kubernetes"),
            self._api.get(ENDPOINT_SLICES, "default", "kubernetes"),
        )
        spec = as_dict((service or {}).get("spec"))
        ports = [entry.get("port") for _, entry in dict_items(spec.get("ports"))]
        addresses = [text for _, text in str_items(spec.get("clusterIPs"))]
        found = _pairs(addresses, ports)
        ports = [entry.get("port") for _, entry in dict_items((endpoints or {}).get("ports"))]
        for _, endpoint in dict_items((endpoints or {}).get("endpoints")):
            found += _pairs([text for _, text in str_items(endpoint.get("addresses"))], ports)
        return sorted(set(found))

    async def services(self, namespace: str) -> Sequence[Object]:
        """The Services of a namespace."""
        return await self._list(SERVICES, namespace)

    async def routes(self, namespace: str) -> Sequence[Object]:
        """The Ingresses, HTTPRoutes and Routes of a namespace, as far as its kinds exist."""
        routes: list[Object] = []
        for resource in _ROUTES:
            try:
                items = await self._list(resource, namespace)
            except NotFoundError:
                continue
            # The items of a list state no kind.
            version = f"{resource.group}/{resource.version}"
            kind = {"apiVersion": version, "kind": _KINDS[resource.plural]}
            routes += [{**kind, **item} for item in items]
        return routes

    async def annotate(self, cluster: Object, name: str, value: str) -> None:
        """Add an annotation to a RayCluster, unless it has changed since it was read."""
        metadata = as_dict(cluster.get("metadata"))
        version = {
            "op": "test",
            "path": "/metadata/resourceVersion",
            "value": metadata.get("resourceVersion"),
        }
        added = {**as_dict(metadata.get("annotations")), name: value}
        addition = {"op": "add", "path": "/metadata/annotations", "value": added}
        operations: list[Object] = [version, addition]
        await self._api.patch(RAY_CLUSTERS, namespace_of(cluster), name_of(cluster), operations)

    async def _targets_of(self, kind: str, owner: Object) -> list[PolicyTarget | NoTarget]:
        """The clusters that KubeRay has made of a RayJob or RayService, as they are now."""
        note = (
            f"the {kind} has this RayCluster now, and KubeRay chooses another name for the next "
            "one: print the policies again then, or print those of its manifest"
        )
        targets: list[PolicyTarget | NoTarget] = []
        for name in _cluster_names(as_dict(owner.get("status"))):
            cluster = await self.ray_cluster(namespace_of(owner), name)
            if cluster is not None:
                targets.append(target_of_cluster(Workload("RayCluster", cluster), [note]))
        if targets:
            return targets
        return list(targets_in([{"apiVersion": "ray.io/v1", "kind": kind, **owner}]))

    async def _get_known(self, resource: Resource, namespace: str, name: str) -> Object | None:
        try:
            return await self._api.get(resource, namespace, name)
        except ForbiddenError:
            return None

    async def _list(self, resource: Resource, namespace: str) -> list[Object]:
        items: list[Object] = []
        async with aclosing(self._api.pages(resource, namespace=namespace)) as pages:
            async for page in pages:
                items += page.items
        return items


async def known(answer: Awaitable[T]) -> T | None:
    """The answer; None if the user may not ask for it, or there is no such resource."""
    try:
        return await answer
    except UnavailableError:
        return None


def explained(error: UnavailableError) -> str:
    """The error for the user of the command, whose own rights count."""
    if isinstance(error, ForbiddenError):
        return f"you may not {error.permission}: ask an administrator for this permission"
    return str(error)


def _cluster_names(status: Object) -> list[str]:
    names = [as_str(status.get("rayClusterName"))]
    for part in ("activeServiceStatus", "pendingServiceStatus"):
        names.append(as_str(as_dict(status.get(part)).get("rayClusterName")))
    return list(dict.fromkeys(filter(None, names)))


def _pairs(addresses: Sequence[str], ports: Sequence[Any]) -> list[tuple[str, int]]:
    return [(address, port) for address in addresses for port in ports if isinstance(port, int)]


def _key(cluster: Object) -> str:
    return f"{namespace_of(cluster)}/{name_of(cluster)}"
