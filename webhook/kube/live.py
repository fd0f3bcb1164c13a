"""What is known of the cluster: from memory, and in doubt from the API server."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from certs.identity import Cluster, LivePod, Service, TokenIdentity
from policies.cluster.state import NamespaceState
from policies.injection.contract import AUDIENCE
from webhook.kube.api import KubeApi
from webhook.kube.isolation import KubeIsolation
from webhook.kube.memory import NAMESPACES, RAY_CLUSTERS, KubeMemory
from webhook.kube.objects import caller_of, opted_in_cluster_of, pod_of, ray_cluster_of
from webhook.kube.pods import PODS, StartingPods
from webhook.kube.request import Resource
from webhook.kube.token import InvalidTokenError, UndecidedTokenError
from webhook.kube.token_keys import TokenKeys
from webhook.ports import UnavailableError

T = TypeVar("T")

TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews")


class KubeLive:
    """`ports.LiveObjects` and `ports.NamespaceStates`; memory is filled while `run` runs.

    A pod and a RayCluster come from memory if they are there with the right uid, and memory is
    fresh. In doubt they are read, because memory may be out of date: it never says that an object
    does not exist. With `keys`, tokens that these verify are not reviewed by the API server.

    `lookups` counts what enrollments have asked for: an object, and where the answer came from.
    """

    def __init__(
        self, api: KubeApi, *, keys: TokenKeys | None = None, retry_seconds: float = 30.0
    ) -> None:
        self._api = api
        self._keys = keys
        self._memory = KubeMemory(api, retry_seconds=retry_seconds)
        self._pods = StartingPods(api, retry_seconds=retry_seconds)
        self.lookups = Counter[tuple[str, str]]()

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources that are kept in memory."""
        return (*self._memory.resources, str(self._pods.informer.resource))

    @property
    def isolation(self) -> KubeIsolation:
        """What the isolation of RayClusters reads."""
        return self._memory.isolation

    def up_to_date(self) -> Mapping[str, bool]:
        """Whether the cache of each of `resources` is up to date."""
        pods = self._pods.informer
        return {**self._memory.up_to_date(), str(pods.resource): pods.up_to_date}

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._memory.run())
            group.create_task(self._pods.informer.run())

    async def follow_kuberay(self) -> None:
        """Follow what the installed KubeRay knows until cancelled."""
        await self._memory.follow_kuberay()

    async def run_with(
        self,
        on_listed: Callable[[str], None],
        tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    ) -> None:
        """Follow the API server beside `tasks`, then close the connection; see `wait_synced`."""
        async with self._api, asyncio.TaskGroup() as group:
            group.create_task(self.run())
            group.create_task(self.follow_kuberay())
            if self._keys:
                group.create_task(self._keys.run())
            for task in tasks:
                group.create_task(task())
            await self.wait_synced(on_listed)

    async def wait_synced(self, on_listed: Callable[[str], None] = lambda resource: None) -> None:
        """Wait until every resource has been listed once.

        Calls `on_listed` with the name of each of `resources` as soon as it has been listed.
        """

        async def wait_for_pods() -> None:
            await self._pods.informer.synced.wait()
            on_listed(str(self._pods.informer.resource))

        await asyncio.gather(self._memory.wait_synced(on_listed), wait_for_pods())

    def state_of(self, namespace: str) -> NamespaceState:
        return self._memory.state_of(namespace)

    async def caller(self, token: str) -> TokenIdentity | None:
        # The API server answers 400 to an empty token, which would look like a defect of ours.
        if not token:
            return None
        if self._keys:
            with suppress(UndecidedTokenError):
                return self._verified(self._keys, token)
        self.lookups["token", "api"] += 1
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        answer = await self._api.review(TOKEN_REVIEWS, review)
        return caller_of(answer.get("status"), AUDIENCE)

    def _verified(self, keys: TokenKeys, token: str) -> TokenIdentity | None:
        try:
            caller = keys.caller(token)
        except InvalidTokenError:
            caller = None
        self.lookups["token", "memory"] += 1
        return caller

    async def pod(self, namespace: str, name: str, uid: str) -> LivePod | None:
        pod = self._pods.get(namespace, name, uid)
        self.lookups["pod", "memory" if pod else "api"] += 1
        return pod or await self._live(PODS, namespace, name, pod_of)

    async def wait_for_pod(self, namespace: str, name: str, seconds: float) -> None:
        await self._pods.wait(namespace, name, seconds)

    async def ray_cluster(self, namespace: str, name: str, uid: str) -> Cluster | None:
        cluster = self._memory.fresh_ray_cluster(namespace, name, uid)
        self.lookups["cluster", "memory" if cluster else "api"] += 1
        cluster = cluster or await self._live(RAY_CLUSTERS, namespace, name, ray_cluster_of)
        return cluster if cluster and cluster.uid == uid else None

    async def opted_in_cluster(self, namespace: str, name: str) -> Cluster | None:
        # Always read: no uid says which of two namespaces of one name a pod belongs to, and its CA
        # must not be that of the namespace before.
        self.lookups["cluster", "api"] += 1
        return await self._live(NAMESPACES, "", namespace, partial(opted_in_cluster_of, name=name))

    async def services(self, namespace: str) -> Iterable[Service]:
        # This raises before the Services are listed. "Not known yet" must not count as "none": the
        # pod would get a certificate without its Service names, and keep it for life.
        return self._memory.services(namespace)

    def ray_clusters(self) -> Iterable[Cluster]:
        return self._memory.ray_clusters()

    def known_ray_cluster(self, namespace: str, name: str) -> Cluster | None:
        return self._memory.ray_cluster(namespace, name)

    async def _live(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        convert: Callable[[Mapping[str, Any]], T],
    ) -> T | None:
        document = await self._api.get(resource, namespace, name)
        if document is None:
            return None
        try:
            return convert(document)
        except ValueError as error:
            raise UnavailableError(
                f"get {resource}: {namespace}/{name} is malformed ({error})"
            ) from error
