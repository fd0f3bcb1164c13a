"""Rows 14 to 16: routes to Ray from outside the cluster, and what they lead to."""

from typing import Any

import pytest

from tests.bypasses.admission import by_both, passes, refused, stored
from tests.support import related_objects
from tests.support.factory import Object, changed, ray_cluster
from tests.support.related_objects import service

OPEN = {"no-open-ingress"}
RAY = {"ray.io/cluster": "demo"}
AUTH = "nginx.ingress.kubernetes.io/auth-url"
INTERNAL_ALB = {"type": "Ingress", "name": "ray"}


def named(document: Object, name: str) -> Object:
    return changed(document, {"/metadata/name": name})


def ingress_to(name: str, port: Any = 80) -> Object:
    """An Ingress to a port of a Service."""
    number = {"number": port} if isinstance(port, int) else {"name": port}
    place = "/spec/rules/0/http/paths/0/backend/service"
    return changed(related_objects.ingress(), {f"{place}/name": name, f"{place}/port": number})


def test_14_enable_ingress() -> None:
    enabled = changed(ray_cluster(), {"/spec/headGroupSpec/enableIngress": True})
    assert refused(enabled) == OPEN
    assert (
        refused(changed(enabled, {"/spec/headGroupSpec/ingressOptions": {"host": "ray.example"}}))
        == OPEN
    )
    snippet = {
        AUTH: "https://sso.example",
        "nginx.ingress.kubernetes.io/server-snippet": "satisfy any;",
    }
    assert refused(changed(enabled, {"/metadata/annotations": snippet})) == OPEN
    authenticating = changed(enabled, {"/metadata/annotations": {AUTH: "https://sso.example"}})
    assert refused(authenticating) == set()
    before = stored(authenticating)
    assert (
        refused(changed(before, {f"/metadata/annotations/{AUTH.replace('/', '~1')}": None}), before)
        == OPEN
    )


@pytest.mark.parametrize(
    "document",
    [
        changed(ingress_to("demo-head-svc"), {"/spec/rules/0/host": None}),
        changed(
            related_objects.ingress(),
            {"/spec/defaultBackend": {"service": {"name": "demo-head-svc"}}},
        ),
        ingress_to("anything", 8265),
        changed(
            {**related_objects.ingress(), "apiVersion": "extensions/v1beta1"},
            {"/spec/backend": {"serviceName": "demo-head-svc", "servicePort": 80}},
        ),
        changed(
            related_objects.ingress(),
            {
                "/metadata/annotations": {
                    "nginx.ingress.kubernetes.io/default-backend": "a-head-svc"
                }
            },
        ),
        changed(
            ingress_to("demo-head-svc"),
            {"/metadata/annotations": {"nginx.ingress.kubernetes.io/auth-secret": "users"}},
        ),
        changed(ingress_to("demo-head-svc"), {"/metadata/annotations": {AUTH: ""}}),
    ],
)
def test_14_ingresses(document: Object) -> None:
    assert refused(document) == OPEN
    assert refused(document, related_objects.ingress()) == OPEN


def test_14_an_annotation_for_another_controller_remains() -> None:
    """RayWarden does not know which controller serves the Ingress, or what the URL accepts."""
    assert passes(
        changed(
            ingress_to("demo-head-svc"),
            {"/metadata/annotations": {AUTH: "https://yes.example/to/all"}},
        )
    )


@pytest.mark.parametrize(
    "document",
    [
        changed(
            related_objects.http_route(), {"/spec/rules/0/backendRefs/0/name": "demo-head-svc"}
        ),
        changed(related_objects.http_route(), {"/spec/rules/0/backendRefs/0/port": 10001}),
        changed(related_objects.tcp_route(), {"/spec/rules/0/backendRefs/0/port": 6379}),
        changed(
            {
                **related_objects.http_route(),
                "kind": "GRPCRoute",
                "apiVersion": "gateway.networking.k8s.io/v1beta1",
            },
            {
                "/spec/rules/0/backendRefs/0": {
                    "name": "demo-head-svc",
                    "namespace": "team-b",
                    "port": 80,
                }
            },
        ),
        changed(
            related_objects.http_route(),
            {
                "/spec/rules/0/backendRefs/0/filters": [
                    {"requestMirror": {"backendRef": {"name": "a-head-svc"}}}
                ]
            },
        ),
        changed(related_objects.route(), {"/spec/to/name": "demo-head-svc"}),
        changed(related_objects.route(), {"/spec/port/targetPort": 8265}),
    ],
)
def test_15_routes(document: Object) -> None:
    assert refused(document) == OPEN


def test_15_named_ports_do_not_count_as_serve() -> None:
    inner = service(
        selector={**RAY, "ray.io/serve": "true"}, ports=[{"port": 80, "targetPort": "dashboard"}]
    )
    assert refused(ingress_to("web"), None, inner) == OPEN


def test_15_a_route_before_its_service_remains() -> None:
    """A new Service is checked without the routes to it, and RayWarden does not know live pods."""
    assert passes(ingress_to("later"))
    assert passes(named(service(selector=RAY, ports=[{"port": 80, "targetPort": 8265}]), "later"))
    hidden = service(
        type="LoadBalancer", selector={"app": "django"}, ports=[{"port": 80, "targetPort": "dash"}]
    )
    assert passes(hidden), "it selects existing pods of Ray without KubeRay"


def test_15_a_dashboard_that_moves_to_serves_port_later_remains() -> None:
    to_serve = ingress_to("demo-head-svc", 8000)
    assert by_both(to_serve) == (OPEN, OPEN)
    moved = changed(ray_cluster(), {"/spec/headGroupSpec/rayStartParams/dashboard-port": "8000"})
    assert passes(moved)
    assert refused(to_serve, None, moved) == OPEN


@pytest.mark.parametrize(
    ("api_version", "kind", "spec"),
    [
        (
            "networking.istio.io/v1",
            "VirtualService",
            {"http": [{"route": [{"destination": {"host": "demo-head-svc"}}]}]},
        ),
        (
            "traefik.io/v1alpha1",
            "IngressRoute",
            {"routes": [{"services": [{"name": "demo-head-svc", "port": 8265}]}]},
        ),
        (
            "projectcontour.io/v1",
            "HTTPProxy",
            {"routes": [{"services": [{"name": "demo-head-svc", "port": 8265}]}]},
        ),
        # It makes an internal load balancer of AWS public.
        (
            "aga.k8s.aws/v1beta1",
            "GlobalAccelerator",
            {"listeners": [{"endpointGroups": [{"endpoints": [INTERNAL_ALB]}]}]},
        ),
    ],
)
def test_15_routes_of_other_kinds_remain(api_version: str, kind: str, spec: Object) -> None:
    metadata = {"name": "web", "namespace": "team-a"}
    assert passes({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})


def test_16_external_names() -> None:
    alias = service(
        type="ExternalName", externalName="demo-head-svc.team-b.svc.cluster.local", selector=None
    )
    assert refused(ingress_to("web"), None, alias) == OPEN
    by_pod = service(
        type="ExternalName",
        externalName="10-0-0-7.team-a.pod.cluster.local",
        ports=[{"port": 80, "targetPort": 8265}],
    )
    assert refused(ingress_to("web"), None, by_pod) == OPEN
    inner = named(service(selector=RAY, ports=[{"port": 80, "targetPort": 8265}]), "inner")
    outer = service(type="ExternalName", externalName="inner.team-a.svc.cluster.local")
    assert refused(ingress_to("web"), None, inner, outer) == OPEN


def test_16_an_external_name_of_an_external_name_remains() -> None:
    inner = named(
        service(type="ExternalName", externalName="demo-head-svc.team-b.svc.cluster.local"), "inner"
    )
    outer = service(type="ExternalName", externalName="inner.team-a.svc.cluster.local")
    assert passes(ingress_to("web"), None, inner, outer)
