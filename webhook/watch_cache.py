"""The objects of one resource, kept in memory by list and watch. Source: Kubernetes API concepts, on watches."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

import structlog

from policies.reading import mapping, text
from webhook.kube_api import Event, KubeApi, backoff
from webhook.kube_request import ExpiredError, NotFoundError, Resource
from webhook.ports import UnavailableError

T = TypeVar("T")

_RESYNC_SECONDS = 600.0
_WATCH_SECONDS = 240.0
_SHORT_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
_UNSYNCED_PAUSE_SECONDS = 3.0
_SYNCED = "in sync"


class WatchCache(Generic[T]):
    """Every object of `resource` in all namespaces, as `convert` makes it; the raw object is not kept.

    An object that `convert` raises ValueError for is left out. What was last known stays while the API server is
    away; a resource it does not know is one without objects. `synced` is set once the first list is complete.
    """

    def __init__(
        self,
        api: KubeApi,
        resource: Resource,
        convert: Callable[[Mapping[str, Any]], T],
        *,
        resync_seconds: float = _RESYNC_SECONDS,
        retry_seconds: float = _MAX_PAUSE_SECONDS,
    ) -> None:
        self.synced = asyncio.Event()
        self._api = api
        self._resource = resource
        self._convert = convert
        self._resync_seconds = resync_seconds
        self._retry_seconds = retry_seconds
        self._objects: dict[str, dict[str, T]] = {}
        self._version = ""
        self._failures = 0
        self._state = ""
        self._log = structlog.get_logger().bind(resource=str(resource))

    def get(self, namespace: str, name: str) -> T | None:
        """One object; the namespace of what has none is ""."""
        return self._objects.get(namespace, {}).get(name)

    def in_namespace(self, namespace: str) -> tuple[T, ...]:
        """The objects of a namespace, in no order."""
        return tuple(self._objects.get(namespace, {}).values())

    def values(self) -> Iterator[T]:
        """Every object, in no order."""
        return (value for objects in self._objects.values() for value in objects.values())

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))

    async def run(self) -> None:
        """Keep up with the API server until cancelled."""
        while True:
            try:
                await self._list()
                await self._watch()
            except NotFoundError:
                self._replace({}, "")
                self._settled("not known to the API server")
                await asyncio.sleep(self._retry_seconds)
            except UnavailableError as error:
                self._failures += 1
                # Falling behind once is nobody's fault; whoever expires again at once must not make us hammer.
                if not (isinstance(error, ExpiredError) and self._failures == 1):
                    self._tell(str(error))
                    # Nobody can use us before the first list is there.
                    most = (
                        self._retry_seconds
                        if self.synced.is_set()
                        else min(_UNSYNCED_PAUSE_SECONDS, self._retry_seconds)
                    )
                    await asyncio.sleep(backoff(self._failures, _FIRST_PAUSE_SECONDS, most))

    async def _list(self) -> None:
        """Swap everything at once for a fresh list: nobody ever sees half of one."""
        objects: dict[str, dict[str, T]] = {}
        version = ""
        async with aclosing(self._api.pages(self._resource)) as pages:
            async for page in pages:
                version = page.version
                for document in page.items:
                    self._put(objects, document)
        self._replace(objects, version)

    async def _watch(self) -> None:
        """Follow what changes until it is time for a fresh list, which makes good whatever a watch may have missed."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._resync_seconds
        while (left := end - clock()) > 0:
            begun, heard = clock(), False
            events = self._api.watch(self._resource, self._version, seconds=min(left, _WATCH_SECONDS))
            async with aclosing(events):
                async for event in events:
                    heard = True
                    self._apply(event)
                    self._settled(_SYNCED)
            # Whatever does this (a server that shuts down, a proxy), to ask again at once would be a busy loop.
            if not heard and clock() - begun < _SHORT_SECONDS:
                raise UnavailableError(f"watch {self._resource}: ended as soon as it began")
            self._settled(_SYNCED)

    def _apply(self, event: Event) -> None:
        namespace, name, version = _place(event.object)
        if event.type in ("ADDED", "MODIFIED"):
            self._put(self._objects, event.object)
        elif event.type == "DELETED":
            self._drop(self._objects, namespace, name)
        self._version = version or self._version

    def _put(self, objects: dict[str, dict[str, T]], document: Mapping[str, Any]) -> None:
        namespace, name, _ = _place(document)
        try:
            objects.setdefault(namespace, {})[name] = self._convert(document)
        except ValueError as error:
            self._log.warning("object left out", namespace=namespace, name=name, reason=str(error))
            self._drop(objects, namespace, name)

    def _drop(self, objects: dict[str, dict[str, T]], namespace: str, name: str) -> None:
        inside = objects.get(namespace, {})
        inside.pop(name, None)
        # Namespaces come and go, and their names are of strangers' choosing.
        if not inside:
            objects.pop(namespace, None)

    def _replace(self, objects: dict[str, dict[str, T]], version: str) -> None:
        self._objects, self._version = objects, version
        self.synced.set()

    def _settled(self, state: str) -> None:
        self._failures = 0
        self._tell(state)

    def _tell(self, state: str) -> None:
        """Log a change of state; a state that lasts is logged once."""
        if state != self._state:
            good = state == _SYNCED
            (self._log.info if good else self._log.warning)("watch", state=state, objects=len(self))
            self._state = state


def _place(document: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = mapping(document.get("metadata"))
    return text(metadata.get("namespace")), text(metadata.get("name")), text(metadata.get("resourceVersion"))
