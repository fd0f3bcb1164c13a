"""Where Ingresses, Gateway API routes and OpenShift Routes lead."""

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


def backends(related_object: RelatedObject) -> Iterator[Backend]:
    """Every Service a route leads to; the namespace is empty where it is the route's own."""
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
    """The Gateways a route of the Gateway API hangs on, as `namespace/name`."""
    for _, parent in dict_items(related_object.spec.get("parentRefs")):
        of_kind = as_str(parent.get("kind")) or "Gateway"
        prefix = "" if of_kind == "Gateway" else f"{of_kind}:"
        yield f"{prefix}{as_str(parent.get('namespace')) or namespace}/{as_str(parent.get('name'))}"


def _of_ingress(spec: Mapping[str, Any]) -> Iterator[Backend]:
    place = ROOT / "spec"
    for name in ("defaultBackend", "backend"):
        if name in spec:
            yield from _ingress_backend(as_dict(spec.get(name)), place / name)
    for index, rule in dict_items(spec.get("rules")):
        for number, path in dict_items(as_dict(rule.get("http")).get("paths")):
            pointer = place / "rules" / index / "http" / "paths" / number / "backend"
            yield from _ingress_backend(as_dict(path.get("backend")), pointer)


def _of_annotations(annotations: Mapping[str, Any]) -> Iterator[Backend]:
    """Where annotations of ingress-nginx and of the ALB controller lead."""
    place = ROOT / "metadata" / "annotations"
    if name := as_str(annotations.get(_DEFAULT_BACKEND)):
        yield Backend("", name, None, place / _DEFAULT_BACKEND)
    if found := _MIRROR_HOST.search(as_str(annotations.get(_MIRROR_TARGET))):
        yield Backend("", found[1], int(found[2]) if found[2] else None, place / _MIRROR_TARGET)
    for action in (name for name in annotations if name.startswith(_ALB_ACTIONS)):
        # JSON of the controller's own; with a Service's name its port stands in some order.
        content = as_str(annotations[action])
        ports: list[int | None] = [int(port) for port in _ALB_PORT.findall(content)]
        for service in _ALB_SERVICE.findall(content):
            yield from (Backend("", service, port, place / action) for port in ports or [None])


def _ingress_backend(backend: Mapping[str, Any], pointer: Pointer) -> Iterator[Backend]:
    service = as_dict(backend.get("service"))
    port = as_dict(service.get("port"))
    if name := as_str(service.get("name")):
        yield Backend("", name, _port(port.get("number")) or _port(port.get("name")), pointer)
    elif name := as_str(backend.get("serviceName")):
        yield Backend("", name, _port(backend.get("servicePort")), pointer)


def _of_openshift(spec: Mapping[str, Any]) -> Iterator[Backend]:
    port = _port(as_dict(spec.get("port")).get("targetPort"))
    yield Backend("", as_str(as_dict(spec.get("to")).get("name")), port, ROOT / "spec" / "to")
    for index, other in dict_items(spec.get("alternateBackends")):
        yield Backend(
            "", as_str(other.get("name")), port, ROOT / "spec" / "alternateBackends" / index
        )


def _of_gateway(spec: Mapping[str, Any]) -> Iterator[Backend]:
    for index, rule in dict_items(spec.get("rules")):
        pointer = ROOT / "spec" / "rules" / index
        yield from _references(rule.get("backendRefs"), pointer / "backendRefs")
        yield from _mirrors(rule, pointer)
        for number, reference in dict_items(rule.get("backendRefs")):
            yield from _mirrors(reference, pointer / "backendRefs" / number)


def _mirrors(holder: Mapping[str, Any], pointer: Pointer) -> Iterator[Backend]:
    """What is mirrored, by a filter of a rule or of one of its backends, is asked just as well."""
    for number, one in dict_items(holder.get("filters")):
        mirror = as_dict(as_dict(one.get("requestMirror")).get("backendRef"))
        yield from _references(
            [mirror], pointer / "filters" / number / "requestMirror" / "backendRef"
        )


def _references(references: Any, pointer: Pointer) -> Iterator[Backend]:
    for index, reference in dict_items(references):
        # Other kinds stand for a Service of the same name, elsewhere or by way of an import.
        if as_str(reference.get("name")):
            place = pointer / index if pointer[-1] == "backendRefs" else pointer
            namespace, name = as_str(reference.get("namespace")), as_str(reference.get("name"))
            yield Backend(namespace, name, _port(reference.get("port")), place)


def _port(value: Any) -> int | str | None:
    return value if isinstance(value, int | str) and value and not isinstance(value, bool) else None
