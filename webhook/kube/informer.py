"""Keeps the objects of one resource in memory by list and watch.

Source: Kubernetes API concepts, "Efficient detection of changes".
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

import structlog

from policies.documents.metadata import name_of, namespace_of, resource_version_of
from webhook.kube.api import KubeApi
from webhook.kube.paging import PAGE_SIZE, SCAN_PAGE_SIZE
from webhook.kube.request import (
    BusyError,
    ExpiredError,
    NotFoundError,
    Resource,
    TooEarlyError,
    backoff,
)
from webhook.kube.response import Event
from webhook.kube.store import Store
from webhook.ports import UnavailableError

S = TypeVar("S", bound=Store)

# A fresh list every ten minutes repairs whatever a watch may have missed.
_RESYNC_SECONDS = 600.0
# Short watches: a connection that has silently died is replaced within minutes.
_WATCH_SECONDS = 240.0
# A watch that ends without an event in less than this has failed.
_SHORT_WATCH_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
# Where a lag matters, watches are this short: their ends, like events and bookmarks, show that the
# connection is alive. API servers need not send bookmarks. After a longer silence, memory may be
# out of date.
BRIEF_WATCH_SECONDS = 60.0
_FRESH_SECONDS = 75.0
# Before the first list, the replica cannot serve: retry sooner.
_UNSYNCED_PAUSE_SECONDS = 3.0
_IN_SYNC = "in sync"
_UNKNOWN_RESOURCE = "unknown to the API server"


class Informer(Generic[S]):
    """The objects of `resource` in all namespaces, in a `store` that `new_store` makes empty.

    `labels` is a label selector, `fields` a field selector; an empty one selects all objects.

    `store` is None, and `synced` is not set, until the first list is complete. An object for which
    the store raises ValueError is ignored. While the API server is unavailable, the last known
    state stays; a resource that the API server does not know has no objects, and `is_known` is
    False. `on_change` is called after every change.
    """

    def __init__(
        self,
        api: KubeApi,
        resource: Resource,
        new_store: Callable[[], S],
        *,
        labels: str = "",
        fields: str = "",
        on_change: Callable[[], None] = lambda: None,
        resync_seconds: float = _RESYNC_SECONDS,
        watch_seconds: float = _WATCH_SECONDS,
        retry_seconds: float = _MAX_PAUSE_SECONDS,
        fresh_seconds: float = _FRESH_SECONDS,
    ) -> None:
        self.resource = resource
        self.store: S | None = None
        self.synced = asyncio.Event()
        self._api = api
        self._new_store = new_store
        self._labels = labels
        self._fields = fields
        self._on_change = on_change
        self._resync_seconds = resync_seconds
        self._watch_seconds = watch_seconds
        self._retry_seconds = retry_seconds
        self._fresh_seconds = fresh_seconds
        # When the API server last said something about this resource, on the clock of the loop.
        self._heard_at = 0.0
        self._version = ""
        self._failures = 0
        self._state = ""
        self.is_known = False
        self._log = structlog.get_logger().bind(resource=str(resource))

    @property
    def up_to_date(self) -> bool:
        """Whether the store is filled and the last call to the API server succeeded."""
        return self.store is not None and not self._failures

    @property
    def is_fresh(self) -> bool:
        """Whether the store is up to date, but for changes of about the last minute.

        Usually it lags by milliseconds. The minute is for a connection that has silently died.
        """
        silence = asyncio.get_running_loop().time() - self._heard_at
        return self.up_to_date and silence <= self._fresh_seconds

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        while True:
            try:
                await self._list()
                await self._watch()
            except NotFoundError:
                self.be_empty()
                self._succeeded(_UNKNOWN_RESOURCE)
                await asyncio.sleep(self._retry_seconds)
            except UnavailableError as error:
                await self._failed(error)

    async def read_once(self, namespace: str = "") -> None:
        """Fill the store once, from one namespace or from all, instead of following changes.

        A resource that the API server does not know has no objects. Raises UnavailableError; then
        the store stays None.
        """
        try:
            await self._list(namespace, SCAN_PAGE_SIZE)
        except ExpiredError:
            # The list took longer than the API server keeps its version.
            await self._list(namespace, SCAN_PAGE_SIZE)
        except NotFoundError:
            self.be_empty()

    def be_empty(self) -> None:
        """Take the resource for one that has no objects."""
        self.is_known = False
        self._replace_store(self._new_store(), "")

    def put_only(self, document: Mapping[str, Any]) -> None:
        """Fill the store with a single object."""
        store = self._new_store()
        self._put(store, document)
        self._replace_store(store, "")

    async def _list(self, namespace: str = "", page_size: int = PAGE_SIZE) -> None:
        """Replace the whole store at once by a fresh list, so that no reader sees half of one."""
        fresh_store, version = self._new_store(), ""
        asked_at = asyncio.get_running_loop().time()
        listed = self._api.pages(
            self.resource,
            namespace=namespace,
            labels=self._labels,
            fields=self._fields,
            page_size=page_size,
        )
        async with aclosing(listed) as pages:
            async for page in pages:
                version = page.version
                for document in page.items:
                    self._put(fresh_store, document)
                    # Requests are answered in the same loop, and an object can be large.
                    await asyncio.sleep(0)
        self.is_known = True
        self._heard_at = asked_at
        self._replace_store(fresh_store, version)

    async def _watch(self) -> None:
        """Apply changes until it is time for a fresh list."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._resync_seconds
        while (remaining := end - clock()) > 0:
            started, received_event = clock(), False
            events = self._api.watch(
                self.resource,
                self._version,
                seconds=min(remaining, self._watch_seconds),
                labels=self._labels,
                fields=self._fields,
            )
            async with aclosing(events):
                async for event in events:
                    received_event, self._heard_at = True, clock()
                    self._apply(event)
                    self._succeeded(_IN_SYNC)
            # A server that shuts down does this, and so do some proxies. To watch again at once
            # would be a busy loop.
            if not received_event and clock() - started < _SHORT_WATCH_SECONDS:
                raise UnavailableError(f"watch {self.resource}: ended as soon as it began")
            self._heard_at = clock()
            self._succeeded(_IN_SYNC)

    def _apply(self, event: Event) -> None:
        namespace, name, version = _key_and_version(event.object)
        self._version = version or self._version
        if self.store is None or event.type not in ("ADDED", "MODIFIED", "DELETED"):
            return
        if event.type == "DELETED":
            self.store.remove(namespace, name)
        else:
            self._put(self.store, event.object)
        self._on_change()

    def _put(self, store: S, document: Mapping[str, Any]) -> None:
        namespace, name, _ = _key_and_version(document)
        try:
            store.put(namespace, name, document)
        except ValueError as error:
            self._log.warning("object ignored", namespace=namespace, name=name, reason=str(error))
            store.remove(namespace, name)

    def _replace_store(self, store: S, version: str) -> None:
        self.store, self._version = store, version
        self.synced.set()
        self._on_change()

    def _succeeded(self, state: str) -> None:
        self._failures = 0
        self._log_state(state)

    async def _failed(self, error: UnavailableError) -> None:
        """Log the error and wait before the next attempt."""
        self._failures += 1
        # To fall behind once is normal: list again at once and log nothing. A watch that expires
        # again and again must wait like any failure, or it would flood the API server.
        if isinstance(error, ExpiredError) and self._failures == 1:
            return
        max_pause = self._retry_seconds
        if not self.synced.is_set():
            max_pause = min(_UNSYNCED_PAUSE_SECONDS, self._retry_seconds)
        pause = backoff(self._failures, _FIRST_PAUSE_SECONDS, max_pause)
        if isinstance(error, BusyError):
            # Bounded: a wrong answer must not stop the informer.
            pause = max(pause, min(error.pause, self._retry_seconds))
        # To be told to come again is normal, too, for example right after KubeRay was installed.
        if not (isinstance(error, TooEarlyError) and self._failures == 1):
            self._log_state(str(error))
        await asyncio.sleep(pause)

    def _log_state(self, state: str) -> None:
        """Log a change of state; a state that lasts is logged once."""
        if state == self._state:
            return
        self._state = state
        objects = 0 if self.store is None else len(self.store)
        if state in (_IN_SYNC, _UNKNOWN_RESOURCE):
            self._log.info("watch state changed", state=state, objects=objects)
        else:
            self._log.warning("watch state changed", state=state, objects=objects)


def _key_and_version(document: Mapping[str, Any]) -> tuple[str, str, str]:
    version = resource_version_of(document)
    return namespace_of(document), name_of(document), version
