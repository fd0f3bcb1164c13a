"""Routes, and nothing but routes: bytes in, bytes out."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from webhook.admission.reviewer import Decision, Reviewer
from webhook.admission.wire import AdmissionRequest, BadReviewError, parse
from webhook.enrollment import wire
from webhook.enrollment.signing import Signing
from webhook.server.observer import Observer
from webhook.server.readiness import Readiness
from webhook.server.request_body import Bodies
from webhook.settings import Settings

# We have metrics of our own; to find out for every request that nobody listens to FastAPI's is 6 % of its time.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


def admission_app(
    reviewer: Reviewer, observer: Observer, readiness: Readiness, settings: Settings
) -> FastAPI:
    """`POST /mutate` and `POST /validate` for AdmissionReview v1; every other answer is problem+json (RFC 9457)."""
    app = _bare_app(observer)
    bodies = Bodies(
        settings.max_body_bytes, settings.body_timeout_seconds, settings.max_large_bodies_bytes
    )

    def route(path: str, review: Callable[[AdmissionRequest], Decision]) -> None:
        async def admit(request: Request) -> Response:
            async with bodies.read(request) as body:
                started = observer.clock()
                try:
                    admission = parse(body)
                except BadReviewError as error:
                    raise HTTPException(400, str(error)) from None
                decision = review(admission)
                content = decision.response.encode()
                observer.decided(path, admission, decision, observer.clock() - started)
            # While we drain, the API server must not keep this connection for its next call.
            headers = None if readiness.ready else {"Connection": "close"}
            return Response(content, 200, headers, media_type="application/json")

        # A plain route: there is nothing in an AdmissionReview for FastAPI's parameter handling to do, at a cost.
        app.add_route(f"/{path}", admit, methods=["POST"])

    route("mutate", reviewer.mutate)
    route("validate", reviewer.validate)
    return app


def enrollment_app(signing: Signing, observer: Observer, settings: Settings) -> FastAPI:
    """`POST /v1/certificates`: a bearer token and `{"csr": PEM}` in, `certificate` and `caBundle` (PEM) out."""
    app = _bare_app(observer)
    bodies = Bodies(
        settings.max_enrollment_bytes,
        settings.body_timeout_seconds,
        settings.max_large_bodies_bytes,
    )

    async def certificates(request: Request) -> Response:
        started = observer.clock()
        try:
            # Read before anything is answered: who still sends would not see the answer.
            async with bodies.read(request) as body:
                token, csr = wire.bearer(request), wire.parse(body)
            issued = await signing.sign(token, csr, _peer(request))
        except wire.REFUSALS as error:
            refusal = wire.refusal(error)
            observer.refused(refusal, _peer(request), observer.clock() - started)
            return _problem(refusal.status, refusal.detail, refusal.headers)
        observer.issued(issued, observer.clock() - started)
        return Response(wire.encode(issued), 200, media_type="application/json")

    app.add_route("/v1/certificates", certificates, methods=["POST"])
    return app


def operations_app(readiness: Readiness, observer: Observer) -> FastAPI:
    """`GET /livez`, `/readyz` and `/metrics`, for the kubelet and Prometheus."""
    app = _bare_app(observer)

    @app.get("/livez")
    async def livez() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    async def readyz() -> Response:
        if readiness.ready:
            return PlainTextResponse("ok\n")
        return PlainTextResponse(f"not ready: {', '.join(readiness.lacks)}\n", status_code=503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(observer.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _bare_app(observer: Observer) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, telemetry=_NO_TELEMETRY)

    async def problem(request: Request, error: Exception) -> Response:
        match error:
            case HTTPException():
                status, detail, headers = error.status_code, error.detail, error.headers
            case ClientDisconnect():
                status, detail, headers = 400, "the client hung up", None
            case _:
                status, detail, headers = 500, "this is a defect of RayWarden", None
        observer.rejected(status, detail, _peer(request))
        return _problem(status, detail, headers or {})

    app.add_exception_handler(HTTPException, problem)
    app.add_exception_handler(ClientDisconnect, problem)
    app.add_exception_handler(Exception, problem)
    return app


def _peer(request: Request) -> str:
    """The address a request comes from; empty where there is none."""
    return request.client.host if request.client else ""


def _problem(status: int, detail: str, headers: Mapping[str, str]) -> Response:
    """RFC 9457. Whoever was told no may come again on another connection: this one would only be held."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    content, headers = orjson.dumps(document), {**headers, "Connection": "close"}
    return Response(content, status, headers, media_type="application/problem+json")
