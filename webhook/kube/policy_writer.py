"""Writes NetworkPolicies, Events about them, and the Lease of the replica that writes them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from policies.documents.metadata import namespace_of, resource_version_of
from policies.network.managed import StoredNetworkPolicy
from webhook.kube.api import KubeApi
from webhook.kube.memory import NETWORK_POLICIES
from webhook.kube.request import (
    BusyError,
    ForbiddenError,
    NotFoundError,
    Resource,
)
from webhook.ports import ConflictError, NotWrittenError, UnavailableError

EVENTS = Resource("events.k8s.io", "v1", "events")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
LEASE = "raywarden-network-policies"
_MANAGER = "raywarden"


class KubePolicyWriter:
    """`ports.PolicyWriter`."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def apply(self, document: Mapping[str, Any]) -> str:
        async with _explained():
            stored = await self._api.apply(
                NETWORK_POLICIES, namespace_of(document), document, manager=_MANAGER
            )
        return resource_version_of(stored)

    async def delete(self, policy: StoredNetworkPolicy) -> None:
        unchanged = {"uid": policy.uid, "resourceVersion": policy.version}
        async with _explained():
            try:
                await self._api.delete(NETWORK_POLICIES, policy.namespace, policy.name, unchanged)
            except NotFoundError:
                return

    async def record(self, event: Mapping[str, Any]) -> None:
        async with _explained():
            await self._api.apply(EVENTS, namespace_of(event), event, manager=_MANAGER)


class KubeLeases:
    """`ports.Leases`: the Lease `raywarden-network-policies` in RayWarden's own namespace."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def load(self) -> Mapping[str, Any] | None:
        return await self._api.get(LEASES, self._namespace, LEASE)

    async def create(self, spec: Mapping[str, Any]) -> None:
        metadata = {
            "name": LEASE,
            "namespace": self._namespace,
            "labels": {"app.kubernetes.io/name": "raywarden"},
        }
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
        await self._api.create(LEASES, self._namespace, {**lease, "spec": spec})

    async def replace(self, lease: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        await self._api.replace(LEASES, self._namespace, LEASE, {**lease, "spec": spec})


@asynccontextmanager
async def _explained() -> AsyncIterator[None]:
    """Raise every exception of the client as NotWrittenError, with the reason for metrics."""
    try:
        yield
    except ConflictError as error:
        raise NotWrittenError(str(error), "conflict") from error
    except ForbiddenError as error:
        raise NotWrittenError(str(error), "forbidden") from error
    except UnavailableError as error:
        reason = "unavailable" if isinstance(error, BusyError) else "refused"
        raise NotWrittenError(str(error), reason) from error
