"""A cluster in memory for the isolation of RayClusters, and a clock that tests move."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ISOLATION_ANNOTATION, MANAGED, ClusterIsolation
from policies.network.isolation import IsolationMode as Mode
from policies.network.managed import ManagedCluster, StoredNetworkPolicy, cluster_of
from tests.support.factory import Object, changed, ray_cluster
from webhook.isolation.controller import IsolationController
from webhook.isolation.lease import Election
from webhook.isolation.reports import Reports
from webhook.isolation.wanted import WantedPolicies
from webhook.ports import ClusterKey, ConflictError, NotWrittenError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def raw_cluster(name: str = "demo", uid: str = "u1", **annotations: str) -> Object:
    """A managed RayCluster as it is stored."""
    managed = {ISOLATION_ANNOTATION: MANAGED, **annotations}
    metadata = {"name": name, "namespace": "ray", "uid": uid, "annotations": managed}
    return changed(ray_cluster(), {"/metadata": metadata})


class ScriptedState:
    """`ports.IsolationState`; tests change its fields, and then call `changed`."""

    def __init__(self) -> None:
        self.synced = True
        self.knows_clusters = True
        self.clusters: dict[ClusterKey, ManagedCluster | None] = {}
        self.uids: dict[ClusterKey, str] = {}
        self.policies: dict[ClusterKey, StoredNetworkPolicy] = {}
        self.kuberay: set[ClusterKey] = set()
        self.changed: Callable[[ClusterKey | None], None] = lambda key: None

    def put(self, document: Mapping[str, Any]) -> None:
        """Store a RayCluster."""
        metadata = document["metadata"]
        key = (metadata["namespace"], metadata["name"])
        self.clusters[key] = ManagedCluster.of(document)
        self.uids[key] = metadata["uid"]
        self.changed(key)

    def remove(self, namespace: str, name: str) -> None:
        """Delete a RayCluster, but not its policies."""
        self.clusters.pop((namespace, name))
        self.uids.pop((namespace, name))
        self.changed((namespace, name))

    def on_change(self, callback: Callable[[ClusterKey | None], None]) -> None:
        self.changed = callback

    def keys(self) -> Iterable[ClusterKey]:
        policies = [(namespace, cluster_of(name)) for namespace, name in self.policies]
        return {*(key for key, cluster in self.clusters.items() if cluster), *policies}

    def uid_of(self, namespace: str, name: str) -> str:
        return self.uids.get((namespace, name), "")

    def managed(self, namespace: str, name: str) -> ManagedCluster | None:
        return self.clusters.get((namespace, name))

    def policies_of(self, namespace: str, name: str) -> Sequence[StoredNetworkPolicy]:
        return [
            policy
            for (place, stored), policy in self.policies.items()
            if place == namespace and cluster_of(stored) == name
        ]

    def kuberay_isolates(self, namespace: str, name: str) -> bool:
        return (namespace, name) in self.kuberay

    def operators(self, namespace: str) -> Sequence[str]:
        return ["kuberay-system"]

    def api_server(self) -> Sequence[tuple[str, int]]:
        return [("10.0.0.1", 6443)]


class ScriptedWriter:
    """`ports.PolicyWriter`, which stores in a `ScriptedState` unless `error` is set.

    With `lags`, the state does not learn of what is written.
    """

    def __init__(self, state: ScriptedState) -> None:
        self.error: NotWrittenError | None = None
        self.lags = False
        self.applied: list[str] = []
        self.deleted: list[str] = []
        self.events: list[Mapping[str, Any]] = []
        self._state = state
        self._version = 0

    async def apply(self, document: Mapping[str, Any]) -> str:
        await asyncio.sleep(0)
        metadata = document["metadata"]
        self.applied.append(metadata["name"])
        if self.error:
            raise self.error
        self._version += 1
        if not self.lags:
            stored = {**metadata, "resourceVersion": str(self._version)}
            self.store({**document, "metadata": stored})
        return str(self._version)

    def store(self, document: Mapping[str, Any]) -> None:
        """Store a policy, also as somebody else."""
        policy = StoredNetworkPolicy.of(document)
        self._state.policies[policy.namespace, policy.name] = policy
        self._state.changed((policy.namespace, cluster_of(policy.name)))

    async def delete(self, policy: StoredNetworkPolicy) -> None:
        await asyncio.sleep(0)
        self.deleted.append(policy.name)
        if self.error:
            raise self.error
        del self._state.policies[policy.namespace, policy.name]
        self._state.changed((policy.namespace, cluster_of(policy.name)))

    async def record(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)


class ScriptedLeases:
    """`ports.Leases`, shared by replicas; `error` is raised by every call."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.error: Exception | None = None
        self._version = 0

    async def load(self) -> Mapping[str, Any] | None:
        if self.error:
            raise self.error
        return self.lease

    async def create(self, spec: Mapping[str, Any]) -> None:
        if self.lease:
            raise ConflictError("exists")
        self._put(spec)

    async def replace(self, lease: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        if self.error:
            raise self.error
        if not self.lease or lease["version"] != self.lease["version"]:
            raise ConflictError("changed")
        self._put(spec)

    def _put(self, spec: Mapping[str, Any]) -> None:
        self._version += 1
        self.lease = {"version": self._version, "spec": dict(spec)}


class Clock:
    """Seconds that only tests move."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Scripted:
    """A controller with doubles; it leads unless another replica has the Lease."""

    def __init__(
        self,
        mode: Mode = Mode.MEMBERS,
        leases: ScriptedLeases | None = None,
        identity: str = "me",
    ) -> None:
        self.isolation = ClusterIsolation(mode)
        self.clock = Clock()
        self.state = ScriptedState()
        self.writer = ScriptedWriter(self.state)
        self.leases = leases or ScriptedLeases()
        infrastructure = Infrastructure(signer=("raywarden-system", 8444))
        self.wanted = WantedPolicies(self.state, lambda namespace: self.isolation, infrastructure)
        self.reports = Reports(self.writer, identity, self.clock, lambda: NOW)
        self.election = Election(self.leases, identity, self.clock, lambda: NOW)
        self.controller = IsolationController(
            self.state, self.wanted, self.writer, self.election, self.reports
        )

    def missing(self, uid: str = "u1", name: str = "demo") -> str:
        return self.wanted.missing("ray", name, uid)
