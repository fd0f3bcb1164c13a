"""No Ingress or route exposes Ray without authentication."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from policies.cluster.ingress import classes
from policies.cluster.ingress.controller import Controller
from policies.cluster.ingress.openshift import OPENSHIFT
from policies.cluster.ray_backends import RayBackends
from policies.cluster.related_object import RelatedObject
from policies.cluster.routes import (
    Backend,
    backends,
    gateways,
    is_mesh_route,
    unreadable_targets,
)
from policies.cluster.state import LiveService
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, clipped
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.head_ingress import CLASS_ANNOTATION, head_ingress_of
from policies.ray.kuberay import copies_metadata
from policies.ray.workload import ClusterSpec, Workload

_ANNOTATIONS = ROOT / "metadata" / "annotations"
# Where a head group or a cluster has the annotations of the Services that KubeRay creates.
_HEAD_SERVICE = (
    Pointer(("headServiceAnnotations",)),
    Pointer(("headGroupSpec", "headService", "metadata", "annotations")),
)
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
_WITHOUT_INGRESS = "or remove enableIngress and use kubectl port-forward"
_BY_INGRESS = (
    "remove enableIngress, and add an Ingress of your own that authenticates, or use kubectl "
    "port-forward"
)
_BY_ALLOWED_PORT = (
    "if an authenticating proxy in the pod listens on this port, ask the administrator to list its "
    "name in allowedPorts; otherwise {}"
)
# For objects that pass TLS through, whose annotations cannot authenticate callers.
_BY_CERTIFICATE = (
    "create the RayCluster first, with mTLS by RayWarden or KubeRay, because Ray then asks callers "
    "for a certificate; no annotation authenticates callers where TLS is passed through"
)
_WITHOUT_PASSTHROUGH = "stop passing TLS through, because this port never speaks TLS; then {}"


class NoOpenIngress(Rule):
    """Refuses Ingresses and routes that expose Ray without authentication.

    The rule checks `enableIngress`, and every Ingress, Gateway API route and OpenShift Route to a
    Service of Ray. It accepts an annotation by which the controller of the class authenticates
    callers, allows only a few networks, or makes the load balancer internal (AWS, GKE), if nothing
    beside it turns that off. It accepts a Gateway API route if all of its Gateways are listed in
    `authenticatingGateways`, or if all of its parents are Services (a service mesh). It accepts a
    route that passes TLS through to GCS (6379) or Ray Client (10001) of a cluster with mTLS,
    because Ray then asks for a certificate. It always refuses configuration snippets, because they
    can turn authentication off, and annotations of Ray's Services that do so. Access to Ray Serve
    alone (port 8000), which is the interface of an application, is refused by the profile
    `restricted` only.
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
        "empty list accepts any value that is not blank)",
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
        """The Ingress that KubeRay creates, and the annotations of the head Service."""
        if workload.cluster is None:
            return
        yield from self._check_head_service(workload.cluster)
        made = head_ingress_of(workload)
        if made is None:
            return
        ingress = RelatedObject("Ingress", made)
        if not self._is_authenticated(ingress, facts):
            copied = workload.kind == "RayCluster" or copies_metadata(workload)
            by_annotation = self._fix(ingress).replace(_OTHERWISE, _WITHOUT_INGRESS)
            yield self.violation(
                "enableIngress exposes the dashboard without authentication",
                workload.cluster.head.pointer / "enableIngress",
                by_annotation if copied else _BY_INGRESS,
            )
        yield from self._check_snippets(ingress.annotations)

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        ray = RayBackends(facts.namespace_state, facts.namespace, self.allowed_ports)
        if related_object.kind == "Service":
            yield from self._check_service(related_object, ray)
            return
        to_ray = [backend for backend in backends(related_object) if ray.is_ray(backend)]
        if to_ray:
            yield from self._check_snippets(related_object.annotations)
        if is_mesh_route(related_object) or self._is_authenticated(related_object, facts):
            return
        if related_object.kind == "Ingress":
            yield from self._check_targets(related_object)
        if _passes_tls_through(related_object):
            to_ray = [backend for backend in to_ray if not ray.asks_for_certificate(backend)]
        yield from self._check_backends(related_object, to_ray, ray)

    def _check_backends(
        self, related_object: RelatedObject, to_ray: Sequence[Backend], ray: RayBackends
    ) -> Iterator[Violation]:
        reported: set[tuple[str, Profile, str]] = set()
        remediation = self._fix(related_object) if to_ray else ""
        for backend in to_ray:
            level = Profile.RESTRICTED if ray.is_serve(backend) else self.profile
            service, port = clipped(backend.service), clipped(str(backend.port or ""))
            if (service, level, port) in reported:
                continue
            reported.add((service, level, port))
            message = f"this {related_object.kind} exposes Ray ({service}) without authentication"
            how = remediation
            if ray.may_be_a_sidecar(backend):
                how = _BY_ALLOWED_PORT.format(remediation)
            elif _passes_tls_through(related_object):
                by_ray = ray.can_speak_tls(backend)
                how = _BY_CERTIFICATE if by_ray else _WITHOUT_PASSTHROUGH.format(remediation)
            # The port is evidence: another port of the same Service is a finding of its own.
            yield self.violation(message, backend.pointer, how, profile=level, evidence=port)

    def _check_targets(self, ingress: RelatedObject) -> Iterator[Violation]:
        for name in unreadable_targets(ingress):
            yield self.violation(
                f"{name} leads to a place that cannot be known, which can be Ray",
                _ANNOTATIONS / name,
                f"write the names and ports of Services into {name}, without variables before "
                "the path and without addresses, or remove it",
                evidence=as_str(ingress.annotations[name]),
            )

    def _check_service(self, service: RelatedObject, ray: RayBackends) -> Iterator[Violation]:
        unsafe = list(classes.unsafe_service_annotations(service.annotations))
        live = LiveService.of(service.document) if unsafe else None
        if live is None or not ray.is_rays_service(live):
            return
        level = Profile.RESTRICTED if ray.leads_only_to_serve(live) else self.profile
        for name in unsafe:
            yield self._unsafe(name, _ANNOTATIONS / name, service.annotations, level)

    def _check_head_service(self, cluster: ClusterSpec) -> Iterator[Violation]:
        for place in _HEAD_SERVICE:
            annotations = as_dict(place.read(cluster.spec))
            for name in classes.unsafe_service_annotations(annotations):
                pointer = Pointer((*cluster.pointer, *place)) / name
                yield self._unsafe(name, pointer, annotations, self.profile)

    def _unsafe(
        self, name: str, pointer: Pointer, annotations: Mapping[str, Any], level: Profile
    ) -> Violation:
        harm = "can turn" if classes.snippet_annotations([name]) else "turns"
        message = f"{name} on the Service {harm} off the authentication of an Ingress to Ray"
        value = as_str(annotations[name])
        return self.violation(message, pointer, f"remove {name}", profile=level, evidence=value)

    def _check_snippets(self, annotations: Mapping[str, Any]) -> Iterator[Violation]:
        for name in classes.snippet_annotations(annotations):
            message = f"{name} is a configuration snippet, which can turn authentication off"
            value = as_str(annotations[name])
            yield self.violation(message, _ANNOTATIONS / name, f"remove {name}", evidence=value)

    def _is_authenticated(self, related_object: RelatedObject, facts: Facts) -> bool:
        if self._is_listed(related_object.annotations):
            return True
        if related_object.kind in ("Ingress", "Route"):
            # If an Ingress names two classes, either controller may serve it, or both.
            return not self._open_classes(related_object)
        # Controllers of Gateway API routes ignore the annotations of Ingresses.
        parents = list(gateways(related_object, facts.namespace))
        return bool(parents) and all(parent in self.authenticating_gateways for parent in parents)

    def _is_listed(self, annotations: Mapping[str, Any]) -> bool:
        """The administrator lists an annotation with its value."""
        for name, values in self.authenticating_annotations.items():
            value = as_str(annotations.get(name))
            if value.strip() and (value in values or not values):
                return True
        return False

    def _open_classes(self, ingress: RelatedObject) -> list[str]:
        """The Ingress classes of an Ingress or Route by which callers are not authenticated."""
        return [
            ingress_class
            for ingress_class in _classes(ingress)
            if not self._class_authenticates(ingress_class, ingress)
        ]

    def _class_authenticates(self, ingress_class: str, ingress: RelatedObject) -> bool:
        annotations, spec = ingress.annotations, ingress.spec
        is_known = self._is_authenticating(ingress_class, ingress)
        if is_known and not classes.missing_for_global_auth(annotations, spec):
            return True
        return classes.authenticate(_controllers(ingress_class, ingress), annotations, spec)

    def _is_authenticating(self, ingress_class: str, ingress: RelatedObject) -> bool:
        return ingress.kind == "Ingress" and ingress_class in self.authenticating_classes

    def _fix(self, related_object: RelatedObject) -> str:
        if related_object.kind not in ("Ingress", "Route"):
            return _BY_GATEWAY
        ingress_class = self._open_classes(related_object)[0]
        annotations, spec = related_object.annotations, related_object.spec
        if self._is_authenticating(ingress_class, related_object):
            return "; ".join(classes.missing_for_global_auth(annotations, spec))
        controllers = _controllers(ingress_class, related_object)
        if missing := classes.missing(controllers, annotations, spec):
            return "; ".join(missing)
        known = classes.suggestions(controllers)
        if not known:
            return _BY_PROXY
        if len(known) == 1:
            return f"add authentication with the annotation {known[0]}, {_OTHERWISE}"
        return (
            "add authentication with your controller's annotation, one of "
            f"{', '.join(known)}, {_OTHERWISE}"
        )


def _classes(ingress: RelatedObject) -> list[str]:
    """The classes an Ingress names in its spec and annotation; one empty name if it names none."""
    if ingress.kind == "Route":
        return [""]
    names = (ingress.spec.get("ingressClassName"), ingress.annotations.get(CLASS_ANNOTATION))
    return [name for name in map(as_str, names) if name] or [""]


def _controllers(ingress_class: str, ingress: RelatedObject) -> Sequence[Controller]:
    """The controllers that may serve a class; a Route has no class."""
    return (OPENSHIFT,) if ingress.kind == "Route" else classes.controllers_of(ingress_class)


def _passes_tls_through(related_object: RelatedObject) -> bool:
    """Callers reach Ray with Ray's own TLS, and in no other way."""
    if related_object.kind == "TLSRoute":
        return True
    if related_object.kind not in ("Ingress", "Route"):
        return False
    return all(
        classes.pass_tls_through(
            _controllers(ingress_class, related_object),
            related_object.annotations,
            related_object.spec,
        )
        for ingress_class in _classes(related_object)
    )
