"""The pods of RayClusters that are starting, in memory: those that may enroll."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from certs.identity import LivePod
from policies.documents.metadata import metadata_of
from policies.documents.untyped import as_dict, dict_items
from policies.ray.membership import RAY_CLUSTER_LABEL
from webhook.kube.api import KubeApi
from webhook.kube.informer import BRIEF_WATCH_SECONDS, Informer
from webhook.kube.objects import pod_of
from webhook.kube.request import Resource
from webhook.kube.store import ByNamespace

PODS = Resource("", "v1", "pods")
# Until its init containers have ended, the phase of a pod is Pending: running pods, which are most,
# need no memory here, and their events are not even sent.
_FIELDS = "status.phase=Pending"
# Authors choose labels. A pod of KubeRay takes half a kilobyte; one that takes more than this is
# read from the API server when it enrolls.
_MAX_BYTES = 8 * 1024
_METADATA = ("namespace", "name", "uid", "labels", "deletionTimestamp")
_SPEC = ("serviceAccountName", "hostname", "subdomain")
_STATUS = ("phase", "podIP", "podIPs")


class StartingPods:
    """The pods of RayClusters whose phase is Pending, while `informer` runs."""

    def __init__(self, api: KubeApi, *, retry_seconds: float) -> None:
        self._waiting: dict[tuple[str, str], set[asyncio.Future[None]]] = {}
        self.informer = Informer(
            api,
            PODS,
            lambda: PodStore(self._wake),
            labels=RAY_CLUSTER_LABEL,
            fields=_FIELDS,
            watch_seconds=BRIEF_WATCH_SECONDS,
            retry_seconds=retry_seconds,
        )

    def get(self, namespace: str, name: str, uid: str) -> LivePod | None:
        """The pod of this uid; None if it is not known, or if memory may be out of date."""
        store = self.informer.store
        if store is None or not self.informer.is_fresh:
            return None
        pod = store.pod(namespace, name)
        return pod if pod and pod.uid == uid else None

    async def wait(self, namespace: str, name: str, seconds: float) -> None:
        """Wait until an event about the pod arrives, for `seconds` at most."""
        event: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault((namespace, name), set())
        waiting.add(event)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event
        finally:
            waiting.discard(event)
            if not waiting and self._waiting.get((namespace, name)) is waiting:
                del self._waiting[namespace, name]

    def _wake(self, namespace: str, name: str) -> None:
        for event in self._waiting.pop((namespace, name), ()):
            if not event.done():
                event.set_result(None)


class PodStore:
    """Pods as JSON of what an enrollment needs, which is half of the memory of the objects.

    `on_event` is called with the namespace and the name of each pod that changes.
    """

    def __init__(self, on_event: Callable[[str, str], None]) -> None:
        self._pods = ByNamespace[bytes]()
        self._on_event = on_event

    def pod(self, namespace: str, name: str) -> LivePod | None:
        content = self._pods.get(namespace, name)
        try:
            return pod_of(orjson.loads(content)) if content else None
        except ValueError:
            # An address that cannot be read.
            return None

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        content = orjson.dumps(_needed(document))
        if len(content) <= _MAX_BYTES:
            # A copy, because orjson leaves kilobytes of its buffer to every result.
            self._pods.set(namespace, name, bytes(memoryview(content)))
        else:
            self._pods.remove(namespace, name)
        self._on_event(namespace, name)

    def remove(self, namespace: str, name: str) -> None:
        self._pods.remove(namespace, name)
        self._on_event(namespace, name)

    def __len__(self) -> int:
        return len(self._pods)


def _needed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a Pod object that `pod_of` reads."""
    metadata, status = metadata_of(document), as_dict(document.get("status"))
    spec = as_dict(document.get("spec"))
    owners = dict_items(metadata.get("ownerReferences"))
    controllers = [owner for _, owner in owners if owner.get("controller") is True]
    return {
        "metadata": {
            **{name: metadata[name] for name in _METADATA if name in metadata},
            "ownerReferences": controllers,
        },
        "spec": {name: spec[name] for name in _SPEC if name in spec},
        "status": {name: status[name] for name in _STATUS if name in status},
    }
