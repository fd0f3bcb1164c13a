"""The interfaces through which the server reaches the cluster; `wiring` picks the adapters."""

# Commands that sign nothing use these interfaces, too, and must not wait for `cryptography`.
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from policies.cluster.state import NamespaceState
from policies.network.managed import ManagedCluster, StoredNetworkPolicy

if TYPE_CHECKING:
    from certs.client import ClusterName
    from certs.identity import Cluster, LivePod, Service, TokenIdentity


class UnavailableError(Exception):
    """The API server did not answer or refused the request; the message is for the operator."""


class ConflictError(Exception):
    """Another client changed the object since it was read."""


class NamespaceStates(Protocol):
    """What rules may know about a namespace, from memory: the admission path calls no API."""

    def state_of(self, namespace: str) -> NamespaceState:
        """The state of `namespace`, at a cost that does not grow with the size of the cluster."""
        ...


class NetworkPolicies(Protocol):
    """Whether the NetworkPolicies of RayClusters stand, from memory."""

    def missing(self, namespace: str, cluster: str, uid: str) -> str:
        """What pods of a RayCluster must wait for; empty if its policies stand or it needs none."""
        ...


# A RayCluster's namespace and name.
ClusterKey = tuple[str, str]


class IsolationState(Protocol):
    """What decides which NetworkPolicies RayClusters have, from memory."""

    @property
    def synced(self) -> bool:
        """Whether everything that is read here has been listed."""
        ...

    def on_change(self, callback: Callable[[ClusterKey | None], None]) -> None:
        """Call `callback` with each RayCluster that may need other policies; None means all."""
        ...

    def keys(self) -> Iterable[ClusterKey]:
        """The managed RayClusters, and those that policies with RayWarden's names belong to."""
        ...

    @property
    def knows_clusters(self) -> bool:
        """Whether the API server has RayClusters; without their CRD, all of them seem deleted."""
        ...

    def uid_of(self, namespace: str, name: str) -> str:
        """The uid of a RayCluster; empty if it is not in the cache."""
        ...

    def managed(self, namespace: str, name: str) -> ManagedCluster | None:
        """The RayCluster; None if RayWarden writes no policies for it."""
        ...

    def policies_of(self, namespace: str, name: str) -> Sequence[StoredNetworkPolicy]:
        """The stored policies with the names that RayWarden gives to those of this RayCluster."""
        ...

    def kuberay_isolates(self, namespace: str, name: str) -> bool:
        """Whether policies that the RayCluster controls select the pods of all its groups."""
        ...

    def operators(self, namespace: str) -> Sequence[str]:
        """The namespaces of the KubeRay operators that work in `namespace`, as RBAC shows them."""
        ...

    def api_server(self) -> Sequence[tuple[str, int]]:
        """The addresses and ports of the API server's endpoints."""
        ...


class NotWrittenError(UnavailableError):
    """A NetworkPolicy could not be written; `reason` is a word for metrics."""

    REASONS = ("conflict", "defect", "forbidden", "refused", "unavailable")

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class PolicyWriter(Protocol):
    """Writes NetworkPolicies. Every call may raise NotWrittenError."""

    async def apply(self, document: Mapping[str, Any]) -> str:
        """Apply a NetworkPolicy, over changes of others; returns its resourceVersion."""
        ...

    async def delete(self, policy: StoredNetworkPolicy) -> None:
        """Delete a policy that has not changed since it was read, if it still exists."""
        ...

    async def record(self, event: Mapping[str, Any]) -> None:
        """Store an Event, or count it once more if it exists."""
        ...


class Leases(Protocol):
    """The Lease by which replicas agree on one. Every call may raise UnavailableError."""

    async def load(self) -> Mapping[str, Any] | None:
        """The Lease; None if it does not exist."""
        ...

    async def create(self, spec: Mapping[str, Any]) -> None:
        """Create the Lease; raises ConflictError if it exists already."""
        ...

    async def replace(self, lease: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        """Give `lease` another spec; raises ConflictError if it has changed since it was read."""
        ...


class LiveObjects(Protocol):
    """What enrollment knows of the cluster. Every call may raise UnavailableError."""

    async def caller(self, token: str) -> TokenIdentity | None:
        """The pod that a service account token is bound to.

        None if the token is invalid, has another audience, or is not bound to a pod.
        """
        ...

    async def pod(self, namespace: str, name: str, uid: str) -> LivePod | None:
        """The pod of this uid as it was a moment ago, or the one that has its name now, if any."""
        ...

    async def wait_for_pod(self, namespace: str, name: str, seconds: float) -> None:
        """Return when the pod may have changed, after `seconds` at the latest."""
        ...

    async def ray_cluster(self, namespace: str, name: str, uid: str) -> Cluster | None:
        """The RayCluster of this name and uid as it was a moment ago; None if it does not exist."""
        ...

    async def opted_in_cluster(self, namespace: str, name: str) -> Cluster | None:
        """A Ray cluster without KubeRay, which lives as long as its namespace; None without it."""
        ...

    async def services(self, namespace: str) -> Iterable[Service]:
        """The Services of a namespace."""
        ...

    def ray_clusters(self) -> Iterable[Cluster]:
        """All RayClusters, from memory."""
        ...

    def known_ray_cluster(self, namespace: str, name: str) -> Cluster | None:
        """A RayCluster, from memory; None if it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class StoredSeed:
    """The stored entries of the seed, and the resourceVersion they were read at."""

    entries: Mapping[str, bytes] = field(repr=False)
    version: str = ""


class SeedStore(Protocol):
    """The place where the seed is stored. Every call may raise UnavailableError."""

    async def load(self) -> StoredSeed | None:
        """The seed; None if none is stored."""
        ...

    async def create(self, entries: Mapping[str, bytes]) -> None:
        """Store the first seed; raises ConflictError if one exists already."""
        ...

    async def replace(self, stored: StoredSeed, entries: Mapping[str, bytes]) -> None:
        """Store `entries` instead of `stored`; raises ConflictError if it has changed since."""
        ...


class ObjectLists(Protocol):
    """All objects of a kind, as raw JSON. Every call may raise UnavailableError."""

    async def ray_clusters(self) -> Sequence[Mapping[str, Any]]:
        """The RayClusters of all namespaces."""
        ...

    async def namespaces(self) -> Sequence[Mapping[str, Any]]:
        """All namespaces."""
        ...

    async def ray_pods(self) -> Sequence[Mapping[str, Any]]:
        """The pods of all Ray clusters, with KubeRay and without."""
        ...


class WebhookConfigurations(Protocol):
    """RayWarden's webhook configurations, which tell the API server how to call it."""

    async def trust(self, ca: bytes) -> bool:
        """Write `ca` (PEM) as the caBundle of every webhook; True if anything had to be written.

        Raises UnavailableError, also if a configuration does not exist.
        """
        ...


@dataclass(frozen=True, slots=True)
class Requester:
    """Who created an object; the API server writes these fields, and users cannot."""

    name: str
    uid: str
    groups: Sequence[str]
    extra: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A CertificateSigningRequest for RayWarden's signer.

    `lifetime`: the requested seconds; None if the request leaves that to the signer. `decided`: it
    is denied, failed or has its certificate. `version`: the resourceVersion.
    """

    name: str
    uid: str
    version: str
    created: datetime
    requester: Requester
    csr: bytes
    usages: Sequence[str]
    lifetime: int | None
    approved: bool
    decided: bool


class ClientRequests(Protocol):
    """The CertificateSigningRequests of people. Every call may raise UnavailableError.

    Those that write raise ConflictError if the request has changed since it was read.
    """

    async def follow(self, offer: Callable[[ClientRequest], None]) -> None:
        """Call `offer` with each request that is not decided, now and later, until cancelled."""
        ...

    async def read(self, request: ClientRequest) -> ClientRequest | None:
        """The request as it is stored now; None if it is gone."""
        ...

    async def may_connect(self, requester: Requester, cluster: ClusterName) -> bool:
        """Whether RBAC, or another authorizer, lets the requester connect to a cluster."""
        ...

    async def cluster(self, name: ClusterName) -> tuple[Cluster | None, str]:
        """The live cluster whose pods have certificates from RayWarden.

        Without one: None, and what is missing.
        """
        ...

    async def approve(self, request: ClientRequest, message: str) -> ClientRequest:
        """Approve a request; returns it as it is stored then."""
        ...

    async def deny(self, request: ClientRequest, reason: str, message: str) -> None:
        """Deny a request that is not approved."""
        ...

    async def fail(self, request: ClientRequest, reason: str, message: str) -> None:
        """Record that no certificate will be issued."""
        ...

    async def issue(self, request: ClientRequest, certificates: bytes) -> None:
        """Store the certificates (PEM) of an approved request."""
        ...

    async def record(self, request: ClientRequest, cluster: Cluster, message: str) -> None:
        """Store an Event about an issued certificate on its RayCluster, if there is one."""
        ...
