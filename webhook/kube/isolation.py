"""What the isolation of RayClusters reads of RayWarden's cache, and what has changed in it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from policies.cluster.rbac import RbacGrants, namespaces_of
from policies.network.managed import ManagedCluster, StoredNetworkPolicy, cluster_of
from policies.network.policy import Direction
from policies.network.written import PolicyNames
from webhook.kube.informer import Informer
from webhook.kube.network_store import EndpointStore, NetworkPolicyStore
from webhook.kube.store import RayClusterStore, RoleBindingStore, RoleStore, role_named
from webhook.ports import ClusterKey

# Each becomes a rule of each policy; a cluster has one operator, or one for a few namespaces.
_MAX_OPERATORS = 16


class KubeIsolation:
    """`ports.IsolationState`, from informers."""

    def __init__(
        self,
        clusters: Informer[RayClusterStore],
        policies: Informer[NetworkPolicyStore],
        endpoints: Informer[EndpointStore],
        roles: Informer[RoleStore],
        role_bindings: Informer[RoleBindingStore],
        cluster_roles: Informer[RoleStore],
        rights: Callable[[], RbacGrants],
    ) -> None:
        self._clusters = clusters
        self._policies = policies
        self._endpoints = endpoints
        self._roles = roles
        self._role_bindings = role_bindings
        self._cluster_roles = cluster_roles
        self._rights = rights
        self._callback: Callable[[ClusterKey | None], None] = lambda key: None
        # Those that were last compared: another store, or other operators, concern all clusters.
        self._seen: dict[str, Any] = {}

    @property
    def synced(self) -> bool:
        informers: tuple[Informer[Any], ...] = (
            self._clusters,
            self._policies,
            self._endpoints,
            self._roles,
            self._role_bindings,
            self._cluster_roles,
        )
        return self._rights().complete and all(informer.synced.is_set() for informer in informers)

    def on_change(self, callback: Callable[[ClusterKey | None], None]) -> None:
        self._callback = callback

    def keys(self) -> Iterable[ClusterKey]:
        clusters, policies = self._clusters.store, self._policies.store
        keys = dict[ClusterKey, None]()
        for cluster in clusters.managed.values() if clusters is not None else ():
            keys[cluster.namespace, cluster.name] = None
        for policy in policies.written.values() if policies is not None else ():
            keys[policy.namespace, cluster_of(policy.name)] = None
        return keys

    @property
    def knows_clusters(self) -> bool:
        return self._clusters.is_known

    def uid_of(self, namespace: str, name: str) -> str:
        store = self._clusters.store
        cluster = store.for_rules.get(namespace, name) if store is not None else None
        return cluster.uid if cluster else ""

    def managed(self, namespace: str, name: str) -> ManagedCluster | None:
        store = self._clusters.store
        return store.managed.get(namespace, name) if store is not None else None

    def policies_of(self, namespace: str, name: str) -> Sequence[StoredNetworkPolicy]:
        store, names = self._policies.store, PolicyNames.of(name)
        if store is None:
            return ()
        stored = (store.written.get(namespace, policy) for policy in (names.pods, names.head))
        return [policy for policy in stored if policy]

    def kuberay_isolates(self, namespace: str, name: str) -> bool:
        clusters, policies = self._clusters.store, self._policies.store
        cluster = clusters.for_rules.get(namespace, name) if clusters is not None else None
        if cluster is None or policies is None:
            return False
        views = policies.for_rules.within(namespace).values()
        # Not those of an earlier cluster of the same name, which are about to be deleted.
        owner = (name, cluster.uid)
        theirs = [
            view
            for view in views
            if (view.owner, view.owner_uid) == owner and view.isolates(Direction.INGRESS)
        ]

        def is_selected(pods: Mapping[str, Any]) -> bool:
            return any(view.selects(pods) for view in theirs)

        return all(map(is_selected, cluster.pod_labels))

    def operators(self, namespace: str) -> Sequence[str]:
        users, store = set[str](), self._role_bindings.store
        for binding in store.inside.within(namespace).values() if store is not None else ():
            if self._runs_kuberay(binding.role):
                users |= binding.users
        # First those that administrators chose: tenants may be able to write RoleBindings.
        everywhere, here = namespaces_of(self._rights().operators), namespaces_of(users)
        namespaces = [*everywhere, *(name for name in here if name not in everywhere)]
        return sorted(namespaces[:_MAX_OPERATORS])

    def api_server(self) -> Sequence[tuple[str, int]]:
        store = self._endpoints.store
        return store.api_server if store is not None else ()

    def clusters_changed(self) -> None:
        """Some RayClusters have changed."""
        self._report("clusters", self._clusters.store)

    def policies_changed(self) -> None:
        """Some NetworkPolicies have changed."""
        self._report("policies", self._policies.store)

    def roles_changed(self) -> None:
        """Some Roles or RoleBindings have changed."""
        namespaces = set[str]()
        for store in (self._roles.store, self._role_bindings.store):
            if store is not None:
                namespaces |= store.changed
                store.changed.clear()
        clusters = self._clusters.store
        for namespace in namespaces:
            for name in clusters.managed.within(namespace) if clusters is not None else ():
                self._callback((namespace, name))

    def operators_changed(self) -> None:
        """ClusterRoles or ClusterRoleBindings have changed."""
        self._compare("operators", self._rights().operators)

    def api_server_changed(self) -> None:
        """EndpointSlices have changed."""
        self._compare("API server", self.api_server())

    def _report(self, part: str, store: RayClusterStore | NetworkPolicyStore | None) -> None:
        if store is None:
            return
        changed = set(store.changed)
        store.changed.clear()
        if self._seen.get(part) is not store:
            self._seen[part] = store
            self._callback(None)
            return
        for key in changed:
            self._callback(key)

    def _compare(self, part: str, value: object) -> None:
        if self._seen.get(part) != value:
            self._seen[part] = value
            self._callback(None)

    def _runs_kuberay(self, name: str) -> bool:
        """Whether the role that a binding names can run KubeRay."""
        role = role_named(name, self._roles.store, self._cluster_roles.store)
        return role is not None and role.can_run_kuberay
