"""In-memory stores that an informer fills, one type for each shape of object."""

from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import orjson

from certs.identity import Cluster, Service
from policies.cluster.quota import LiveQuota, quotas_in
from policies.cluster.rbac import RbacBinding
from policies.cluster.roles import RbacRole
from policies.cluster.state import LiveCluster, LiveService
from policies.documents.metadata import metadata_of
from policies.network.managed import ManagedCluster
from webhook.kube.objects import ray_cluster_of, service_of

T = TypeVar("T")

_EMPTY: Mapping[str, Any] = MappingProxyType({})


class Store(Protocol):
    """What an informer fills. The namespace of a cluster-scoped object is "".

    Compare a store that may be missing with None: an empty one is false, and counting takes time.
    """

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        """Keep the needed parts of a raw object; raises ValueError for one that is malformed."""
        ...

    def remove(self, namespace: str, name: str) -> None:
        """Remove everything that an object has left here, if anything."""
        ...

    def __len__(self) -> int:
        """The number of objects."""
        ...


class ByNamespace(Generic[T]):
    """Values by namespace and name."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, T]] = {}

    def get(self, namespace: str, name: str) -> T | None:
        return self.within(namespace).get(name)

    def within(self, namespace: str) -> Mapping[str, T]:
        """The values of a namespace by name.

        This is a live view, not a copy: it costs nothing, and it changes with the store.
        """
        return self._values.get(namespace, _EMPTY)

    def values(self) -> Iterator[T]:
        """All values, in no particular order."""
        for by_name in self._values.values():
            yield from by_name.values()

    def set(self, namespace: str, name: str, value: T) -> None:
        self._values.setdefault(namespace, {})[name] = value

    def remove(self, namespace: str, name: str) -> None:
        by_name = self._values.get(namespace, {})
        by_name.pop(name, None)
        # Users choose the names of namespaces, which come and go: an empty entry for each of them
        # would stay in memory for ever.
        if not by_name:
            self._values.pop(namespace, None)

    def __len__(self) -> int:
        return sum(map(len, self._values.values()))


class ObjectStore(ByNamespace[T]):
    """One value for each object, made by `convert`, which may raise ValueError."""

    def __init__(self, convert: Callable[[Mapping[str, Any]], T]) -> None:
        super().__init__()
        self._convert = convert

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        self.set(namespace, name, self._convert(document))


class RoleStore(ByNamespace[RbacRole]):
    """The roles that grant something that matters to RayWarden; most grant nothing of it.

    `changed`: the namespaces where one has changed, until they are taken out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changed: set[str] = set()

    def remove(self, namespace: str, name: str) -> None:
        if self.get(namespace, name):
            self.changed.add(namespace)
        super().remove(namespace, name)

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        role = RbacRole.of(document)
        if role != self.get(namespace, name):
            self.changed.add(namespace)
        if role.powers or role.can_run_kuberay:
            self.set(namespace, name, role)
        else:
            self.remove(namespace, name)


class RoleBindingStore:
    """The RoleBindings of service accounts.

    `inside` has them by their own namespace, `about` by the namespaces of their service accounts.
    `changed`: the namespaces where one has changed, until they are taken out.
    """

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.inside = ByNamespace[RbacBinding]()
        self.about = ByNamespace[RbacBinding]()

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        self.remove(namespace, name)
        binding = RbacBinding.of_accounts(document)
        if not binding.users and not binding.groups:
            return
        self.changed.add(namespace)
        self.inside.set(namespace, name, binding)
        for account_namespace in binding.account_namespaces:
            self.about.set(account_namespace, f"{namespace}/{name}", binding)

    def remove(self, namespace: str, name: str) -> None:
        binding = self.inside.get(namespace, name)
        self.inside.remove(namespace, name)
        if binding:
            self.changed.add(namespace)
        for account_namespace in binding.account_namespaces if binding else ():
            self.about.remove(account_namespace, f"{namespace}/{name}")

    def __len__(self) -> int:
        return len(self.inside)


class RayClusterStore:
    """RayClusters, in the forms that certificates, rules and NetworkPolicies need.

    `managed` has those for which RayWarden writes NetworkPolicies. `changed`: those whose view
    there has changed, until they are taken out. `previous` is the store that this one replaces.
    """

    def __init__(self, previous: "RayClusterStore | None" = None) -> None:
        self.for_certs = ByNamespace[Cluster]()
        self.for_rules = ByNamespace[LiveCluster]()
        self.managed = ByNamespace[ManagedCluster]()
        self.changed: set[tuple[str, str]] = set()
        self._versions = ByNamespace[int]()
        self._previous = previous
        if previous is not None:
            previous._previous = None

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        # Convert both before storing either: a malformed object must not be stored by half.
        for_certs, for_rules = ray_cluster_of(document), LiveCluster.of(document)
        managed = self._managed(namespace, name, document)
        is_new = self.for_rules.get(namespace, name) is None
        if is_new or managed is not self.managed.get(namespace, name):
            self.changed.add((namespace, name))
        self.for_certs.set(namespace, name, for_certs)
        self.for_rules.set(namespace, name, for_rules)
        if managed:
            self.managed.set(namespace, name, managed)
            self._versions.set(namespace, name, _version_of(document))
        else:
            self._forget(namespace, name)

    def remove(self, namespace: str, name: str) -> None:
        if self.for_certs.get(namespace, name):
            self.changed.add((namespace, name))
        self.for_certs.remove(namespace, name)
        self.for_rules.remove(namespace, name)
        self._forget(namespace, name)

    def _managed(
        self, namespace: str, name: str, document: Mapping[str, Any]
    ) -> ManagedCluster | None:
        """The view of a managed cluster, made once: its status changes every few seconds."""
        for store in (self, self._previous):
            if store is None:
                continue
            known = store.managed.get(namespace, name)
            if known and store._versions.get(namespace, name) == _version_of(document):
                return known
        return ManagedCluster.of(document)

    def _forget(self, namespace: str, name: str) -> None:
        self.managed.remove(namespace, name)
        self._versions.remove(namespace, name)

    def __len__(self) -> int:
        return len(self.for_certs)


class ServiceStore:
    """Services, in the form that certificates need and in the form that rules need.

    `public` has those of the latter that are reachable from outside the cluster.
    """

    def __init__(self) -> None:
        self.for_certs = ByNamespace[Service]()
        self.for_rules = ByNamespace[LiveService]()
        self.public = ByNamespace[LiveService]()

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        # Convert both before storing either: a malformed object must not be stored by half.
        for_certs, for_rules = service_of(document), LiveService.of(document)
        self.for_certs.set(namespace, name, for_certs)
        self.for_rules.set(namespace, name, for_rules)
        if for_rules.public:
            self.public.set(namespace, name, for_rules)
        else:
            self.public.remove(namespace, name)

    def remove(self, namespace: str, name: str) -> None:
        self.for_certs.remove(namespace, name)
        self.for_rules.remove(namespace, name)
        self.public.remove(namespace, name)

    def __len__(self) -> int:
        return len(self.for_certs)


class QuotaStore:
    """Quotas by the namespaces they limit; one quota may limit many namespaces."""

    def __init__(self) -> None:
        self._quotas = ByNamespace[LiveQuota]()
        self._limited_namespaces: dict[tuple[str, str], tuple[str, ...]] = {}

    def limiting(self, namespace: str) -> Collection[LiveQuota]:
        """The quotas that limit a namespace."""
        return self._quotas.within(namespace).values()

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        self.remove(namespace, name)
        quotas = quotas_in(document)
        self._limited_namespaces[namespace, name] = tuple(quotas)
        for limited, quota in quotas.items():
            self._quotas.set(limited, f"{namespace}/{name}", quota)

    def remove(self, namespace: str, name: str) -> None:
        for limited in self._limited_namespaces.pop((namespace, name), ()):
            self._quotas.remove(limited, f"{namespace}/{name}")

    def __len__(self) -> int:
        return len(self._limited_namespaces)


def role_named(
    name: str, roles: RoleStore | None, cluster_roles: RoleStore | None
) -> RbacRole | None:
    """A ClusterRole by its name, or a Role by `namespace/name`; None if it is not stored."""
    namespace, _, own_name = name.rpartition("/")
    store = roles if namespace else cluster_roles
    return store.get(namespace, own_name) if store is not None else None


def _version_of(document: Mapping[str, Any]) -> int:
    """A number that changes when anything changes that a view is made from.

    The API server counts the changes of the spec of an object that has a separate status.
    """
    metadata = metadata_of(document)
    generation = metadata.get("generation") or metadata.get("resourceVersion")
    read = [metadata.get(name) for name in ("uid", "labels", "annotations", "deletionTimestamp")]
    return hash(orjson.dumps([generation, *read]))
