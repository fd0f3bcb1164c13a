"""Which controllers may serve an Ingress class, and what they make of an Ingress together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from policies.cluster.ingress.alb import ALB
from policies.cluster.ingress.controller import Controller, ServiceOverride
from policies.cluster.ingress.gce import GCE
from policies.cluster.ingress.haproxy_ingress import HAPROXY_INGRESS
from policies.cluster.ingress.haproxy_technologies import HAPROXY_TECHNOLOGIES
from policies.cluster.ingress.nginx import GLOBAL_AUTH, NGINX
from policies.cluster.ingress.openshift import OPENSHIFT
from policies.documents.untyped import as_str

_CONTROLLERS = (NGINX, ALB, HAPROXY_INGRESS, HAPROXY_TECHNOLOGIES, OPENSHIFT)
# GKE's controller never serves a class that its name does not identify.
_KNOWN = (*_CONTROLLERS, GCE)
# Parts of the names of classes whose controllers read no annotation of these tables.
_OTHERS = ("traefik", "azure", "istio", "kong", "contour", "cilium", "apisix")
# Kubernetes allows no longer name.
_LONGEST_CLASS = 253
# Configuration in the controller's own language, which can turn off whatever the other
# annotations turn on.
_SNIPPETS = (
    "-snippet",
    "-snippets",
    "/config-backend",
    "/config-backend-early",
    "/config-backend-late",
    "/config-frontend",
    "/config-tcp-service",
)


def controllers_of(ingress_class: str) -> tuple[Controller, ...]:
    """The controllers that may serve a class; all of them if its name identifies none."""
    name = ingress_class[:_LONGEST_CLASS].lower()
    for controller in _KNOWN:
        for part in controller.classes:
            if part in name:
                return tuple(other for other in _KNOWN if part in other.classes)
    return () if any(part in name for part in _OTHERS) else _CONTROLLERS


def authenticate(
    controllers: Sequence[Controller], annotations: Mapping[str, Any], spec: Mapping[str, Any]
) -> bool:
    """True if a controller authenticates every caller, or accepts few networks."""
    return any(
        controller.authenticates(controller.view(annotations, spec)) for controller in controllers
    )


def pass_tls_through(
    controllers: Sequence[Controller], annotations: Mapping[str, Any], spec: Mapping[str, Any]
) -> bool:
    """True if a controller leads callers to Ray with Ray's own TLS, and in no other way."""
    return any(
        controller.passes_tls_through(controller.view(annotations, spec))
        for controller in controllers
    )


def missing(
    controllers: Sequence[Controller], annotations: Mapping[str, Any], spec: Mapping[str, Any]
) -> list[str]:
    """What the authentication that the annotations turn on needs to take effect."""
    found = (controller.missing(controller.view(annotations, spec)) for controller in controllers)
    return next(filter(None, found), [])


def missing_for_global_auth(annotations: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    """What exempts an Ingress from the authentication that its controller asks of all of them."""
    ingress = NGINX.view(annotations, spec)
    return [need.remediation for need in GLOBAL_AUTH if not need.is_met(ingress)]


def suggestions(controllers: Sequence[Controller]) -> list[str]:
    """An annotation that turns authentication on, for each controller that has one."""
    return [controller.suggestion for controller in controllers if controller.suggestion]


def snippet_annotations(annotations: Iterable[str]) -> list[str]:
    """The annotations that hold configuration in the controller's own language."""
    return [name for name in annotations if name.endswith(_SNIPPETS)]


def unsafe_service_annotations(annotations: Mapping[str, Any]) -> Iterator[str]:
    """The annotations of a Service that turn off the authentication of Ingresses to it."""
    if not annotations:
        return
    for override in _SERVICE_OVERRIDES:
        name = override.annotation
        if name in annotations and not override.is_safe(as_str(annotations[name])):
            yield name


def _service_overrides() -> Iterator[ServiceOverride]:
    for controller in _CONTROLLERS:
        yield from controller.service_overrides


_SERVICE_OVERRIDES = tuple(_service_overrides())
