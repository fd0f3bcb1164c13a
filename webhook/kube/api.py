"""The Kubernetes API as raw JSON, over `kubernetes.aio`: bounded in time, reads tried again, errors for operators.

Its typed models are not used: they drop the fields they do not know, and importing them takes half a second.
"""

import asyncio
import math
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from policies.documents.untyped import as_dict, as_str
from webhook import json_text
from webhook.kube.config import client
from webhook.kube.request import ApiPath, BusyError, NotFoundError, Request, Resource, refusal
from webhook.ports import UnavailableError

if TYPE_CHECKING:
    from kubernetes.aio.client.api_client import ApiClient

_SECONDS = 5.0
_LIST_SECONDS = 30.0
_WATCH_SECONDS = 240.0
# A server that does not end a watch as it was asked to is gone, or no API server.
_WATCH_GRACE_SECONDS = 15.0
# Objects may have more than a megabyte each, and everybody can make some.
_PAGE = 50
_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.1
# An object may have 1.5 MiB in etcd's protobuf; as JSON no event comes near this.
_MAX_EVENT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the objects in a list, and the resourceVersion of the whole list."""

    items: Sequence[Mapping[str, Any]]
    version: str


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """The object as it would be stored, and what the API server and its webhooks warn of (RFC 9111 5.5, as sent)."""

    document: Mapping[str, Any]
    warnings: tuple[str, ...]


class KubeApi:
    """A connection to an API server.

    Every call may raise UnavailableError, which is also the base of what `kube_request` defines; `seconds` bound
    a call with all its attempts. Reads are tried again where that may help. Writes are not, but for a PUT on an idle
    connection that turns out to be closed, by aiohttp: its resourceVersion keeps it from being done twice.
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
    ) -> Self:
        """As `kube_config.client` finds it; nothing is asked of the API server yet.

        `on_response_date` is told the `Date` of each answer.
        """
        return cls(await client(kubeconfig), on_response_date)

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # generated without types, as most of it

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(
        self, resource: Resource, namespace: str, name: str, *, seconds: float = _SECONDS
    ) -> Mapping[str, Any] | None:
        """One object; None where there is none."""
        if not name:
            return None
        try:
            return await self._read(Request("get", "GET", resource, namespace, name), seconds)
        except NotFoundError:
            return None

    async def at(self, path: str, *, seconds: float = _SECONDS) -> Mapping[str, Any]:
        """What stands at a path that is no resource, such as `/version`; raises NotFoundError where nothing does."""
        return await self._read(Request("get", "GET", ApiPath(path)), seconds)

    async def pages(
        self, resource: Resource, *, seconds: float = _LIST_SECONDS, labels: str = ""
    ) -> AsyncGenerator[Page, None]:
        """All objects in all namespaces, or those a label selector selects, 50 at a time; `seconds` for each page."""
        query = {"limit": str(_PAGE), **({"labelSelector": labels} if labels else {})}
        while True:
            document = await self._read(Request("list", "GET", resource, query=query), seconds)
            metadata, items = as_dict(document.get("metadata")), document.get("items")
            if not isinstance(items, list):
                raise UnavailableError(f"list {resource}: the answer is no list")
            yield Page(
                [item for item in items if isinstance(item, dict)],
                as_str(metadata.get("resourceVersion")),
            )
            if not (following := as_str(metadata.get("continue"))):
                return
            query = {**query, "continue": following}

    async def watch(
        self, resource: Resource, version: str, *, seconds: float = _WATCH_SECONDS
    ) -> AsyncGenerator[Event, None]:
        """What happened since `version`, in all namespaces, with bookmarks; ends when the server says so.

        Raises ExpiredError where the server does not remember that long.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(math.ceil(seconds)),
        }
        request = Request("watch", "GET", resource, query=query)
        async with self._opened(
            request, _SECONDS, math.ceil(seconds) + _WATCH_GRACE_SECONDS
        ) as response:
            async for line in _lines(request, response.content.iter_any()):
                yield _event(request, line)

    async def review(
        self, resource: Resource, document: Mapping[str, Any], *, seconds: float = _SECONDS
    ) -> Mapping[str, Any]:
        """The answer to a question that is posted like an object and stored nowhere: tried again as a read is."""
        return await self._read(Request("create", "POST", resource, body=document), seconds)

    async def create(
        self,
        resource: Resource,
        namespace: str,
        document: Mapping[str, Any],
        *,
        seconds: float = _SECONDS,
    ) -> None:
        """Store a new object; raises ConflictError where there is one already."""
        await self._once(Request("create", "POST", resource, namespace, body=document), seconds)

    async def dry_run(
        self,
        resource: Resource,
        namespace: str,
        document: Mapping[str, Any],
        *,
        seconds: float = _LIST_SECONDS,
    ) -> DryRunResult:
        """What would be stored of a new object, after all of admission; nothing is. Raises RefusedError.

        Webhooks are called, and may take ten seconds each.
        """
        query = {"dryRun": "All"}
        request = Request(
            "create", "POST", resource, namespace, query=query, body=document, dry_run=True
        )
        async with self._opened(request, seconds, seconds) as response:
            warnings = tuple(response.headers.getall("Warning", ()))
            return DryRunResult(_document(request, await response.read()), warnings)

    async def replace(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        document: Mapping[str, Any],
        *,
        seconds: float = _SECONDS,
    ) -> None:
        """Store an object in place of that of the same resourceVersion; raises ConflictError where that has changed."""
        await self._once(
            Request("update", "PUT", resource, namespace, name, body=document), seconds
        )

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        seconds: float = _SECONDS,
    ) -> None:
        """Apply a JSON Patch (RFC 6902); raises InvalidError where a `test` in it fails."""
        body, content_type = list(operations), "application/json-patch+json"
        request = Request(
            "patch", "PATCH", resource, namespace, name, body=body, content_type=content_type
        )
        await self._once(request, seconds)

    async def _read(self, request: Request, seconds: float) -> Mapping[str, Any]:
        clock = asyncio.get_running_loop().time
        deadline, attempt = clock() + seconds, 1
        while True:
            try:
                return await self._once(request, deadline - clock())
            except BusyError as error:
                pause = max(error.pause, backoff(attempt, _FIRST_PAUSE_SECONDS))
                if attempt == _ATTEMPTS or clock() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)
                attempt += 1

    async def _once(self, request: Request, seconds: float) -> Mapping[str, Any]:
        async with self._opened(request, seconds, seconds) as response:
            return _document(request, await response.read())

    @asynccontextmanager
    async def _opened(
        self, request: Request, answer_seconds: float, total_seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request, its body still to be read; `answer_seconds` are for its header."""
        try:
            async with asyncio.timeout(answer_seconds):
                response = await self._send(request, aiohttp.ClientTimeout(total=total_seconds))
            async with response:
                self._on_response_date(response.headers.get("Date", ""))
                if response.status >= 400:
                    retry_after = response.headers.get("Retry-After", "")
                    raise refusal(request, response.status, retry_after, await response.read())
                yield response
        # Tracebacks of the library's errors would hold request headers, and with them our token.
        except TimeoutError:
            raise UnavailableError(f"{request}: no answer from the API server in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise BusyError(f"{request}: {_network_problem(error)}") from None

    async def _send(
        self, request: Request, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        from kubernetes.aio.config import ConfigException

        try:
            method, url, headers, body, _ = await self._client.param_serialize(
                request.method,
                request.resource.path(request.namespace, request.name),
                query_params=list(request.query.items()),
                header_params={"Accept": "application/json", "Content-Type": request.content_type},
                body=request.body,
                auth_settings=["BearerToken"],
            )
        except (ConfigException, OSError):
            raise UnavailableError(
                "the service account's token cannot be read: is it mounted still?"
            ) from None
        answer = await self._client.call_api(method, url, headers, body, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        return response


def backoff(attempt: int, first: float, most: float = math.inf) -> float:
    """Seconds to wait after an attempt, counted from 1: twice as long each time, up to `most`, with jitter."""
    return min(most, math.ldexp(first, min(attempt - 1, 20))) * random.uniform(0.5, 1.0)


def _network_problem(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the API server's certificate is not to be trusted ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"the API server cannot be reached at {error.host}:{error.port} ({os.strerror(error.os_error.errno or 0)})"
    return f"the connection to the API server broke ({type(error).__name__})"


def _document(request: Request, content: bytes) -> Mapping[str, Any]:
    try:
        document = json_text.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UnavailableError(f"{request}: the answer is no JSON object")
    return document


def _event(request: Request, line: bytes) -> Event:
    event = _document(request, line)
    kind, document = as_str(event.get("type")), as_dict(event.get("object"))
    if kind == "ERROR":
        code = document.get("code")
        raise refusal(request, code if isinstance(code, int) else 500, "", line)
    return Event(kind, document)


async def _lines(request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines in a stream. aiohttp's own reader gives up on those over 4 MiB."""
    begun = bytearray()
    async for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            yield bytes(begun + part)
            begun.clear()
        begun += rest
        if len(begun) > _MAX_EVENT_BYTES:
            raise UnavailableError(f"{request}: an event is longer than {_MAX_EVENT_BYTES} bytes")
