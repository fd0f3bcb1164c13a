"""The HTTP routes of the three ports; decisions are made elsewhere."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from webhook.admission.reviewer import Decision, Reviewer
from webhook.admission.wire import AdmissionRequest, BadReviewError, parse
from webhook.ca.bundles import Bundles
from webhook.enrollment import wire
from webhook.enrollment.rate_limit import RateLimit
from webhook.enrollment.signing import Signing, payer
from webhook.server.direct_app import DirectApp
from webhook.server.observer import Observer
from webhook.server.readiness import Readiness
from webhook.server.request_body import Bodies
from webhook.settings import Settings

# A program reads a bundle at its start, and again every few minutes.
_BUNDLES_PER_MINUTE = 60


def admission_app(
    reviewer: Reviewer, observer: Observer, readiness: Readiness, settings: Settings
) -> FastAPI:
    """`POST /mutate` and `POST /validate`, for AdmissionReview v1.

    Errors are answered with problem+json (RFC 9457).
    """
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
            # While this replica drains, the API server must not reuse the connection.
            headers = None if readiness.ready else {"Connection": "close"}
            return Response(content, 200, headers, media_type="application/json")

        app.add_direct_route(f"/{path}", admit)

    route("mutate", reviewer.mutate)
    route("validate", reviewer.validate)
    return app


def enrollment_app(
    signing: Signing, bundles: Bundles, observer: Observer, settings: Settings
) -> FastAPI:
    """`POST /v1/certificates`: a bearer token and a CSR in, a certificate and its CAs out.

    `GET /v1/bundles/NAMESPACE/CLUSTER`, and `.../spiffe`: the CAs of a RayCluster, for anyone.

    Errors are answered with problem+json (RFC 9457).
    """
    app = _bare_app(observer)
    bodies = Bodies(
        settings.max_enrollment_bytes,
        settings.body_timeout_seconds,
        settings.max_large_bodies_bytes,
    )

    async def certificates(request: Request) -> Response:
        started = observer.clock()
        try:
            # Read the body before any answer: a client that is still sending would not see it.
            async with bodies.read(request) as body:
                token, csr = wire.bearer(request), wire.parse(body)
            issued = await signing.sign(token, csr, _peer(request))
        except wire.REFUSALS as error:
            refusal = wire.refusal(error)
            observer.refused(refusal, _peer(request), observer.clock() - started)
            return _problem(refusal.status, refusal.detail, refusal.headers)
        observer.issued(issued, observer.clock() - started)
        return Response(wire.encode(issued), 200, media_type="application/json")

    app.add_direct_route("/v1/certificates", certificates)
    _add_bundle_routes(app, bundles, observer)
    return app


def _add_bundle_routes(app: FastAPI, bundles: Bundles, observer: Observer) -> None:
    limit = RateLimit(_BUNDLES_PER_MINUTE, 60, observer.clock)

    def route(path: str, read: Callable[[str, str], bytes | None], media_type: str) -> None:
        async def bundle(request: Request) -> Response:
            charged = payer(_peer(request))
            if seconds := limit.wait(charged):
                headers = {"Retry-After": str(seconds)}
                raise HTTPException(429, f"too many requests: try again in {seconds} s", headers)
            limit.spend(charged)
            names = request.path_params
            content = read(names["namespace"], names["cluster"])
            if content is None:
                raise HTTPException(404)
            return Response(content, media_type=media_type)

        app.add_route(path, bundle, methods=["GET"])

    path = "/v1/bundles/{namespace}/{cluster}"
    route(path, bundles.pem, "application/pem-certificate-chain")
    route(f"{path}/spiffe", bundles.spiffe, "application/json")


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
        return PlainTextResponse(f"not ready: {', '.join(readiness.missing)}\n", status_code=503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(observer.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _bare_app(observer: Observer) -> DirectApp:
    async def problem(request: Request, error: Exception) -> Response:
        match error:
            case HTTPException():
                status, detail, headers = error.status_code, error.detail, error.headers
            case ClientDisconnect():
                status, detail, headers = 400, "the client closed the connection", None
            case _:
                status, detail, headers = 500, "internal error of RayWarden", None
        observer.rejected(status, detail, _peer(request))
        return _problem(status, detail, headers or {})

    return DirectApp(problem)


def _peer(request: Request) -> str:
    """The IP address a request comes from; empty if it is unknown."""
    return request.client.host if request.client else ""


def _problem(status: int, detail: str, headers: Mapping[str, str]) -> Response:
    """A problem document (RFC 9457); the connection is closed after it.

    A refused client can open another connection, and must not occupy this one.
    """
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    content, headers = orjson.dumps(document), {**headers, "Connection": "close"}
    return Response(content, status, headers, media_type="application/problem+json")
