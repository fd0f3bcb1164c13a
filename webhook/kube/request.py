"""Requests to the Kubernetes API, and the exceptions for the answers that refuse them."""

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from policies.documents.untyped import as_dict, as_str
from webhook.ports import ConflictError, UnavailableError

# RBAC says `User "..." cannot get resource "pods" ...`. Quotas and admission webhooks also answer
# 403, in other words.
_RBAC_REFUSAL = re.compile(r" cannot \w+ (resource|path) ")
# The API server's name for callers without credentials, if it lets them in at all.
_ANONYMOUS = 'User "system:anonymous"'


class NotFoundError(UnavailableError):
    """The object does not exist, or the API server does not know the resource."""


class ForbiddenError(UnavailableError):
    """RBAC denied the request; `permission` is what is missing: verb, resource, namespace."""

    def __init__(self, message: str, permission: str) -> None:
        super().__init__(message)
        self.permission = permission


class UnauthorizedError(UnavailableError):
    """The API server does not know who the caller is."""


class RefusedError(UnavailableError):
    """A dry run was refused; `reason` is the API server's message, which may quote a webhook's."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ExpiredError(UnavailableError):
    """The API server no longer has the requested resourceVersion: list again."""


class TooLargeError(UnavailableError):
    """The answer has more bytes than the request allows: ask for less at once."""


class InvalidError(UnavailableError):
    """The API server rejected the change as invalid, or a `test` of a JSON Patch failed."""


class BusyError(UnavailableError):
    """The connection failed or the server is overloaded: the same request may succeed later.

    `pause` is the number of seconds that the server asked to wait.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class TooEarlyError(BusyError):
    """The API server did nothing and said when to come again: a write may be repeated, too.

    It says so (429) when too many requests run, and since Kubernetes 1.36 while it prepares the
    storage of a resource, for example after a CustomResourceDefinition was created.
    """


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of the API, or one of its subresources as RBAC names it, such as `pods/status`.

    The core group is "".
    """

    group: str
    version: str
    plural: str

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of all objects, of those in a namespace, or of a single object.

        Raises NotFoundError for a name that no object can have.
        """
        segments = ["apis", self.group] if self.group else ["api"]
        segments.append(self.version)
        if namespace:
            segments += ["namespaces", namespace]
        plural, _, subresource = self.plural.partition("/")
        segments += filter(None, (plural, name, subresource))
        return "/" + "/".join(map(_segment, segments))


@dataclass(frozen=True, slots=True)
class ApiPath:
    """A path that is not a resource, such as `/version`."""

    whole: str

    def __str__(self) -> str:
        return self.whole

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path itself."""
        return self.whole


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `verb` is RBAC's name for it.

    `repr` omits the body, which may contain a token or the seed. `dry_run` says that the query has
    `dryRun`, so that nothing is stored; the body of such a request must not contain a secret.
    `most_bytes` bounds the answer; 0 is no bound. `accept` is its media type, always a JSON text.
    """

    verb: str
    method: str
    resource: Resource | ApiPath
    namespace: str = ""
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = field(default=None, repr=False)
    content_type: str = "application/json"
    dry_run: bool = False
    most_bytes: int = 0
    accept: str = "application/json"

    def __str__(self) -> str:
        request = f"{self.verb} {self.resource}"
        return f"{request} in namespace {self.namespace}" if self.namespace else request


def refusal(request: Request, status: int, retry_after: str, content: bytes) -> Exception:
    """The exception for an HTTP status of 400 or above.

    It never quotes the answer, which may itself quote the request, and with it a secret. A dry run
    is the exception: its answer is the result, and its request contains no secret.
    """
    if status == 403 and _ANONYMOUS in _message(content):
        return UnauthorizedError(f"{request}: the API server treats the caller as anonymous (403)")
    if status == 403 and _RBAC_REFUSAL.search(_message(content)):
        return ForbiddenError(
            f"the service account may not {request}: grant it with RBAC (deploy/base shows how)",
            str(request),
        )
    if request.dry_run and status not in (401, 404, 429):
        return RefusedError(f"{request}: refused ({status})", _message(content))
    if status == 409:
        return ConflictError(f"{request}: another client was faster")
    if status == 403:
        return UnavailableError(
            f"{request}: refused (403), but not by RBAC: check quotas and admission webhooks"
        )
    if status == 401:
        return UnauthorizedError(f"{request}: the API server rejected the credentials (401)")
    if status == 429 or status >= 500:
        pause = _seconds(retry_after) or _retry_after_seconds(content)
        exception = TooEarlyError if status == 429 and pause else BusyError
        return exception(f"{request}: the API server answered {status}", pause)
    exceptions = {404: NotFoundError, 410: ExpiredError, 422: InvalidError}
    return exceptions.get(status, UnavailableError)(f"{request}: the API server answered {status}")


def selectors(labels: str, fields: str) -> dict[str, str]:
    """The query of a label selector and a field selector, either of which may be empty."""
    query = {"labelSelector": labels, "fieldSelector": fields}
    return {name: selector for name, selector in query.items() if selector}


def backoff(attempt: int, first: float, most: float = math.inf) -> float:
    """Seconds to wait after an attempt (the first is 1): doubled each time, with jitter.

    `first` is the pause after the first attempt, `most` the longest.
    """
    # 2**20 times the first pause is beyond any use; a larger exponent would overflow in the end.
    doublings = min(attempt - 1, 20)
    return min(most, math.ldexp(first, doublings)) * random.uniform(0.5, 1.0)


def _message(content: bytes) -> str:
    return as_str(_status(content).get("message"))


def _status(content: bytes) -> Mapping[str, Any]:
    """The Status in an answer; empty if there is none."""
    try:
        return as_dict(orjson.loads(content))
    except ValueError:
        return {}


def _retry_after_seconds(content: bytes) -> float:
    """What a Status says where a proxy dropped the header."""
    seconds = as_dict(_status(content).get("details")).get("retryAfterSeconds")
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else 0.0


def _seconds(retry_after: str) -> float:
    # Retry-After may also be a date (RFC 9110, 10.2.3), which API servers do not send.
    is_number = retry_after.isdecimal() and retry_after.isascii()
    return float(retry_after) if is_number else 0.0


def _segment(name: str) -> str:
    # Quoting alone does not suffice: the API server splits the path after decoding it.
    # Source: k8s.io/apimachinery, IsValidPathSegmentName.
    if name in (".", "..") or "/" in name or "%" in name:
        raise NotFoundError(f"{name[:100]!r} is not a valid object name")
    return quote(name, safe="", errors="replace")
