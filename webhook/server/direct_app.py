"""A FastAPI app whose main routes are answered without its middleware and its router."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]
OnError = Callable[[Request, Exception], Awaitable[Response]]

# RayWarden has metrics of its own. FastAPI's telemetry takes 6 % of a request's time even when
# nothing receives it.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
# All other exceptions are defects, and uvicorn logs their traceback.
_EXPECTED = (HTTPException, ClientDisconnect)


class DirectApp(FastAPI):
    """An app without OpenAPI documents that answers every exception with `on_error`.

    FastAPI's middleware and router take a tenth of the time of a review outside its decision, and
    have nothing to do there. Other methods and paths go through them.
    """

    def __init__(self, on_error: OnError) -> None:
        super().__init__(openapi_url=None, docs_url=None, redoc_url=None, telemetry=_NO_TELEMETRY)
        self._on_error = on_error
        self._direct: dict[str, Endpoint] = {}
        for error in (*_EXPECTED, Exception):
            self.add_exception_handler(error, on_error)

    def add_direct_route(self, path: str, endpoint: Endpoint) -> None:
        """Answer `POST path` with `endpoint`; `path` has no parameters."""
        self._direct[path] = endpoint
        # For the answer to other methods.
        self.add_route(path, endpoint, methods=["POST"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        endpoint = self._direct.get(scope["path"]) if is_post else None
        if endpoint is None:
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except Exception as error:
            response = await self._on_error(request, error)
            await response(scope, receive, send)
            if not isinstance(error, _EXPECTED):
                raise
            return
        await response(scope, receive, send)
