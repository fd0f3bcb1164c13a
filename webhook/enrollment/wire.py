"""Enrollment on the wire: what a pod sends, what it gets, and what a refusal looks like."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from certs.csr import CsrError
from certs.identity import NotAllowedError
from webhook.enrollment.signing import Issued, NotYetError, TooOftenError, UnauthenticatedError
from webhook.ports import UnavailableError

# RFC 6750: b64token. Projected tokens are JWTs of one or two kilobytes.
_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]{1,16384}=*)")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="raywarden"'}


class BadEnrollmentError(Exception):
    """The body is no enrollment; the message says what one is and quotes nothing from the body."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    csr: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer without a certificate. `reason` is for the log: what the caller is told may be less."""

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
    UnavailableError,
)


def refusal(error: Exception) -> Refusal:
    """What one of `REFUSALS` means for the caller."""
    said = str(error)
    match error:
        case BadEnrollmentError():
            return Refusal("bad_request", 400, said, said)
        case UnauthenticatedError():
            detail = "send a service account token of this pod, for the audience raywarden.io, as bearer token"
            return Refusal("unauthenticated", 401, detail, said, _CHALLENGE)
        case NotAllowedError():
            return Refusal("forbidden", 403, said, said)
        case CsrError():
            return Refusal("bad_csr", 422, said, said)
        case TooOftenError():
            return Refusal("too_often", 429, said, said, {"Retry-After": str(error.seconds)})
        case NotYetError():
            return Refusal("not_yet", 503, said, said, {"Retry-After": "1"})
        case _:
            return Refusal(
                "unavailable", 503, "the API server cannot be asked now", said, {"Retry-After": "2"}
            )


def bearer(request: Request) -> str:
    """The bearer token; raises UnauthenticatedError."""
    found = _BEARER.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        raise UnauthenticatedError("no bearer token")
    return found[1]


def parse(body: bytes | bytearray) -> bytes:
    """The CSR (PEM) in `{"csr": "..."}`; raises BadEnrollmentError."""
    try:
        return _Body.model_validate_json(body).csr.encode()
    except (ValidationError, UnicodeEncodeError):
        raise BadEnrollmentError(
            'the body must be {"csr": "<certificate signing request in PEM form>"}'
        ) from None


def encode(issued: Issued) -> bytes:
    """The answer: `certificate` is the chain for `tls.crt`, `caBundle` the content of `ca.crt` (PEM)."""
    return orjson.dumps(
        {
            "certificate": issued.chain.decode(),
            "caBundle": issued.bundle.decode(),
            "notAfter": issued.not_after.isoformat(),
        }
    )
