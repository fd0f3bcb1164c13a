"""An API server of our own on a loopback port: enough of lists, watches and conflicts, and every way to misbehave."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import jsonpatch
from aiohttp import web

Answer = Callable[[web.BaseRequest], Coroutine[Any, Any, web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    """A request as it came over the wire."""

    method: str
    raw_path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """Which objects a path names; `namespace` and `name` are "" for all of them."""

    root: str
    plural: str
    namespace: str
    name: str

    @classmethod
    def of(cls, raw_path: str) -> "Place":
        segments = raw_path.strip("/").split("/")
        root, rest = (
            segments[: 2 if segments[0] == "api" else 3],
            segments[2 if segments[0] == "api" else 3 :],
        )
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            _, namespace, *rest = rest
        plural, name, *more = (*rest, "") if len(rest) == 1 else rest
        assert not more, f"{raw_path} has a segment too many"
        return cls("/".join(root), plural, unquote(namespace), unquote(name))

    def holds(self, plural: str, document: Mapping[str, Any]) -> bool:
        """Whether an object is of the resource that is asked for."""
        version = self.root.removeprefix("apis/").removeprefix("api/")
        return plural == self.plural and document.get("apiVersion", version) == version


@dataclass
class FakeKubeApi:
    """Objects by (plural, namespace, name), and what to do wrong.

    An object that says its `apiVersion` is there for those who ask for this one. `faults` answer the next requests, one
    each, before anything else does. `forbidden` holds (verb, plural), `unknown` the plurals of resources that are not
    installed. Watches from before `oldest` have expired. `paths` are what stands at paths that are no resources;
    `dry_runs` answer dry runs by plural; `denied` holds (verb, plural) of what SubjectAccessReviews deny.
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
    seen: list[Seen] = field(default_factory=list)
    version: int = 100
    oldest: int = 0
    page_size: int | None = None
    _events: list[tuple[int, str, str, dict[str, Any]]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, plural: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Store an object as its author would, and tell those who watch."""
        metadata = document["metadata"]
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        kind = "MODIFIED" if key in self.objects else "ADDED"
        self.version += 1
        stored = {**document, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        self.objects[key] = stored
        self.tell(kind, plural, stored)
        return stored

    def delete(self, plural: str, namespace: str, name: str) -> None:
        self.version += 1
        gone = self.objects.pop((plural, namespace, name))
        metadata = {**gone["metadata"], "resourceVersion": str(self.version)}
        self.tell("DELETED", plural, {**gone, "metadata": metadata})

    def bookmark(self, plural: str) -> str:
        """Tell those who watch how far they are; gives the version told."""
        self.version += 1
        self.tell("BOOKMARK", plural, {"metadata": {"resourceVersion": str(self.version)}})
        return str(self.version)

    def forget(self) -> None:
        """Lose all history, as etcd does when it is compacted: whoever watches has expired."""
        self.version += 1
        self._events.clear()
        self.oldest = self.version
        self._wake()

    def tell(self, kind: str, plural: str, document: dict[str, Any]) -> None:
        self._events.append((self.version, kind, plural, document))
        self._wake()

    def asked(self, method: str, plural: str) -> list[Seen]:
        seen = [one for one in self.seen if one.method == method and one.raw_path not in self.paths]
        return [one for one in seen if Place.of(one.raw_path).plural == plural]

    def watches(self, plural: str) -> list[Seen]:
        return [one for one in self.asked("GET", plural) if "watch" in one.query]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(
            Seen(
                request.method,
                request.raw_path.partition("?")[0],
                dict(request.query),
                dict(request.headers),
            )
        )
        return await (self.faults.pop(0) if self.faults else self.obey)(request)

    async def obey(self, request: web.BaseRequest) -> web.StreamResponse:
        """Do as a real API server would."""
        path = request.raw_path.partition("?")[0]
        if path in self.paths:
            return self._at(path)
        place = Place.of(path)
        verb = _verb(request, place)
        if (verb, place.plural) in self.forbidden:
            who = f'User "system:serviceaccount:raywarden-system:raywarden" cannot {verb} resource "{place.plural}"'
            return _status(403, f"{place.plural} is forbidden: {who} in API group")
        if place.plural in self.unknown:
            return _status(404, "the server could not find the requested resource")
        if verb == "watch":
            return await self._watch(request, place)
        if "dryRun" in request.query and place.plural in self.dry_runs:
            return await self.dry_runs[place.plural](request)
        body = await request.json() if request.can_read_body else None
        do = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
        }
        return do[verb](request, place, body)

    def _at(self, path: str) -> web.Response:
        if ("get", path) in self.forbidden:
            return _status(403, f'forbidden: User "someone" cannot get path "{path}"')
        return (
            _status(404, "not found")
            if self.paths[path] is None
            else web.json_response(self.paths[path])
        )

    def _get(self, _request: web.BaseRequest, place: Place, _body: Any) -> web.Response:
        stored = self.objects.get((place.plural, place.namespace, place.name))
        return web.json_response(stored) if stored else _status(404, "not found")

    def _list(self, request: web.BaseRequest, place: Place, _body: Any) -> web.Response:
        selector = request.query.get("labelSelector", "")
        items = [
            document
            for (plural, _, _), document in sorted(self.objects.items())
            if place.holds(plural, document) and _selected(document, selector)
        ]
        start = int(
            request.query.get("continue", "page 0+/=").removeprefix("page ").removesuffix("+/=")
        )
        end = start + (self.page_size or int(request.query["limit"]))
        metadata = {"resourceVersion": str(self.version)}
        if end < len(items):
            metadata["continue"] = f"page {end}+/="
        return web.json_response({"metadata": metadata, "items": items[start:end]})

    def _create(self, request: web.BaseRequest, place: Place, body: Any) -> web.Response:
        if place.plural == "subjectaccessreviews":
            asked = body["spec"]["resourceAttributes"]
            allowed = (asked["verb"], asked["resource"]) not in self.denied
            return web.json_response({**body, "status": {"allowed": allowed}}, status=201)
        if request.query.get("dryRun") == "All":
            return web.json_response(body, status=201)
        if place.plural == "tokenreviews":
            if not body["spec"]["token"]:
                return _status(400, "token is required for TokenReview in authentication")
            status = self.tokens.get(body["spec"]["token"], {"error": "invalid bearer token"})
            return web.json_response({**body, "status": status}, status=201)
        if (place.plural, place.namespace, body["metadata"]["name"]) in self.objects:
            return _status(409, "already exists")
        return web.json_response(self.put(place.plural, body), status=201)

    def _update(self, _request: web.BaseRequest, place: Place, body: Any) -> web.Response:
        stored = self.objects[(place.plural, place.namespace, place.name)]
        if stored["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            return _status(409, "the object has been modified")
        return web.json_response(self.put(place.plural, body))

    def _patch(self, request: web.BaseRequest, place: Place, body: Any) -> web.Response:
        assert request.content_type == "application/json-patch+json"
        stored = self.objects[(place.plural, place.namespace, place.name)]
        try:
            return web.json_response(self.put(place.plural, jsonpatch.apply_patch(stored, body)))
        except jsonpatch.JsonPatchTestFailed:
            return _status(422, "the server rejected our request due to an error in our request")

    async def _watch(self, request: web.BaseRequest, place: Place) -> web.StreamResponse:
        version = int(request.query["resourceVersion"])
        end = asyncio.get_running_loop().time() + float(request.query["timeoutSeconds"])
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while version >= self.oldest:
                    news = self._news
                    for known, kind, plural, document in list(self._events):
                        if known > version and place.holds(plural, document):
                            await response.write(
                                json.dumps({"type": kind, "object": document}).encode() + b"\n"
                            )
                            version = known
                    await news.wait()
                status = {"kind": "Status", "code": 410, "reason": "Expired"}
                await response.write(
                    json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
                )
        return response

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _verb(request: web.BaseRequest, place: Place) -> str:
    if request.method == "GET" and not place.name:
        return "watch" if "watch" in request.query else "list"
    return {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}[request.method]


def _selected(document: Mapping[str, Any], selector: str) -> bool:
    """Whether the labels named in a selector exist, do not where there is a `!` before them, or have one of values."""
    labels = document["metadata"].get("labels", {})
    terms = filter(None, re.split(r",(?![^(]*\))", selector))
    return all(_holds(term, labels) for term in terms)


def _holds(term: str, labels: Mapping[str, str]) -> bool:
    name, among, values = term.partition(" in ")
    if among:
        return labels.get(name) in [value.strip() for value in values.strip("()").split(",")]
    return (term.lstrip("!") in labels) is not term.startswith("!")


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


def fails(status: int, message: str = "", **headers: str) -> Answer:
    """A fault: a Status of this code."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        response = _status(status, message)
        response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        return response

    return answer


def says(body: bytes) -> Answer:
    """A fault: 200 with a body of one's choice."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=body)

    return answer


async def hangs(_request: web.BaseRequest) -> web.StreamResponse:
    """A fault: no answer, ever."""
    await asyncio.Event().wait()
    raise AssertionError


async def hangs_up(request: web.BaseRequest) -> web.StreamResponse:
    """A fault: the connection ends without an answer."""
    assert request.transport
    request.transport.abort()
    return web.Response()
