"""Sends requests with the configuration of `kubernetes.aio`: URL, credentials, TLS and proxy."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp

from webhook.kube.request import BusyError, ForbiddenError, Request, refusal
from webhook.kube.response import network_problem
from webhook.ports import UnavailableError

if TYPE_CHECKING:
    from kubernetes.aio.client.api_client import ApiClient

_HANDSHAKE_SECONDS = 10.0
# A peer that does not answer a close in time is gone.
_CLOSE_SECONDS = 1.0


async def send(
    client: "ApiClient", request: Request, total_seconds: float
) -> aiohttp.ClientResponse:
    """The answer to a request before its body is read."""
    method, url, headers, body = await _serialized(client, request)
    timeout = aiohttp.ClientTimeout(total=total_seconds)
    answer = await client.call_api(method, url, headers, body, _request_timeout=timeout)
    response: aiohttp.ClientResponse = answer.response
    return response


@asynccontextmanager
async def websocket(
    client: "ApiClient", request: Request, protocol: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket that speaks `protocol`; raises the exceptions of `webhook.kube.request`."""
    _, url, serialized, _ = await _serialized(client, request)
    # The kubelet answers 406 to a WebSocket that asks for JSON.
    headers = {**serialized, "Accept": "*/*"}
    rest = client.rest_client
    # The library creates it with the first request, and for its own WebSockets in the same way.
    session = rest.pool_manager or rest._create_pool_manager()
    rest.pool_manager = session
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            opened = await session.ws_connect(
                url,
                protocols=(protocol,),
                headers=headers,
                proxy=rest.proxy,
                server_hostname=client.configuration.tls_server_name or None,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
            )
    # `from None`: the library's errors contain the request headers, and with them our token.
    except aiohttp.WSServerHandshakeError as error:
        # Of a refused handshake, only the status is known.
        if error.status == 403:
            raise ForbiddenError(f"the caller may not {request}", str(request)) from None
        raise refusal(request, error.status, "", b"") from None
    except TimeoutError:
        raise UnavailableError(f"{request}: no answer from the API server in time") from None
    except (aiohttp.ClientError, OSError) as error:
        raise BusyError(f"{request}: {network_problem(error)}") from None
    async with opened:
        yield opened


async def _serialized(
    client: "ApiClient", request: Request
) -> tuple[str, str, Mapping[str, str], object]:
    """Method, URL, headers and body, with the credentials."""
    from kubernetes.aio.config import ConfigException

    try:
        method, url, headers, body, _ = await client.param_serialize(
            request.method,
            request.resource.path(request.namespace, request.name),
            query_params=list(request.query.items()),
            header_params={"Accept": request.accept, "Content-Type": request.content_type},
            body=request.body,
            auth_settings=["BearerToken"],
        )
    except (ConfigException, OSError):
        raise UnavailableError(
            "the service account's token cannot be read: check that it is still mounted"
        ) from None
    return method, url, headers, body
