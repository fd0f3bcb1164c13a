"""Where Ingresses, Gateway API routes and OpenShift Routes lead."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from policies.cluster.related_object import Neighbour
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import elements, mapping, text

_DEFAULT_BACKEND = "nginx.ingress.kubernetes.io/default-backend"
_MIRROR_TARGET = "nginx.ingress.kubernetes.io/mirror-target"
_MIRROR_HOST = re.compile(r"//([a-z0-9-]{1,63})[a-z0-9.-]{0,253}(?::([0-9]{1,5}))?")
_ALB_ACTIONS = "alb.ingress.kubernetes.io/actions."
_ALB_SERVICE = re.compile(r'"serviceName"\s{0,9}:\s{0,9}"([a-z0-9-]{1,63})"', re.IGNORECASE)
_ALB_PORT = re.compile(r'"servicePort"\s{0,9}:\s{0,9}"?([0-9]{1,5})', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Backend:
    """A Service that something outside is led to, by its number or name of port (None: not said)."""

    namespace: str
    service: str
    port: int | str | None
    pointer: Pointer


def backends(neighbour: Neighbour) -> Iterator[Backend]:
    """Every Service a route leads to; the namespace is empty where it is the route's own."""
    match neighbour.kind:
        case "Ingress":
            return chain(_of_ingress(neighbour.spec), _of_annotations(neighbour.annotations))
        case "Route":
            return _of_openshift(neighbour.spec)
        case "HTTPRoute" | "GRPCRoute" | "TCPRoute" | "TLSRoute":
            return _of_gateway(neighbour.spec)
    return iter(())


def gateways(neighbour: Neighbour, namespace: str) -> Iterator[str]:
    """The Gateways a route of the Gateway API hangs on, as `namespace/name`."""
    for _, parent in elements(neighbour.spec.get("parentRefs")):
        of_kind = text(parent.get("kind")) or "Gateway"
        prefix = "" if of_kind == "Gateway" else f"{of_kind}:"
        yield f"{prefix}{text(parent.get('namespace')) or namespace}/{text(parent.get('name'))}"


def _of_ingress(spec: Mapping[str, Any]) -> Iterator[Backend]:
    place = ROOT / "spec"
    for name in ("defaultBackend", "backend"):
        if name in spec:
            yield from _ingress_backend(mapping(spec.get(name)), place / name)
    for index, rule in elements(spec.get("rules")):
        for number, path in elements(mapping(rule.get("http")).get("paths")):
            pointer = place / "rules" / index / "http" / "paths" / number / "backend"
            yield from _ingress_backend(mapping(path.get("backend")), pointer)


def _of_annotations(annotations: Mapping[str, Any]) -> Iterator[Backend]:
    """Where annotations of ingress-nginx and of the ALB controller lead."""
    place = ROOT / "metadata" / "annotations"
    if name := text(annotations.get(_DEFAULT_BACKEND)):
        yield Backend("", name, None, place / _DEFAULT_BACKEND)
    if found := _MIRROR_HOST.search(text(annotations.get(_MIRROR_TARGET))):
        yield Backend("", found[1], int(found[2]) if found[2] else None, place / _MIRROR_TARGET)
    for action in (name for name in annotations if name.startswith(_ALB_ACTIONS)):
        # JSON of the controller's own; with a Service's name its port stands in some order.
        content = text(annotations[action])
        ports: list[int | None] = [int(port) for port in _ALB_PORT.findall(content)]
        for service in _ALB_SERVICE.findall(content):
            yield from (Backend("", service, port, place / action) for port in ports or [None])


def _ingress_backend(backend: Mapping[str, Any], pointer: Pointer) -> Iterator[Backend]:
    service = mapping(backend.get("service"))
    port = mapping(service.get("port"))
    if name := text(service.get("name")):
        yield Backend("", name, _port(port.get("number")) or _port(port.get("name")), pointer)
    elif name := text(backend.get("serviceName")):
        yield Backend("", name, _port(backend.get("servicePort")), pointer)


def _of_openshift(spec: Mapping[str, Any]) -> Iterator[Backend]:
    port = _port(mapping(spec.get("port")).get("targetPort"))
    yield Backend("", text(mapping(spec.get("to")).get("name")), port, ROOT / "spec" / "to")
    for index, other in elements(spec.get("alternateBackends")):
        yield Backend("", text(other.get("name")), port, ROOT / "spec" / "alternateBackends" / index)


def _of_gateway(spec: Mapping[str, Any]) -> Iterator[Backend]:
    for index, rule in elements(spec.get("rules")):
        pointer = ROOT / "spec" / "rules" / index
        yield from _references(rule.get("backendRefs"), pointer / "backendRefs")
        yield from _mirrors(rule, pointer)
        for number, reference in elements(rule.get("backendRefs")):
            yield from _mirrors(reference, pointer / "backendRefs" / number)


def _mirrors(holder: Mapping[str, Any], pointer: Pointer) -> Iterator[Backend]:
    """What is mirrored, by a filter of a rule or of one of its backends, is asked just as well."""
    for number, one in elements(holder.get("filters")):
        mirror = mapping(mapping(one.get("requestMirror")).get("backendRef"))
        yield from _references([mirror], pointer / "filters" / number / "requestMirror" / "backendRef")


def _references(references: Any, pointer: Pointer) -> Iterator[Backend]:
    for index, reference in elements(references):
        # Other kinds stand for a Service of the same name, elsewhere or by way of an import.
        if text(reference.get("name")):
            place = pointer / index if pointer[-1] == "backendRefs" else pointer
            namespace, name = text(reference.get("namespace")), text(reference.get("name"))
            yield Backend(namespace, name, _port(reference.get("port")), place)


def _port(value: Any) -> int | str | None:
    return value if isinstance(value, int | str) and value and not isinstance(value, bool) else None
