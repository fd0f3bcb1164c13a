"""What we ask of the world, as small as it can be said. Consumers name the port; `wiring` picks the adapter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from certs.identity import Cluster, LivePod, Service, TokenIdentity
from policies.cluster.state import NamespaceState


class UnavailableError(Exception):
    """The API server could not be asked, or refused us; the message is for the operator."""


class ConflictError(Exception):
    """Somebody else changed the object since it was read."""


class NamespaceStates(Protocol):
    """What the rules may know of a namespace, from memory: the admission path makes no API call."""

    def state_of(self, namespace: str) -> NamespaceState:
        """What is known of `namespace`, at a cost that does not grow with what the cluster holds."""
        ...


class LiveObjects(Protocol):
    """What enrollment asks of the API server. Every call may raise UnavailableError."""

    async def caller(self, token: str) -> TokenIdentity | None:
        """The pod a service account token is bound to; None unless it is valid, for our audience, and bound to one."""
        ...

    async def pod(self, namespace: str, name: str) -> LivePod | None:
        """The pod as it is stored now."""
        ...

    async def ray_cluster(self, namespace: str, name: str, uid: str) -> Cluster | None:
        """The RayCluster of this name and uid."""
        ...

    async def opted_in_cluster(self, namespace: str, name: str) -> Cluster | None:
        """A cluster of Ray without KubeRay, which lives as long as its namespace; None where there is no such."""
        ...

    async def services(self, namespace: str) -> Iterable[Service]:
        """The Services of a namespace."""
        ...

    def ray_clusters(self) -> Iterable[Cluster]:
        """All RayClusters, from memory."""
        ...


@dataclass(frozen=True, slots=True)
class StoredSeed:
    """The entries of the seed as they are stored, and the version they were read at."""

    entries: Mapping[str, bytes] = field(repr=False)
    version: str = ""


class SeedStore(Protocol):
    """Where the seed is kept. Every call may raise UnavailableError."""

    async def load(self) -> StoredSeed | None:
        """The seed; None where none is stored."""
        ...

    async def create(self, entries: Mapping[str, bytes]) -> None:
        """Store the first seed; raises ConflictError where there is one already."""
        ...

    async def replace(self, stored: StoredSeed, entries: Mapping[str, bytes]) -> None:
        """Store `entries` in place of what was read; raises ConflictError where that has changed since."""
        ...


class ObjectLists(Protocol):
    """Everything there is of a kind, raw as JSON has it. Every call may raise UnavailableError."""

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
    """Our own webhook configurations, through which the API server finds us."""

    async def trust(self, ca: bytes) -> bool:
        """Have every webhook of ours trust `ca` (PEM); gives whether anything had to be written.

        Raises UnavailableError, also where a configuration does not exist.
        """
        ...
