"""Enrollment over HTTP: the request, the response, and the refusals."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from certs.csr import CsrError
from certs.identity import NotAllowedError
from webhook.enrollment.hold import HeldError
from webhook.enrollment.signing import Issued, NotYetError, TooOftenError, UnauthenticatedError
from webhook.ports import UnavailableError

# RFC 6750: b64token. Projected tokens are JWTs of one or two kilobytes; the limit leaves ample room
# and keeps longer text out of the token review.
_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]{1,16384}=*)")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="raywarden"'}


class BadEnrollmentError(Exception):
    """The body is not an enrollment request.

    The message says what a request looks like. It quotes nothing from the body, which may hold
    secrets.
    """


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    csr: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A response without a certificate.

    `outcome` is the metric label. `detail` is for the caller; `reason` is for the log, and may say
    more.
    """

    outcome: str
    status: int
    detail: str
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)


REFUSALS = (
    BadEnrollmentError,
    UnauthenticatedError,
    NotAllowedError,
    CsrError,
    TooOftenError,
    NotYetError,
    HeldError,
    UnavailableError,
)


def refusal(error: Exception) -> Refusal:
    """The response to one of `REFUSALS`."""
    reason = str(error)
    match error:
        case BadEnrollmentError():
            return Refusal("bad_request", 400, reason, reason)
        case UnauthenticatedError():
            # The same answer for every bad token: the caller must not learn what is wrong with it.
            detail = (
                "send a service account token of this pod, for the audience raywarden.io, "
                "as bearer token"
            )
            return Refusal("unauthenticated", 401, detail, reason, _CHALLENGE)
        case NotAllowedError():
            return Refusal("forbidden", 403, reason, reason)
        case CsrError():
            return Refusal("bad_csr", 422, reason, reason)
        case TooOftenError():
            return Refusal("rate_limited", 429, reason, reason, {"Retry-After": str(error.seconds)})
        case HeldError():
            return Refusal("held", 503, reason, reason, {"Retry-After": "5"})
        case NotYetError():
            return Refusal("retry_later", 503, reason, reason, {"Retry-After": "1"})
        case _:
            # The reason may name the API server's address, which is not the caller's business.
            detail = "the API server is unavailable"
            return Refusal("unavailable", 503, detail, reason, {"Retry-After": "2"})


def bearer(request: Request) -> str:
    """The bearer token; raises UnauthenticatedError."""
    header = _BEARER.fullmatch(request.headers.get("authorization", ""))
    if header is None:
        raise UnauthenticatedError("the request has no bearer token")
    return header[1]


def parse(body: bytes | bytearray) -> bytes:
    """The CSR (PEM) in `{"csr": "..."}`; raises BadEnrollmentError."""
    try:
        return _Body.model_validate_json(body).csr.encode()
    except (ValidationError, UnicodeEncodeError):
        raise BadEnrollmentError(
            'the body must be {"csr": "<certificate signing request in PEM form>"}'
        ) from None


def encode(issued: Issued) -> bytes:
    """The response (PEM): `certificate` goes into the pod's `tls.crt`, `caBundle` into `ca.crt`."""
    return orjson.dumps(
        {
            "certificate": issued.chain.decode(),
            "caBundle": issued.bundle.decode(),
            "notAfter": issued.not_after.isoformat(),
        }
    )
