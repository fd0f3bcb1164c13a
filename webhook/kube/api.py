"""A client for the Kubernetes API that speaks raw JSON, over `kubernetes.aio`.

Every call is bounded in time, reads are retried, and errors are written for operators. The typed
models of `kubernetes.aio` are not used: they drop unknown fields, and importing them takes half a
second.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from policies.documents.metadata import name_of
from policies.documents.untyped import dict_items
from webhook.kube import response as answers
from webhook.kube.attempts import repeated
from webhook.kube.config import MAX_CONNECTIONS, client
from webhook.kube.paging import PAGE_SIZE, pages_of
from webhook.kube.request import (
    ApiPath,
    BusyError,
    NotFoundError,
    Request,
    Resource,
    TooEarlyError,
    refusal,
    selectors,
)
from webhook.kube.response import DryRunResult, Event, Page
from webhook.kube.transport import send, websocket
from webhook.ports import UnavailableError

if TYPE_CHECKING:
    from kubernetes.aio.client.api_client import ApiClient

_SECONDS = 5.0
# Lists may be large, and a dry run waits for webhooks.
_LIST_SECONDS = 30.0
_WATCH_SECONDS = 240.0
# A server that does not end a watch at the requested time no longer works.
_WATCH_GRACE_SECONDS = 15.0
_JSON = "application/json"


class KubeApi:
    """A connection to an API server.

    Every call may raise UnavailableError, which is also the base of the exceptions in
    `webhook.kube.request`. `seconds` bounds a call with all its attempts. Reads are retried if that
    may help. Writes are retried only when the API server did nothing and said when to come again,
    with one exception: aiohttp retries a PUT if its idle connection turns out to be closed. The
    resourceVersion in it keeps the write from happening twice.
    """

    def __init__(
        self, client: "ApiClient", on_response_date: Callable[[str], None] = lambda date: None
    ) -> None:
        self._client = client
        self._on_response_date = on_response_date

    @classmethod
    async def connect(
        cls,
        kubeconfig: Path | None = None,
        on_response_date: Callable[[str], None] = lambda date: None,
        *,
        context: str = "",
        connections: int = MAX_CONNECTIONS,
    ) -> Self:
        """A client configured by `webhook.kube.config`; sends nothing to the API server yet.

        Calls `on_response_date` with the `Date` header of each answer, "" if it has none.
        """
        return cls(await client(kubeconfig, context, connections), on_response_date)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # generated code, without types

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(
        self, resource: Resource, namespace: str, name: str, *, seconds: float = _SECONDS
    ) -> Mapping[str, Any] | None:
        """An object; None if it does not exist."""
        if not name:
            return None
        try:
            return await self._read(Request("get", "GET", resource, namespace, name), seconds)
        except NotFoundError:
            return None

    async def get_path(
        self, path: str, *, seconds: float = _SECONDS, most_bytes: int = 0, accept: str = _JSON
    ) -> Mapping[str, Any]:
        """The JSON at a path, of `most_bytes` at most if not 0; raises NotFoundError."""
        request = Request("get", "GET", ApiPath(path), most_bytes=most_bytes, accept=accept)
        return await self._read(request, seconds)

    async def serves(self, resource: Resource) -> bool:
        """Whether the API server has a resource, as every user may ask; True if it is unknown."""
        group = f"/apis/{resource.group}" if resource.group else "/api"
        try:
            document = await self.get_path(f"{group}/{resource.version}")
        except NotFoundError:
            return False
        except UnavailableError:
            return True
        names = {entry.get("name") for _, entry in dict_items(document.get("resources"))}
        return resource.plural in names

    def pages(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        seconds: float = _LIST_SECONDS,
        labels: str = "",
        fields: str = "",
        page_size: int = PAGE_SIZE,
    ) -> AsyncGenerator[Page, None]:
        """The objects of a namespace, or of all, by label and field selector, in pages.

        `seconds` bounds each page, `page_size` its objects; large objects make pages smaller.
        """
        request = Request("list", "GET", resource, namespace, query=selectors(labels, fields))
        return pages_of(request, partial(self._read, seconds=seconds), page_size)

    async def watch(
        self,
        resource: Resource,
        version: str,
        *,
        seconds: float = _WATCH_SECONDS,
        labels: str = "",
        fields: str = "",
    ) -> AsyncGenerator[Event, None]:
        """The events since `version` in all namespaces, with bookmarks, until the server ends them.

        They are filtered by the label selector `labels` and the field selector `fields`: an object
        that no longer matches counts as deleted. Raises ExpiredError if the server no longer has
        `version`.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(math.ceil(seconds)),
            **selectors(labels, fields),
        }
        request = Request("watch", "GET", resource, query=query)
        async with self._opened(
            request, _SECONDS, math.ceil(seconds) + _WATCH_GRACE_SECONDS
        ) as response:
            async for line in answers.lines(request, response.content.iter_any()):
                yield answers.event(request, line)

    async def review(
        self, resource: Resource, document: Mapping[str, Any], *, seconds: float = _SECONDS
    ) -> Mapping[str, Any]:
        """The answer to a review, which is posted but not stored: retried like a read."""
        return await self._read(Request("create", "POST", resource, body=document), seconds)

    async def create(
        self,
        resource: Resource,
        namespace: str,
        document: Mapping[str, Any],
        *,
        seconds: float = _SECONDS,
    ) -> Mapping[str, Any]:
        """Store a new object; returns what is stored. Raises ConflictError if it exists already."""
        request = Request("create", "POST", resource, namespace, body=document)
        return await self._write(request, seconds)

    async def dry_run(
        self,
        resource: Resource,
        namespace: str,
        document: Mapping[str, Any],
        *,
        seconds: float = _LIST_SECONDS,
    ) -> DryRunResult:
        """The object that would be stored, after all admission; stores nothing.

        Raises RefusedError if admission denies it. The API server calls its webhooks, each of which
        may take ten seconds.
        """
        query = {"dryRun": "All"}
        request = Request(
            "create", "POST", resource, namespace, query=query, body=document, dry_run=True
        )

        async def once(seconds: float) -> DryRunResult:
            async with self._opened(request, seconds, seconds) as response:
                warnings = tuple(response.headers.getall("Warning", ()))
                return DryRunResult(answers.json_object(request, await response.read()), warnings)

        return await repeated(once, seconds, TooEarlyError)

    async def replace(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        document: Mapping[str, Any],
        *,
        seconds: float = _SECONDS,
    ) -> Mapping[str, Any]:
        """Replace an object; returns what is stored.

        Raises ConflictError if its resourceVersion has changed.
        """
        request = Request("update", "PUT", resource, namespace, name, body=document)
        return await self._write(request, seconds)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        seconds: float = _SECONDS,
    ) -> None:
        """Apply a JSON Patch (RFC 6902); raises InvalidError if a `test` in it fails."""
        kind, body = "application/json-patch+json", list(operations)
        request = Request("patch", "PATCH", resource, namespace, name, {}, body, kind)
        await self._write(request, seconds)

    async def apply(
        self, resource: Resource, namespace: str, document: Mapping[str, Any], *, manager: str
    ) -> Mapping[str, Any]:
        """Apply an object on the server, over the changes of others; returns what is stored."""
        query = {"fieldManager": manager, "force": "true"}
        content_type = "application/apply-patch+yaml"
        request = Request(
            "patch", "PATCH", resource, namespace, name_of(document), query, document, content_type
        )
        return await self._write(request, _SECONDS)

    async def delete(
        self, resource: Resource, namespace: str, name: str, preconditions: Mapping[str, str]
    ) -> None:
        """Delete an object; raises ConflictError if its uid or resourceVersion are others."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        request = Request("delete", "DELETE", resource, namespace, name, body=options)
        await self._write(request, _SECONDS)

    def websocket(
        self, request: Request, protocol: str
    ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """A WebSocket that speaks the subprotocol `protocol`."""
        return websocket(self._client, request, protocol)

    async def _read(self, request: Request, seconds: float) -> Mapping[str, Any]:
        return await repeated(partial(self._once, request), seconds, BusyError)

    async def _write(self, request: Request, seconds: float) -> Mapping[str, Any]:
        return await repeated(partial(self._once, request), seconds, TooEarlyError)

    async def _once(self, request: Request, seconds: float) -> Mapping[str, Any]:
        async with self._opened(request, seconds, seconds) as response:
            chunks = response.content.iter_any()
            return answers.json_object(request, await answers.content(request, chunks))

    @asynccontextmanager
    async def _opened(
        self, request: Request, answer_seconds: float, total_seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request before its body is read; `answer_seconds` bounds the header."""
        try:
            async with asyncio.timeout(answer_seconds):
                response = await send(self._client, request, total_seconds)
            async with response:
                self._on_response_date(response.headers.get("Date", ""))
                if response.status >= 400:
                    retry_after = response.headers.get("Retry-After", "")
                    raise refusal(request, response.status, retry_after, await response.read())
                yield response
        # `from None`: the library's errors contain the request headers, and with them our token.
        except TimeoutError:
            raise UnavailableError(f"{request}: no answer from the API server in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise BusyError(f"{request}: {answers.network_problem(error)}") from None
