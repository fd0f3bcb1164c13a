"""Adapters that implement `webhook.ports` with a real API server."""

import asyncio
import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from policies.documents.metadata import resource_version_of
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.membership import CLAIM_LABELS, OPT_IN_CLUSTER_LABEL, RAY_CLUSTER_LABEL
from webhook.kube.api import KubeApi
from webhook.kube.memory import NAMESPACES, RAY_CLUSTERS
from webhook.kube.pods import PODS
from webhook.kube.request import InvalidError, NotFoundError, Resource, backoff
from webhook.ports import ConflictError, StoredSeed, UnavailableError

SECRETS = Resource("", "v1", "secrets")
CONFIGURATIONS = tuple(
    Resource("admissionregistration.k8s.io", "v1", plural)
    for plural in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
)
SEED = "raywarden-seed"
# Pods that opted in, as `policies.ray.membership.has_opted_in` says, in a label selector.
_OPTED_IN = ",".join((OPT_IN_CLUSTER_LABEL, *(f"!{label}" for label in CLAIM_LABELS)))
# Other controllers may write a configuration at the same time; five tries outlast any such race.
_PATCH_ATTEMPTS = 5
_PATCH_PAUSE_SECONDS = 0.05


class KubeObjectLists:
    """`ports.ObjectLists`, read from the API server every time."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def ray_clusters(self) -> Sequence[Mapping[str, Any]]:
        try:
            return await self.list_all(RAY_CLUSTERS)
        except NotFoundError:
            return ()

    async def namespaces(self) -> Sequence[Mapping[str, Any]]:
        return await self.list_all(NAMESPACES)

    async def ray_pods(self) -> Sequence[Mapping[str, Any]]:
        # Label selectors have no "or", so list twice. A pod that claims to be KubeRay's counts as
        # KubeRay's.
        kuberay_pods = await self.list_all(PODS, RAY_CLUSTER_LABEL)
        opted_in_pods = await self.list_all(PODS, _OPTED_IN)
        return [*kuberay_pods, *opted_in_pods]

    async def list_all(
        self, resource: Resource, labels: str = "", fields: str = ""
    ) -> Sequence[Mapping[str, Any]]:
        """The objects of a resource, filtered by the label selector `labels` and by `fields`.

        Raises NotFoundError if the API server does not know the resource.
        """
        async with aclosing(self._api.pages(resource, labels=labels, fields=fields)) as pages:
            items: list[Mapping[str, Any]] = []
            async for page in pages:
                items += page.items
            return items


class KubeSeedStore:
    """`ports.SeedStore`: the Secret `raywarden-seed` in RayWarden's own namespace."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def load(self) -> StoredSeed | None:
        secret = await self._api.get(SECRETS, self._namespace, SEED)
        if secret is None:
            return None
        entries = {name: _decoded(value) for name, value in as_dict(secret.get("data")).items()}
        return StoredSeed(entries, resource_version_of(secret))

    async def create(self, entries: Mapping[str, bytes]) -> None:
        metadata = {
            "name": SEED,
            "namespace": self._namespace,
            "labels": {"app.kubernetes.io/name": "raywarden"},
        }
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"}
        await self._api.create(SECRETS, self._namespace, {**secret, "data": _encoded(entries)})

    async def replace(self, stored: StoredSeed, entries: Mapping[str, bytes]) -> None:
        # Read the Secret again to keep labels and annotations of other writers. Their changes after
        # this read are caught, too: the API server compares the resourceVersion once more.
        secret = await self._api.get(SECRETS, self._namespace, SEED)
        if secret is None or resource_version_of(secret) != stored.version:
            raise ConflictError(
                f"the Secret {self._namespace}/{SEED} has changed since it was read"
            )
        await self._api.replace(
            SECRETS, self._namespace, SEED, {**secret, "data": _encoded(entries)}
        )


class KubeWebhookConfigurations:
    """`ports.WebhookConfigurations`: the mutating and the validating one, which share a name."""

    def __init__(self, api: KubeApi, name: str) -> None:
        self._api = api
        self._name = name

    async def trust(self, ca: bytes) -> bool:
        bundle = base64.b64encode(ca).decode()
        written = [await self._write_bundle(resource, bundle) for resource in CONFIGURATIONS]
        return any(written)

    async def delete(self) -> Sequence[Resource]:
        """Delete both, the one that refuses first; returns those that existed."""
        deleted = []
        for resource in reversed(CONFIGURATIONS):
            try:
                await self._api.delete(resource, "", self._name, {})
            except NotFoundError:
                continue
            deleted.append(resource)
        return deleted

    async def _write_bundle(self, resource: Resource, bundle: str) -> bool:
        for attempt in range(1, _PATCH_ATTEMPTS + 1):
            configuration = await self._api.get(resource, "", self._name)
            if configuration is None:
                raise UnavailableError(
                    f"{self._name} does not exist in {resource}: apply deploy/base"
                )
            additions = tuple(_bundle_additions(configuration, bundle))
            if not additions:
                return False
            operations = (_version_test(configuration), *additions)
            try:
                await self._api.patch(resource, "", self._name, operations)
                return True
            except (ConflictError, InvalidError):
                await asyncio.sleep(backoff(attempt, _PATCH_PAUSE_SECONDS))
        raise UnavailableError(
            f"the caBundle of {self._name} in {resource} cannot be written: another client keeps "
            "changing the object, or the API server refuses the change"
        )


def _decoded(value: Any) -> bytes:
    """The bytes of an entry; b"" if it is not base64, which no parser accepts as a seed."""
    try:
        return base64.b64decode(as_str(value), validate=True)
    except ValueError:
        return b""


def _encoded(entries: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(value).decode() for name, value in entries.items()}


def _bundle_additions(configuration: Mapping[str, Any], bundle: str) -> Iterator[Mapping[str, Any]]:
    for index, webhook in dict_items(configuration.get("webhooks")):
        if as_dict(webhook.get("clientConfig")).get("caBundle") != bundle:
            yield {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": bundle}


def _version_test(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """A patch operation that fails if the object has changed since it was read.

    Without it, an index in the patch could address another webhook.
    """
    return {
        "op": "test",
        "path": "/metadata/resourceVersion",
        "value": resource_version_of(configuration),
    }
