"""AdmissionReview v1 on the wire: the envelope is typed, the objects in it stay raw.

Raw objects keep fields that RayWarden does not know.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic.alias_generators import to_camel

from policies.documents.patch import Operation
from policies.ray.workload import Kind
from webhook import json_text


class BadReviewError(Exception):
    """The body is not an AdmissionReview request.

    The message says what is wrong. It quotes nothing from the body, which may hold secrets.
    """


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


class _GroupVersionKind(_Envelope):
    group: str = ""
    version: str
    kind: str


class _GroupVersionResource(_Envelope):
    group: str = ""
    version: str = ""
    resource: str = ""


class _UserInfo(_Envelope):
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    # A factory, because pydantic makes a deep copy of a default that can change.
    extra: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class AdmissionRequest(_Envelope):
    """The fields of an `admission.k8s.io/v1` AdmissionRequest that decisions depend on."""

    # Kubernetes sends a UUID of 36 characters. The limit bounds what a client can have us repeat
    # in the response and in the log.
    uid: str = Field(min_length=1, max_length=256)
    kind: _GroupVersionKind
    resource: _GroupVersionResource = _GroupVersionResource()
    request_kind: _GroupVersionKind | None = None
    request_resource: _GroupVersionResource | None = None
    request_sub_resource: str = ""
    operation: Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
    name: str = ""
    namespace: str = ""
    sub_resource: str = ""
    user_info: _UserInfo = _UserInfo()
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None
    dry_run: bool | None = None
    _size: int | None = PrivateAttr(None)

    @property
    def size(self) -> int | None:
        """The length of the AdmissionReview in bytes; None if it is not known."""
        return self._size

    def measure(self) -> None:
        """Find out the size of a request that was not parsed from text.

        Writing the text is far quicker than counting the values in it.
        """
        try:
            self._size = len(orjson.dumps([self.object, self.old_object]))
        except orjson.JSONEncodeError:
            # Text that is not UTF-8, or numbers beyond 64 bits: only counting is left.
            self._size = None

    @property
    def without_objects(self) -> dict[str, Any]:
        """The request without its objects, as JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude={"object", "old_object"})

    @property
    def gvk(self) -> Kind:
        return Kind(self.kind.group, self.kind.version, self.kind.kind)


class _AdmissionReview(_Envelope):
    api_version: Literal["admission.k8s.io/v1"]
    kind: Literal["AdmissionReview"]
    request: AdmissionRequest


@dataclass(frozen=True, slots=True)
class AdmissionResponse:
    """The decision: allowed or not, why, and what to change.

    `message` and `warnings` are for the author of the object, `audit` holds audit annotations.
    """

    uid: str
    allowed: bool
    message: str = ""
    operations: Sequence[Operation] = ()
    warnings: Sequence[str] = ()
    audit: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The AdmissionReview as JSON; a denial has code 403 and the message."""
        response: dict[str, Any] = {"uid": self.uid, "allowed": self.allowed}
        if not self.allowed:
            response["status"] = {"code": 403, "reason": "Forbidden", "message": self.message}
        if self.operations:
            response["patchType"] = "JSONPatch"
            response["patch"] = base64.b64encode(orjson.dumps(self.operations)).decode("ascii")
        if self.warnings:
            response["warnings"] = list(self.warnings)
        if self.audit:
            response["auditAnnotations"] = dict(self.audit)
        return orjson.dumps(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        )


def parse(body: bytes | bytearray) -> AdmissionRequest:
    """The request in an AdmissionReview; raises BadReviewError."""
    if json_text.has_too_many_parts(body):
        raise BadReviewError(f"the body has more than {json_text.MAX_PARTS} JSON tokens")
    try:
        document = json_text.loads(body)
    except ValueError:
        raise BadReviewError("the body is not JSON") from None
    request = request_in(document)
    request._size = len(body)
    return request


def request_in(document: Any) -> AdmissionRequest:
    """The request in a parsed AdmissionReview; raises BadReviewError."""
    try:
        return _AdmissionReview.model_validate(document).request
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the body"
        raise BadReviewError(
            f"not an admission.k8s.io/v1 AdmissionReview: {place}: {problem['msg']}"
        ) from None
