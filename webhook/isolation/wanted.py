"""Which NetworkPolicies a RayCluster should have now, and what is missing of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from policies.documents.untyped import clipped
from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ClusterIsolation, IsolationMode
from policies.network.managed import ManagedCluster, StoredNetworkPolicy
from policies.network.written import Members, PolicyNames, WrittenPolicy, policies_for
from webhook.ports import ClusterKey, IsolationState

# Each is computed in a tenth of a millisecond; the cache is for pods that ask every second.
_MAX_KEPT = 10_000
_NOT_SYNCED = "RayWarden has not read the NetworkPolicies of the cluster yet"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write for a RayCluster.

    `cluster` is None if it needs no policies of RayWarden. `write`: policies that do not exist or
    differ, each with what is stored. `delete`: policies of RayWarden that are no longer needed.
    """

    cluster: ManagedCluster | None = None
    write: Sequence[tuple[WrittenPolicy, StoredNetworkPolicy | None]] = ()
    delete: Sequence[StoredNetworkPolicy] = ()


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Everything that the policies of a cluster are computed from."""

    cluster: ManagedCluster
    isolation: ClusterIsolation
    infrastructure: Infrastructure


class WantedPolicies:
    """`ports.NetworkPolicies`, and what to write.

    `isolation_of` gives what the policy file says for a namespace. `infrastructure` has what does
    not change while the server runs: the signer, and the API server's Service. `problem_of` is set
    by those who write; it says why policies of a cluster could not be written.
    """

    def __init__(
        self,
        state: IsolationState,
        isolation_of: Callable[[str], ClusterIsolation],
        infrastructure: Infrastructure,
    ) -> None:
        self._state = state
        self._isolation_of = isolation_of
        self._infrastructure = infrastructure
        self._computed: dict[ClusterKey, tuple[_Inputs, Sequence[WrittenPolicy]]] = {}
        self.problem_of: Callable[[ClusterKey], str] = lambda key: ""

    def missing(self, namespace: str, cluster: str, uid: str) -> str:
        if not self._state.synced:
            return _NOT_SYNCED
        name = clipped(cluster)
        if self._state.uid_of(namespace, cluster) != uid:
            return f"the RayCluster {name} is not in RayWarden's cache yet"
        managed = self._state.managed(namespace, cluster)
        if managed is None or self._isolation(managed).mode is IsolationMode.OFF:
            return ""
        if managed.kuberay_isolates:
            stand = self._state.kuberay_isolates(namespace, cluster)
            return "" if stand else f"KubeRay has not written the NetworkPolicies of {name} yet"
        for policy, stored in self._pairs(managed):
            if stored is None or not stored.stands(policy, managed.uid):
                state = "does not exist yet" if stored is None else "is not up to date yet"
                problem = self.problem_of((namespace, cluster))
                reason = f" ({problem})" if problem else ""
                return f"the NetworkPolicy {clipped(policy.name)} {state}{reason}"
        return ""

    def plan(self, namespace: str, name: str) -> Plan:
        """What to write and delete for a RayCluster, also for one that does not exist any more."""
        stored = [policy for policy in self._state.policies_of(namespace, name) if policy.is_ours]
        unneeded = [policy for policy in stored if not policy.ended]
        cluster = self._state.managed(namespace, name)
        if cluster is None or self._isolation(cluster).mode is IsolationMode.OFF:
            self._computed.pop((namespace, name), None)
            return Plan(delete=unneeded)
        if cluster.kuberay_isolates:
            # Until KubeRay's policies stand, ours keep the cluster closed.
            stand = self._state.kuberay_isolates(namespace, name)
            return Plan(delete=unneeded if stand else ())
        pairs = list(self._pairs(cluster))
        write = [pair for pair in pairs if _must_write(*pair, cluster)]
        names = {policy.name for policy, _ in pairs}
        return Plan(cluster, write, [policy for policy in unneeded if policy.name not in names])

    def _pairs(
        self, cluster: ManagedCluster
    ) -> Sequence[tuple[WrittenPolicy, StoredNetworkPolicy | None]]:
        """Each policy of a cluster, and what is stored under its name."""
        stored = self._state.policies_of(cluster.namespace, cluster.name)
        by_name = {policy.name: policy for policy in stored}
        return [(policy, by_name.get(policy.name)) for policy in self._policies(cluster)]

    def _policies(self, cluster: ManagedCluster) -> Sequence[WrittenPolicy]:
        key = (cluster.namespace, cluster.name)
        infrastructure = replace(
            self._infrastructure,
            operators=tuple(self._state.operators(cluster.namespace)),
            api_server=(*self._state.api_server(), *self._infrastructure.api_server),
        )
        inputs = _Inputs(cluster, self._isolation(cluster), infrastructure)
        known = self._computed.get(key)
        if known and known[0] == inputs:
            return known[1]
        names, members = PolicyNames.of(cluster.name), Members.of(cluster.name)
        policies = tuple(
            policies_for(cluster.traffic, inputs.isolation, infrastructure, names, members)
        )
        if len(self._computed) >= _MAX_KEPT:
            self._computed.clear()
        self._computed[key] = (inputs, policies)
        return policies

    def _isolation(self, cluster: ManagedCluster) -> ClusterIsolation:
        return cluster.isolation(self._isolation_of(cluster.namespace))


class NoNetworkPolicies:
    """`ports.NetworkPolicies` of a server that writes none: pods wait for nothing."""

    def missing(self, namespace: str, cluster: str, uid: str) -> str:
        return ""


def _must_write(
    policy: WrittenPolicy, stored: StoredNetworkPolicy | None, cluster: ManagedCluster
) -> bool:
    if stored is None:
        # A namespace that is being deleted takes no new objects.
        return not cluster.ended
    return not stored.is_as(policy, cluster.uid)
