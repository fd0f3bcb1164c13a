"""Stores of NetworkPolicies and EndpointSlices, as rules and network isolation need them."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from policies.cluster.endpoints import LiveEndpoints
from policies.network.managed import StoredNetworkPolicy, cluster_of
from policies.network.policy import NetworkPolicy
from webhook.kube.objects import addresses_of
from webhook.kube.store import ByNamespace

# The slice that the API server itself writes for the Service `kubernetes`. Those who can write it
# can redirect every client of the API server; other slices of that Service do not count here.
_API_SERVER = ("default", "kubernetes")
# A control plane has a few.
_MAX_ADDRESSES = 64


class NetworkPolicyStore:
    """NetworkPolicies as rules see them, and in full those with RayWarden's names.

    `changed`: the RayClusters that a changed policy belongs to, until they are taken out.
    """

    def __init__(self) -> None:
        self.for_rules = ByNamespace[NetworkPolicy]()
        self.written = ByNamespace[StoredNetworkPolicy]()
        self.changed: set[tuple[str, str]] = set()

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        self._note(namespace, name)
        self.for_rules.set(namespace, name, NetworkPolicy(document))
        if cluster_of(name):
            self.written.set(namespace, name, StoredNetworkPolicy.of(document))
        self._note(namespace, name)

    def remove(self, namespace: str, name: str) -> None:
        self._note(namespace, name)
        self.for_rules.remove(namespace, name)
        self.written.remove(namespace, name)

    def _note(self, namespace: str, name: str) -> None:
        view = self.for_rules.get(namespace, name)
        for cluster in (cluster_of(name), view.owner if view else ""):
            if cluster:
                self.changed.add((namespace, cluster))

    def __len__(self) -> int:
        return len(self.for_rules)


class EndpointStore(ByNamespace[LiveEndpoints]):
    """EndpointSlices as rules see them, and the addresses and ports of the API server."""

    def __init__(self) -> None:
        super().__init__()
        self.api_server: tuple[tuple[str, int], ...] = ()

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        self.set(namespace, name, LiveEndpoints.of(document))
        if (namespace, name) == _API_SERVER:
            addresses = islice(addresses_of(document), _MAX_ADDRESSES)
            self.api_server = tuple(sorted(set(addresses)))

    def remove(self, namespace: str, name: str) -> None:
        super().remove(namespace, name)
        if (namespace, name) == _API_SERVER:
            self.api_server = ()
