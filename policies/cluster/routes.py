"""The Services that Ingresses, Gateway API routes and OpenShift Routes lead to."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from policies.cluster.related_object import RelatedObject
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items

_DEFAULT_BACKEND = "nginx.ingress.kubernetes.io/default-backend"
_MIRROR_TARGET = "nginx.ingress.kubernetes.io/mirror-target"
_ALB_ACTIONS = "alb.ingress.kubernetes.io/actions."
# Annotations are untrusted and up to 256 KiB long, so every repetition is bounded.
_MIRROR_HOST = re.compile(r"//([a-z0-9-]{1,63})[a-z0-9.-]{0,253}(?::([0-9]{1,5}))?")
_ALB_SERVICE = re.compile(r'"serviceName"\s{0,9}:\s{0,9}"([a-z0-9-]{1,63})"', re.IGNORECASE)
_ALB_PORT = re.compile(r'"servicePort"\s{0,9}:\s{0,9}"?([0-9]{1,5})', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Backend:
    """A Service that a route leads to.

    `namespace` is empty for the route's own namespace. `port` is a number or a name; None if the
    route does not state it.
    """

    namespace: str
    service: str
    port: int | str | None
    pointer: Pointer


def backends(related_object: RelatedObject) -> Iterator[Backend]:
    """Every Service that a route leads to."""
    match related_object.kind:
        case "Ingress":
            return chain(
                _of_ingress(related_object.spec), _of_annotations(related_object.annotations)
            )
        case "Route":
            return _of_openshift(related_object.spec)
        case "HTTPRoute" | "GRPCRoute" | "TCPRoute" | "TLSRoute":
            return _of_gateway(related_object.spec)
    return iter(())


def gateways(related_object: RelatedObject, namespace: str) -> Iterator[str]:
    """The Gateways that a Gateway API route is attached to, as `namespace/name`.

    A parent of another kind has its kind in front, so it never equals a Gateway.
    """
    for _, parent in dict_items(related_object.spec.get("parentRefs")):
        kind = as_str(parent.get("kind")) or "Gateway"
        prefix = "" if kind == "Gateway" else f"{kind}:"
        yield f"{prefix}{as_str(parent.get('namespace')) or namespace}/{as_str(parent.get('name'))}"


def _of_ingress(spec: Mapping[str, Any]) -> Iterator[Backend]:
    place = ROOT / "spec"
    # `backend` is what v1beta1 calls the default backend.
    for name in ("defaultBackend", "backend"):
        if name in spec:
            yield from _ingress_backend(as_dict(spec.get(name)), place / name)
    for index, rule in dict_items(spec.get("rules")):
        for number, path in dict_items(as_dict(rule.get("http")).get("paths")):
            pointer = place / "rules" / index / "http" / "paths" / number / "backend"
            yield from _ingress_backend(as_dict(path.get("backend")), pointer)


def _of_annotations(annotations: Mapping[str, Any]) -> Iterator[Backend]:
    """The Services that annotations of ingress-nginx and of the ALB controller name."""
    place = ROOT / "metadata" / "annotations"
    default = as_str(annotations.get(_DEFAULT_BACKEND))
    if default:
        yield Backend("", default, None, place / _DEFAULT_BACKEND)
    mirror = _MIRROR_HOST.search(as_str(annotations.get(_MIRROR_TARGET)))
    if mirror:
        port = int(mirror[2]) if mirror[2] else None
        yield Backend("", mirror[1], port, place / _MIRROR_TARGET)
    for name, value in annotations.items():
        if name.startswith(_ALB_ACTIONS):
            yield from _of_alb_action(as_str(value), place / name)


def _of_alb_action(action: str, pointer: Pointer) -> Iterator[Backend]:
    """The Services in an action, which is JSON in the controller's own format.

    Services and ports can come in any order, so each Service is combined with every port.
    """
    ports: list[int | None] = [int(port) for port in _ALB_PORT.findall(action)]
    for service in _ALB_SERVICE.findall(action):
        for port in ports or [None]:
            yield Backend("", service, port, pointer)


def _ingress_backend(backend: Mapping[str, Any], pointer: Pointer) -> Iterator[Backend]:
    service = as_dict(backend.get("service"))
    name = as_str(service.get("name"))
    if name:
        port = as_dict(service.get("port"))
        yield Backend("", name, _port(port.get("number")) or _port(port.get("name")), pointer)
        return
    # The fields of v1beta1.
    name = as_str(backend.get("serviceName"))
    if name:
        yield Backend("", name, _port(backend.get("servicePort")), pointer)


def _of_openshift(spec: Mapping[str, Any]) -> Iterator[Backend]:
    port = _port(as_dict(spec.get("port")).get("targetPort"))
    yield Backend("", as_str(as_dict(spec.get("to")).get("name")), port, ROOT / "spec" / "to")
    for index, alternate in dict_items(spec.get("alternateBackends")):
        pointer = ROOT / "spec" / "alternateBackends" / index
        yield Backend("", as_str(alternate.get("name")), port, pointer)


def _of_gateway(spec: Mapping[str, Any]) -> Iterator[Backend]:
    for index, rule in dict_items(spec.get("rules")):
        pointer = ROOT / "spec" / "rules" / index
        yield from _references(rule.get("backendRefs"), pointer / "backendRefs")
        yield from _mirrors(rule, pointer)
        for number, reference in dict_items(rule.get("backendRefs")):
            yield from _mirrors(reference, pointer / "backendRefs" / number)


def _mirrors(parent: Mapping[str, Any], pointer: Pointer) -> Iterator[Backend]:
    """The backends that filters mirror to; they receive every request too.

    `parent` is a rule or one of its backends.
    """
    for number, route_filter in dict_items(parent.get("filters")):
        reference = as_dict(as_dict(route_filter.get("requestMirror")).get("backendRef"))
        place = pointer / "filters" / number / "requestMirror" / "backendRef"
        yield from _reference(reference, place)


def _references(references: Any, pointer: Pointer) -> Iterator[Backend]:
    for index, reference in dict_items(references):
        yield from _reference(reference, pointer / index)


def _reference(reference: Mapping[str, Any], pointer: Pointer) -> Iterator[Backend]:
    # The kind is not checked: other kinds (such as ServiceImport) stand for a Service of the same
    # name.
    name = as_str(reference.get("name"))
    if name:
        namespace, port = as_str(reference.get("namespace")), _port(reference.get("port"))
        yield Backend(namespace, name, port, pointer)


def _port(value: Any) -> int | str | None:
    """A port's number or name; None for a value that is neither."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return value or None
