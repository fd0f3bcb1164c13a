"""Nothing leads from outside to Ray without asking who is there."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.cluster.ingress_auth import (
    ROUTE_ANNOTATIONS,
    authenticates,
    read_by,
    snippets,
    suggestions,
    undoing,
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
# As KubeRay names them (`GenerateHeadServiceName`, `GenerateServeServiceName`).
_HEAD = re.compile(r"[a-z0-9.-]+-head-svc")
_SERVE = re.compile(r"[a-z0-9.-]+-serve-svc")
_SERVE_LABEL = "ray.io/serve"
_SERVE_PORT = 8000
_CLASS = "kubernetes.io/ingress.class"
_OTHERWISE = "or delete it and use kubectl port-forward"
# Who reads no annotation of an Ingress controller's.
_BY_PROXY = f"lead it to a proxy that asks who is there, such as oauth2-proxy, and that one to Ray, {_OTHERWISE}"
_BY_GATEWAY = f"{_BY_PROXY}; a Gateway that asks itself can be listed in authenticatingGateways"
_BY_INGRESS = "delete enableIngress, and write an Ingress of your own that asks who is there, or use kubectl port-forward"


class NoOpenIngress(Rule):
    """Refuses what leads from outside to Ray without asking who is there.

    That is `enableIngress`, and every Ingress, Gateway API route and OpenShift Route to a Service of Ray. They pass
    with an annotation by which the controller of their class authenticates, or lets in few networks; a route where
    all its Gateways are listed as ones that ask. Configuration snippets, which can turn all of that off, never pass.
    What leads to Ray Serve alone (port 8000), an application's own interface, counts from `restricted` on.
    Why: the dashboard runs any job for whoever reaches it (CVE-2023-48022), and a web page can reach it through the
    browser of somebody who may (CVE-2025-62593).
    Fix: an authenticating proxy or annotation before it, or `kubectl port-forward`.
    """

    id: ClassVar[str] = "no-open-ingress"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    authenticating_annotations: Mapping[str, tuple[str, ...]] = Field(
        {},
        description="further annotations that authenticate, each with the values that do (none: any)",
    )
    authenticating_classes: tuple[str, ...] = Field(
        (),
        description="Ingress classes whose controller authenticates whatever its Ingresses say, or is internal",
    )
    authenticating_gateways: tuple[str, ...] = Field(
        (), description="Gateways that authenticate or are internal, as `namespace/name`"
    )
    allowed_ports: tuple[str, ...] = Field(
        (),
        description="names of ports of Ray's Services behind which something asks, such as an OAuth proxy's",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """KubeRay copies annotations of a RayCluster, RayJob or RayService to the Ingress (or Route) it makes."""
        cluster = workload.cluster
        if cluster is None or cluster.head.raw.get("enableIngress") is not True:
            return
        reach = workload.kind == "RayCluster" or copies_metadata(workload)
        annotations: Mapping[str, Any] = workload.annotations if reach else {}
        pointer = cluster.head.pointer / "enableIngress"
        of_class = as_str(annotations.get(_CLASS))
        if of_class not in self.authenticating_classes and not self._asks(
            annotations, read_by(of_class)
        ):
            remediation = _ingress_fix(annotations, of_class) if reach else _BY_INGRESS
            yield self.violation(
                "enableIngress opens the dashboard to whoever finds it", pointer, remediation
            )
        yield from self._check_snippets(annotations)

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        lookout = RayClusterLookup(facts.namespace_state)
        found = [
            backend for backend in backends(related_object) if self._is_ray(backend, facts, lookout)
        ]
        if found:
            yield from self._check_snippets(related_object.annotations)
        if not found or self._is_guarded(related_object, facts):
            return
        reported: set[tuple[str, Profile, str]] = set()
        remediation = _fix(related_object)
        for backend in found:
            level = Profile.RESTRICTED if _is_serve(backend, facts, lookout) else self.profile
            service, port = clipped(backend.service), clipped(str(backend.port or ""))
            if (service, level, port) not in reported:
                reported.add((service, level, port))
                message = f"this {related_object.kind} leads to Ray ({service}) without asking who is there"
                # Another port of the same Service is another way.
                yield self.violation(
                    message, backend.pointer, remediation, profile=level, evidence=port
                )

    def _check_snippets(self, annotations: Mapping[str, Any]) -> Iterator[Violation]:
        for name in snippets(annotations):
            message = f"{name} configures the way to Ray in the controller's own words"
            yield self.violation(
                message, _ANNOTATIONS / name, f"delete {name}", evidence=as_str(annotations[name])
            )

    def _is_guarded(self, related_object: RelatedObject, facts: Facts) -> bool:
        if related_object.kind == "Ingress":
            classes = _classes(related_object)
            # Where two are named it depends on the controllers which one serves it, or whether both do.
            return all(
                of_class in self.authenticating_classes
                or self._asks(related_object.annotations, read_by(of_class))
                for of_class in classes
            )
        # Nobody who serves a route of the Gateway API reads annotations of Ingresses.
        if self._asks(
            related_object.annotations, ROUTE_ANNOTATIONS if related_object.kind == "Route" else ()
        ):
            return True
        parents = list(gateways(related_object, facts.namespace))
        return bool(parents) and all(parent in self.authenticating_gateways for parent in parents)

    def _asks(self, annotations: Mapping[str, Any], prefixes: tuple[str, ...] | None) -> bool:
        return authenticates(annotations, prefixes) or any(
            name in annotations and (not values or annotations[name] in values)
            for name, values in self.authenticating_annotations.items()
        )

    def _is_ray(self, backend: Backend, facts: Facts, lookout: RayClusterLookup) -> bool:
        """By the Service it names where that is known, else by names KubeRay gives and ports Ray has."""
        if backend.port in self.allowed_ports:
            return False
        if isinstance(backend.port, int) and backend.port in lookout.ports:
            return True
        service = _known(backend, facts)
        if service is None:
            return bool(_HEAD.fullmatch(backend.service) or _SERVE.fullmatch(backend.service))
        if _reached(backend, service) in lookout.ports:
            return True
        if service.external_name:
            return self._is_ray_by_name(service, facts, lookout)
        return _selects_ray(service, lookout)

    def _is_ray_by_name(self, alias: LiveService, facts: Facts, lookout: RayClusterLookup) -> bool:
        """A Service that is another name for one of Ray's."""
        name, _, rest = alias.external_name.partition(".")
        there = rest.partition(".")[0] == facts.namespace
        service = (facts.namespace_state.services or {}).get(name) if there else None
        return bool(_HEAD.fullmatch(name)) or (
            service is not None and _selects_ray(service, lookout)
        )


def _selects_ray(service: LiveService, lookout: RayClusterLookup) -> bool:
    if any(name.startswith(LABEL_PREFIXES) for name in service.selector):
        return True
    return bool(service.selector and lookout.cluster_with(service.selector))


def _fix(related_object: RelatedObject) -> str:
    match related_object.kind:
        case "Ingress":
            return _ingress_fix(related_object.annotations, _classes(related_object)[0])
        case "Route":
            return _BY_PROXY
    return _BY_GATEWAY


def _classes(ingress: RelatedObject) -> list[str]:
    named = (as_str(ingress.spec.get("ingressClassName")), as_str(ingress.annotations.get(_CLASS)))
    return [one for one in named if one] or [""]


def _ingress_fix(annotations: Mapping[str, Any], of_class: str) -> str:
    if off := undoing(annotations, read_by(of_class)):
        return f"delete {' and '.join(off)}, which turns off that it asks who is there"
    known = suggestions(read_by(of_class))
    if not known:
        return _BY_PROXY
    controllers = "" if len(known) == 1 else "your controller's annotation, one of "
    return f"have it ask who is there, with {controllers}{', '.join(known)}, {_OTHERWISE}"


def _known(backend: Backend, facts: Facts) -> LiveService | None:
    if backend.namespace not in ("", facts.namespace):
        return None
    return (facts.namespace_state.services or {}).get(backend.service)


def _reached(backend: Backend, service: LiveService) -> int | str | None:
    """The port of the pod behind a port of the Service."""
    return service.ports.get(backend.port, backend.port) if backend.port is not None else None


def _is_serve(backend: Backend, facts: Facts, lookout: RayClusterLookup) -> bool:
    """It leads to Ray Serve, and to nothing else of Ray."""
    service, ports = _known(backend, facts), lookout.ports
    if service is None:
        return bool(_SERVE.fullmatch(backend.service)) and backend.port not in ports
    # A port that goes by a name is whichever its author has called so in the pod.
    return (_reached(backend, service) == _SERVE_PORT and _SERVE_PORT not in ports) or (
        _SERVE_LABEL in service.selector
        and all(isinstance(port, int) and port not in ports for port in service.ports.values())
    )
