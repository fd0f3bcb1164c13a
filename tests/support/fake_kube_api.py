"""A fake API server with lists, watches, conflicts, and many ways to misbehave."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import jsonpatch
from aiohttp import web

from tests.support.selectors import is_selected

Answer = Callable[[web.BaseRequest], Coroutine[Any, Any, web.StreamResponse]]


@dataclass(frozen=True)
class RecordedRequest:
    """A request as it was received."""

    method: str
    raw_path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Target:
    """The objects that a path addresses; `namespace` and `name` are "" for all of them."""

    root: str
    plural: str
    namespace: str
    name: str

    @classmethod
    def of(cls, raw_path: str) -> "Target":
        segments = raw_path.strip("/").split("/")
        root_length = 2 if segments[0] == "api" else 3
        root, rest = segments[:root_length], segments[root_length:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            _, namespace, *rest = rest
        assert len(rest) <= 2, f"{raw_path} has too many segments"
        plural, name = (*rest, "") if len(rest) == 1 else rest
        return cls("/".join(root), plural, unquote(namespace), unquote(name))

    def contains(self, plural: str, document: Mapping[str, Any]) -> bool:
        """Whether an object is of the requested resource, version and namespace."""
        version = self.root.removeprefix("apis/").removeprefix("api/")
        is_near = self.namespace in ("", document["metadata"].get("namespace", ""))
        return is_near and (self.plural, version) == (plural, document.get("apiVersion", version))


@dataclass
class FakeKubeApi:
    """Objects by (plural, namespace, name), and faults to inject.

    An object with an `apiVersion` is visible only in that version. Each of `faults` answers one of
    the next requests. `forbidden` has the (verb, plural) that RBAC denies, `unknown` the plurals of
    resources without a CRD. Watches from versions before `oldest` have expired. `paths` has the
    answers at paths that are not resources, `dry_runs` the answers to dry runs by plural, and
    `denied` the (verb, plural) that SubjectAccessReviews deny.
    """

    port: int
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    faults: list[Answer] = field(default_factory=list)
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    tokens: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    paths: dict[str, Any] = field(default_factory=dict)
    dry_runs: dict[str, Answer] = field(default_factory=dict)
    denied: set[tuple[str, str]] = field(default_factory=set)
    seen: list[RecordedRequest] = field(default_factory=list)
    version: int = 100
    oldest: int = 0
    page_size: int | None = None
    _events: list[tuple[int, str, str, dict[str, Any]]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, plural: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Store an object and send an event to watches."""
        metadata = document["metadata"]
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        event_type = "MODIFIED" if key in self.objects else "ADDED"
        self.version += 1
        stored = {**document, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        self.objects[key] = stored
        self._publish(event_type, plural, stored)
        return stored

    def delete(self, plural: str, namespace: str, name: str) -> None:
        self.version += 1
        deleted = self.objects.pop((plural, namespace, name))
        metadata = {**deleted["metadata"], "resourceVersion": str(self.version)}
        self._publish("DELETED", plural, {**deleted, "metadata": metadata})

    def bookmark(self, plural: str) -> str:
        """Send a bookmark to watches; returns its version."""
        self.version += 1
        self._publish("BOOKMARK", plural, {"metadata": {"resourceVersion": str(self.version)}})
        return str(self.version)

    def forget(self) -> None:
        """Lose all history, as when etcd is compacted: every watch expires."""
        self.version += 1
        self._events.clear()
        self.oldest = self.version
        self._wake_watches()

    def requests(self, method: str, plural: str) -> list[RecordedRequest]:
        """The requests of a method for a resource."""
        resources = [request for request in self.seen if request.raw_path not in self.paths]
        same_method = [request for request in resources if request.method == method]
        return [r for r in same_method if Target.of(r.raw_path).plural == plural]

    def watches(self, plural: str) -> list[RecordedRequest]:
        return [request for request in self.requests("GET", plural) if "watch" in request.query]

    def _publish(self, event_type: str, plural: str, document: dict[str, Any]) -> None:
        self._events.append((self.version, event_type, plural, document))
        self._wake_watches()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        self.seen.append(
            RecordedRequest(request.method, path, dict(request.query), dict(request.headers))
        )
        return await (self.faults.pop(0) if self.faults else self.serve)(request)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer as a real API server would."""
        path = request.raw_path.partition("?")[0]
        if path in self.paths:
            if path.endswith("/jwks") and "jwk-set+json" not in request.headers["Accept"]:
                return _status(406, "only application/jwk-set+json is available")
            return self._answer_at(path)
        target = Target.of(path)
        verb = _verb(request, target)
        if (verb, target.plural) in self.forbidden:
            user = 'User "system:serviceaccount:raywarden-system:raywarden"'
            reason = f'{user} cannot {verb} resource "{target.plural}" in API group'
            return _status(403, f"{target.plural} is forbidden: {reason}")
        if target.plural in self.unknown:
            return _status(404, "the server could not find the requested resource")
        if verb == "watch":
            return await self._watch(request, target)
        if "dryRun" in request.query and target.plural in self.dry_runs:
            return await self.dry_runs[target.plural](request)
        body = await request.json() if request.can_read_body else None
        handlers = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
        }
        return handlers[verb](request, target, body)

    def _answer_at(self, path: str) -> web.Response:
        if ("get", path) in self.forbidden:
            return _status(403, f'forbidden: User "someone" cannot get path "{path}"')
        if self.paths[path] is None:
            return _status(404, "not found")
        return web.json_response(self.paths[path])

    def _get(self, _request: web.BaseRequest, target: Target, _body: Any) -> web.Response:
        stored = self.objects.get((target.plural, target.namespace, target.name))
        return web.json_response(stored) if stored else _status(404, "not found")

    def _list(self, request: web.BaseRequest, target: Target, _body: Any) -> web.Response:
        items = [
            document
            for (plural, _, _), document in sorted(self.objects.items())
            if target.contains(plural, document) and is_selected(document, request.query)
        ]
        token = request.query.get("continue", "page 0+/=")
        start = int(token.removeprefix("page ").removesuffix("+/="))
        end = start + (self.page_size or int(request.query["limit"]))
        metadata = {"resourceVersion": str(self.version)}
        if end < len(items):
            metadata["continue"] = f"page {end}+/="
        return web.json_response({"metadata": metadata, "items": items[start:end]})

    def _create(self, request: web.BaseRequest, target: Target, body: Any) -> web.Response:
        if target.plural == "subjectaccessreviews":
            attributes = body["spec"]["resourceAttributes"]
            allowed = (attributes["verb"], attributes["resource"]) not in self.denied
            return web.json_response({**body, "status": {"allowed": allowed}}, status=201)
        if request.query.get("dryRun") == "All":
            return web.json_response(body, status=201)
        if target.plural == "tokenreviews":
            if not body["spec"]["token"]:
                return _status(400, "token is required for TokenReview in authentication")
            status = self.tokens.get(body["spec"]["token"], {"error": "invalid bearer token"})
            return web.json_response({**body, "status": status}, status=201)
        if (target.plural, target.namespace, body["metadata"]["name"]) in self.objects:
            return _status(409, "already exists")
        return web.json_response(self.put(target.plural, body), status=201)

    def _update(self, _request: web.BaseRequest, target: Target, body: Any) -> web.Response:
        stored = self.objects[(target.plural, target.namespace, target.name)]
        if stored["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            return _status(409, "the object has been modified")
        return web.json_response(self.put(target.plural, body))

    def _patch(self, request: web.BaseRequest, target: Target, body: Any) -> web.Response:
        assert request.content_type == "application/json-patch+json"
        stored = self.objects[(target.plural, target.namespace, target.name)]
        try:
            return web.json_response(self.put(target.plural, jsonpatch.apply_patch(stored, body)))
        except jsonpatch.JsonPatchTestFailed:
            return _status(422, "the server rejected our request due to an error in our request")

    async def _watch(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        version = int(request.query["resourceVersion"])
        end = asyncio.get_running_loop().time() + float(request.query["timeoutSeconds"])
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while version >= self.oldest:
                    changed = self._changed
                    for event_version, event_type, plural, document in list(self._events):
                        if event_version > version and target.contains(plural, document):
                            if not is_selected(document, request.query):
                                event_type = "DELETED"
                            await response.write(_event_line(event_type, document))
                            version = event_version
                    await changed.wait()
                status = {"kind": "Status", "code": 410, "reason": "Expired"}
                await response.write(_event_line("ERROR", status))
        return response

    def _wake_watches(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _event_line(event_type: str, document: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": event_type, "object": document}).encode() + b"\n"


def _verb(request: web.BaseRequest, target: Target) -> str:
    if request.method == "GET" and not target.name:
        return "watch" if "watch" in request.query else "list"
    return {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}[request.method]


def _status(code: int, message: str, details: Mapping[str, Any] | None = None) -> web.Response:
    status = {"kind": "Status", "code": code, "message": message, "details": details or {}}
    return web.json_response(status, status=code)


def fails(
    status: int, message: str = "", details: Mapping[str, Any] | None = None, **headers: str
) -> Answer:
    """A fault: a Status with this code."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        response = _status(status, message, details)
        response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        return response

    return answer


def answers_with(body: bytes) -> Answer:
    """A fault: 200 with this body."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=body)

    return answer


async def hangs(_request: web.BaseRequest) -> web.StreamResponse:
    """A fault: no answer, ever."""
    await asyncio.Event().wait()
    raise AssertionError


async def hangs_up(request: web.BaseRequest) -> web.StreamResponse:
    """A fault: the connection is cut without an answer."""
    assert request.transport
    request.transport.abort()
    return web.Response()
