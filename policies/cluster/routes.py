"""The Services that Ingresses, Gateway API routes and OpenShift Routes lead to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from policies.cluster.ingress.targets import (
    NamedService,
    UnreadableTarget,
    forward_targets,
    mirror_target,
)
from policies.cluster.related_object import RelatedObject
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items

_DEFAULT_BACKEND = "nginx.ingress.kubernetes.io/default-backend"
_MIRROR_TARGET = "nginx.ingress.kubernetes.io/mirror-target"
_ALB_ACTIONS = "alb.ingress.kubernetes.io/actions."
_ANNOTATIONS = ROOT / "metadata" / "annotations"
# The names of the core API group; Gateway API's own group is the default.
_CORE = ("", "core")


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


def is_mesh_route(related_object: RelatedObject) -> bool:
    """A Gateway API route of a service mesh (GAMMA): it leads from Services, for pods inside."""
    parents = [parent for _, parent in dict_items(related_object.spec.get("parentRefs"))]
    return bool(parents) and all(
        parent.get("kind") == "Service" and parent.get("group") in _CORE for parent in parents
    )


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
    default = as_str(annotations.get(_DEFAULT_BACKEND)).strip()
    if default:
        yield Backend("", default, None, _ANNOTATIONS / _DEFAULT_BACKEND)
    for name in annotations:
        try:
            for target in _targets(annotations, name):
                pointer = _ANNOTATIONS / name
                yield Backend(target.namespace, target.service, target.port, pointer)
        except UnreadableTarget:
            continue


def unreadable_targets(ingress: RelatedObject) -> Iterator[str]:
    """The annotations of an Ingress that lead to a place that cannot be known here."""
    for name in ingress.annotations:
        try:
            for _ in _targets(ingress.annotations, name):
                pass
        except UnreadableTarget:
            yield name


def _targets(annotations: Mapping[str, Any], name: str) -> Iterator[NamedService]:
    """The Services that an annotation leads to. Raises UnreadableTarget."""
    if name == _MIRROR_TARGET:
        target = mirror_target(as_str(annotations[name]))
        if target:
            yield target
    elif name.startswith(_ALB_ACTIONS):
        yield from forward_targets(as_str(annotations[name]))


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
