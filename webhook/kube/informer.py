"""The objects of one resource, kept in memory by list and watch. Source: Kubernetes API concepts, on watches."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

import structlog

from policies.documents.untyped import as_dict, as_str
from webhook.kube.api import Event, KubeApi, backoff
from webhook.kube.request import ExpiredError, NotFoundError, Resource
from webhook.kube.store import Store
from webhook.ports import UnavailableError

K = TypeVar("K", bound=Store)

_RESYNC_SECONDS = 600.0
_WATCH_SECONDS = 240.0
_SHORT_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
_UNSYNCED_PAUSE_SECONDS = 3.0
_SYNCED = "in sync"
_UNKNOWN = "not known to the API server"


class Informer(Generic[K]):
    """What is `kept` of every object of `resource` in all namespaces; the raw objects are not.

    `kept` is None, and `synced` not set, until the first list is complete. `new` makes an empty one. An object that
    it raises ValueError for is left out. What was last known stays while the API server is away; a resource it does
    not know is one without objects. `changed` is called whenever something has.
    """

    def __init__(
        self,
        api: KubeApi,
        resource: Resource,
        new: Callable[[], K],
        *,
        changed: Callable[[], None] = lambda: None,
        resync_seconds: float = _RESYNC_SECONDS,
        retry_seconds: float = _MAX_PAUSE_SECONDS,
    ) -> None:
        self.resource = resource
        self.kept: K | None = None
        self.synced = asyncio.Event()
        self._api = api
        self._new = new
        self._changed = changed
        self._resync_seconds = resync_seconds
        self._retry_seconds = retry_seconds
        self._version = ""
        self._failures = 0
        self._state = ""
        self._log = structlog.get_logger().bind(resource=str(resource))

    @property
    def current(self) -> bool:
        """Whether what is kept is what there is, or has been until a moment ago."""
        return self.kept is not None and not self._failures

    async def run(self) -> None:
        """Keep up with the API server until cancelled."""
        while True:
            try:
                await self._list()
                await self._watch()
            except NotFoundError:
                self._replace(self._new(), "")
                self._settled(_UNKNOWN)
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
        fresh, version = self._new(), ""
        async with aclosing(self._api.pages(self.resource)) as pages:
            async for page in pages:
                version = page.version
                for document in page.items:
                    self._put(fresh, document)
        self._replace(fresh, version)

    async def _watch(self) -> None:
        """Follow what changes until it is time for a fresh list, which makes good whatever a watch may have missed."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._resync_seconds
        while (left := end - clock()) > 0:
            begun, heard = clock(), False
            events = self._api.watch(
                self.resource, self._version, seconds=min(left, _WATCH_SECONDS)
            )
            async with aclosing(events):
                async for event in events:
                    heard = True
                    self._apply(event)
                    self._settled(_SYNCED)
            # Whatever does this (a server that shuts down, a proxy), to ask again at once would be a busy loop.
            if not heard and clock() - begun < _SHORT_SECONDS:
                raise UnavailableError(f"watch {self.resource}: ended as soon as it began")
            self._settled(_SYNCED)

    def _apply(self, event: Event) -> None:
        namespace, name, version = _place(event.object)
        self._version = version or self._version
        if self.kept is None or event.type not in ("ADDED", "MODIFIED", "DELETED"):
            return
        if event.type == "DELETED":
            self.kept.drop(namespace, name)
        else:
            self._put(self.kept, event.object)
        self._changed()

    def _put(self, kept: K, document: Mapping[str, Any]) -> None:
        namespace, name, _ = _place(document)
        try:
            kept.put(namespace, name, document)
        except ValueError as error:
            self._log.warning("object left out", namespace=namespace, name=name, reason=str(error))
            kept.drop(namespace, name)

    def _replace(self, kept: K, version: str) -> None:
        self.kept, self._version = kept, version
        self.synced.set()
        self._changed()

    def _settled(self, state: str) -> None:
        self._failures = 0
        self._tell(state)

    def _tell(self, state: str) -> None:
        """Log a change of state; a state that lasts is logged once."""
        if state != self._state:
            good = state in (_SYNCED, _UNKNOWN)
            objects = 0 if self.kept is None else len(self.kept)
            (self._log.info if good else self._log.warning)("watch", state=state, objects=objects)
            self._state = state


def _place(document: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = as_dict(document.get("metadata"))
    return (
        as_str(metadata.get("namespace")),
        as_str(metadata.get("name")),
        as_str(metadata.get("resourceVersion")),
    )
