"""No Ingress or route exposes Ray without authentication."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.cluster.ingress_auth import (
    ROUTE_ANNOTATIONS,
    annotation_prefixes,
    authenticates,
    disabling_annotations,
    snippet_annotations,
    suggestions,
)
from policies.cluster.related_object import RelatedObject
from policies.cluster.routes import Backend, backends, gateways
from policies.cluster.state import LiveService, RayClusterLookup
from policies.documents.pointer import ROOT
from policies.documents.untyped import as_str, clipped
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.kuberay import copies_metadata
from policies.ray.workload import LABEL_PREFIXES, Workload

_ANNOTATIONS = ROOT / "metadata" / "annotations"
# The names that KubeRay gives its Services (`GenerateHeadServiceName`, `GenerateServeServiceName`).
_HEAD = re.compile(r"[a-z0-9.-]+-head-svc")
_SERVE = re.compile(r"[a-z0-9.-]+-serve-svc")
_SERVE_LABEL = "ray.io/serve"
_SERVE_PORT = 8000
_CLASS = "kubernetes.io/ingress.class"
_OTHERWISE = "or delete it and use kubectl port-forward"
# For objects whose controller reads no annotation that turns authentication on.
_BY_PROXY = (
    "send its traffic through an authenticating proxy in front of Ray, such as oauth2-proxy, "
    f"{_OTHERWISE}"
)
_BY_GATEWAY = (
    f"{_BY_PROXY}; the administrator can list a Gateway that authenticates in "
    "authenticatingGateways"
)
_BY_INGRESS = (
    "remove enableIngress, and add an Ingress of your own that authenticates, or use kubectl "
    "port-forward"
)


class NoOpenIngress(Rule):
    """Refuses Ingresses and routes that expose Ray without authentication.

    The rule checks `enableIngress`, and every Ingress, Gateway API route and OpenShift Route to a
    Service of Ray. It accepts an annotation by which the controller of the class authenticates
    callers or allows only a few networks. It accepts a Gateway API route if all of its Gateways are
    listed in `authenticatingGateways`. It always refuses configuration snippets, because they can
    turn authentication off. Access to Ray Serve alone (port 8000), which is the interface of an
    application, is refused by the profile `restricted` only.
    Why: anyone who can reach the dashboard can run any job (CVE-2023-48022). A web page can reach
    it through the browser of a user who has access (CVE-2025-62593).
    Fix: put an authenticating proxy or annotation in front of Ray, or use `kubectl port-forward`.
    """

    id: ClassVar[str] = "no-open-ingress"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    authenticating_annotations: Mapping[str, tuple[str, ...]] = Field(
        {},
        description="other annotations that authenticate, each with the values that do so (an "
        "empty list accepts any value)",
    )
    authenticating_classes: tuple[str, ...] = Field(
        (),
        description="Ingress classes that are internal, or whose controller authenticates every "
        "request",
    )
    authenticating_gateways: tuple[str, ...] = Field(
        (), description="Gateways that authenticate or are internal, as `namespace/name`"
    )
    allowed_ports: tuple[str, ...] = Field(
        (),
        description="names of ports of Ray's Services that authenticate, such as the port of an "
        "OAuth proxy",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """KubeRay copies the annotations of the workload to the Ingress or Route it creates."""
        cluster = workload.cluster
        if cluster is None or cluster.head.raw.get("enableIngress") is not True:
            return
        copied = workload.kind == "RayCluster" or copies_metadata(workload)
        annotations: Mapping[str, Any] = workload.annotations if copied else {}
        ingress_class = as_str(annotations.get(_CLASS))
        if not self._class_authenticates(ingress_class, annotations):
            remediation = _ingress_fix(annotations, ingress_class) if copied else _BY_INGRESS
            yield self.violation(
                "enableIngress exposes the dashboard without authentication",
                cluster.head.pointer / "enableIngress",
                remediation,
            )
        yield from self._check_snippets(annotations)

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        lookup = RayClusterLookup(facts.namespace_state)
        to_ray = [
            backend for backend in backends(related_object) if self._is_ray(backend, facts, lookup)
        ]
        if to_ray:
            yield from self._check_snippets(related_object.annotations)
        if not to_ray or self._is_authenticated(related_object, facts):
            return
        reported: set[tuple[str, Profile, str]] = set()
        remediation = _fix(related_object)
        for backend in to_ray:
            level = Profile.RESTRICTED if _is_serve(backend, facts, lookup) else self.profile
            service, port = clipped(backend.service), clipped(str(backend.port or ""))
            if (service, level, port) in reported:
                continue
            reported.add((service, level, port))
            message = f"this {related_object.kind} exposes Ray ({service}) without authentication"
            # The port is evidence: another port of the same Service is a finding of its own.
            yield self.violation(
                message, backend.pointer, remediation, profile=level, evidence=port
            )

    def _check_snippets(self, annotations: Mapping[str, Any]) -> Iterator[Violation]:
        for name in snippet_annotations(annotations):
            message = f"{name} is a configuration snippet, which can turn authentication off"
            value = as_str(annotations[name])
            yield self.violation(message, _ANNOTATIONS / name, f"remove {name}", evidence=value)

    def _is_authenticated(self, related_object: RelatedObject, facts: Facts) -> bool:
        annotations = related_object.annotations
        if related_object.kind == "Ingress":
            # If an Ingress names two classes, either controller may serve it, or both.
            return all(
                self._class_authenticates(ingress_class, annotations)
                for ingress_class in _classes(related_object)
            )
        # Controllers of Gateway API routes ignore the annotations of Ingresses.
        prefixes = ROUTE_ANNOTATIONS if related_object.kind == "Route" else ()
        if self._annotations_authenticate(annotations, prefixes):
            return True
        parents = list(gateways(related_object, facts.namespace))
        return bool(parents) and all(parent in self.authenticating_gateways for parent in parents)

    def _class_authenticates(self, ingress_class: str, annotations: Mapping[str, Any]) -> bool:
        if ingress_class in self.authenticating_classes:
            return True
        return self._annotations_authenticate(annotations, annotation_prefixes(ingress_class))

    def _annotations_authenticate(
        self, annotations: Mapping[str, Any], prefixes: tuple[str, ...] | None
    ) -> bool:
        return authenticates(annotations, prefixes) or any(
            name in annotations and (not values or annotations[name] in values)
            for name, values in self.authenticating_annotations.items()
        )

    def _is_ray(self, backend: Backend, facts: Facts, lookup: RayClusterLookup) -> bool:
        """The backend is Ray, by its Service if that is known, else by KubeRay's names."""
        if backend.port in self.allowed_ports:
            return False
        if isinstance(backend.port, int) and backend.port in lookup.ports:
            return True
        service = _known_service(backend, facts)
        if service is None:
            return bool(_HEAD.fullmatch(backend.service) or _SERVE.fullmatch(backend.service))
        if _target_port(backend, service) in lookup.ports:
            return True
        if service.external_name:
            return self._is_ray_by_name(service, facts, lookup)
        return _selects_ray(service, lookup)

    def _is_ray_by_name(self, alias: LiveService, facts: Facts, lookup: RayClusterLookup) -> bool:
        """The external name of the Service is the name of one of Ray's Services."""
        name, _, rest = alias.external_name.partition(".")
        if _HEAD.fullmatch(name):
            return True
        if rest.partition(".")[0] != facts.namespace:
            return False
        service = (facts.namespace_state.services or {}).get(name)
        return service is not None and _selects_ray(service, lookup)


def _selects_ray(service: LiveService, lookup: RayClusterLookup) -> bool:
    if any(name.startswith(LABEL_PREFIXES) for name in service.selector):
        return True
    return bool(service.selector and lookup.cluster_with(service.selector))


def _fix(related_object: RelatedObject) -> str:
    match related_object.kind:
        case "Ingress":
            return _ingress_fix(related_object.annotations, _classes(related_object)[0])
        case "Route":
            return _BY_PROXY
    return _BY_GATEWAY


def _classes(ingress: RelatedObject) -> list[str]:
    """The classes an Ingress names in its spec and annotation; one empty name if it names none."""
    names = (as_str(ingress.spec.get("ingressClassName")), as_str(ingress.annotations.get(_CLASS)))
    return [name for name in names if name] or [""]


def _ingress_fix(annotations: Mapping[str, Any], ingress_class: str) -> str:
    prefixes = annotation_prefixes(ingress_class)
    if disabling := disabling_annotations(annotations, prefixes):
        return f"remove {' and '.join(disabling)}, which turns authentication off"
    known = suggestions(prefixes)
    if not known:
        return _BY_PROXY
    if len(known) == 1:
        return f"add authentication with the annotation {known[0]}, {_OTHERWISE}"
    choices = ", ".join(known)
    return f"add authentication with your controller's annotation, one of {choices}, {_OTHERWISE}"


def _known_service(backend: Backend, facts: Facts) -> LiveService | None:
    if backend.namespace not in ("", facts.namespace):
        return None
    return (facts.namespace_state.services or {}).get(backend.service)


def _target_port(backend: Backend, service: LiveService) -> int | str | None:
    """The port of the pods behind a port of the Service."""
    return service.ports.get(backend.port, backend.port) if backend.port is not None else None


def _is_serve(backend: Backend, facts: Facts, lookup: RayClusterLookup) -> bool:
    """The backend is Ray Serve, and no other part of Ray."""
    service, ports = _known_service(backend, facts), lookup.ports
    if service is None:
        return bool(_SERVE.fullmatch(backend.service)) and backend.port not in ports
    if _target_port(backend, service) == _SERVE_PORT and _SERVE_PORT not in ports:
        return True
    if _SERVE_LABEL not in service.selector:
        return False
    # A named port proves nothing: the author of the pod chooses which port has the name.
    return all(isinstance(port, int) and port not in ports for port in service.ports.values())
