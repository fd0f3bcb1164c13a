"""What is asked of the Kubernetes API, and what it means when the answer is no."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from policies.documents.untyped import as_dict, as_str
from webhook.ports import ConflictError, UnavailableError

# RBAC says `User "..." cannot get resource "pods" ...`; quotas and admission webhooks answer 403 in other words.
_RBAC_REFUSAL = re.compile(r" cannot \w+ (resource|path) ")


class NotFoundError(UnavailableError):
    """There is no such object, or the API server does not know the resource."""


class ForbiddenError(UnavailableError):
    """RBAC does not let us; `right` is what would, in its words."""

    def __init__(self, message: str, right: str) -> None:
        super().__init__(message)
        self.right = right


class RefusedError(UnavailableError):
    """What was only rehearsed is not let in; `said` is why, in the API server's words and those of who it asked."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


class ExpiredError(UnavailableError):
    """What was asked for has left the API server's memory: list anew."""


class InvalidError(UnavailableError):
    """The object cannot be changed like this; a JSON Patch whose `test` failed is answered so, too."""


class BusyError(UnavailableError):
    """No answer, or not now: the same request may work a moment later.

    `pause` is how many seconds the server asked us to wait.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object by its place in the API; the core group is ""."""

    group: str
    version: str
    plural: str

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of all objects, of those in a namespace, or of one.

        Raises NotFoundError for a name that no object can have.
        """
        root = ("apis", self.group) if self.group else ("api",)
        scope = ("namespaces", namespace) if namespace else ()
        return "/" + "/".join(
            map(_segment, (*root, self.version, *scope, self.plural, *((name,) if name else ())))
        )


@dataclass(frozen=True, slots=True)
class ApiPath:
    """A place in the API that is no resource, such as `/version`; whole, with its slashes."""

    whole: str

    def __str__(self) -> str:
        return self.whole

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path itself."""
        return self.whole


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `verb` is what RBAC calls it. The body is left out of `repr`: it may hold a token or the seed.

    A `dry_run` is asked for with `dryRun`, so that nothing comes of it; there is no secret in its body.
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

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (
            f" in namespace {self.namespace}" if self.namespace else ""
        )


def refusal(request: Request, status: int, retry_after: str, content: bytes) -> Exception:
    """The exception for an answer of 400 and above. No word of the answer gets into it: it may quote what was sent.

    But for a rehearsal, whose answer is what was asked for, and which was sent nothing secret.
    """
    if status == 403 and _RBAC_REFUSAL.search(_message(content)):
        return ForbiddenError(
            f"the service account may not {request}: grant it with RBAC (deploy/base shows how)",
            str(request),
        )
    if request.dry_run and status not in (401, 404, 429):
        return RefusedError(f"{request}: refused ({status})", _message(content))
    if status == 409:
        return ConflictError(f"{request}: somebody else was faster")
    if status == 403:
        return UnavailableError(
            f"{request}: refused, and not by RBAC (403): look at quotas and admission webhooks"
        )
    if status == 401:
        return UnavailableError(f"{request}: the API server does not accept our credentials (401)")
    if status == 429 or status >= 500:
        return BusyError(f"{request}: the API server answered {status}", _seconds(retry_after))
    known = {404: NotFoundError, 410: ExpiredError, 422: InvalidError}
    return known.get(status, UnavailableError)(f"{request}: the API server answered {status}")


def _message(content: bytes) -> str:
    try:
        return as_str(as_dict(orjson.loads(content)).get("message"))
    except ValueError:
        return ""


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdecimal() and retry_after.isascii() else 0.0


def _segment(name: str) -> str:
    # Quoting is not enough: the API server splits the path after decoding it. Source: k8s.io/apimachinery,
    # IsValidPathSegmentName.
    if name in (".", "..") or "/" in name or "%" in name:
        raise NotFoundError(f"no object can be called {name[:100]!r}")
    return quote(name, safe="", errors="replace")
