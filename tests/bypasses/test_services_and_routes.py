"""Rows 12 to 16: access to Ray from outside the cluster."""

from typing import Any

import pytest

from tests.bypasses.admission import passes, refused, stored, verdict
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster, ray_service
from tests.support.related_objects import service

HEAD_SERVICE = {"no-public-head-service"}
OPEN = {"no-open-ingress"}
PUBLIC = {"no-public-ray-service"}
RAY = {"ray.io/cluster": "demo"}
AUTH = "nginx.ingress.kubernetes.io/auth-url"


def named(document: Object, name: str) -> Object:
    return changed(document, {"/metadata/name": name})


def ingress_to(name: str, port: Any = 80) -> Object:
    """An Ingress to a port of a Service."""
    number = {"number": port} if isinstance(port, int) else {"name": port}
    place = "/spec/rules/0/http/paths/0/backend/service"
    return changed(related_objects.ingress(), {f"{place}/name": name, f"{place}/port": number})


@pytest.mark.parametrize(
    "change",
    [
        {"serviceType": "LoadBalancer"},
        {"serviceType": "NodePort"},
        {"headService": {"spec": {"type": "NodePort"}}},
        {"headService": {"spec": {"type": "LoadBalancer"}}, "serviceType": "ClusterIP"},
        {"headService": {"spec": {"externalIPs": ["198.51.100.7"]}}},
        {
            "headService": {
                "spec": {
                    "type": "LoadBalancer",
                    "loadBalancerSourceRanges": ["0.0.0.0/1", "128.0.0.0/1"],
                }
            }
        },
    ],
)
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (ray_cluster, "/spec"),
        (factory.ray_job, "/spec/rayClusterSpec"),
        (ray_service, "/spec/rayClusterConfig"),
        (factory.ray_cron_job, "/spec/jobTemplate/rayClusterSpec"),
    ],
)
def test_12_head_service(kind: Any, place: str, change: Object) -> None:
    document = changed(
        kind(), {f"{place}/headGroupSpec/{name}": value for name, value in change.items()}
    )
    assert refused(document) == HEAD_SERVICE
    if kind is ray_cluster:
        before = stored(kind())
        assert refused(document, before) == HEAD_SERVICE


def test_12_annotations_that_kuberay_does_not_copy() -> None:
    internal = {"service.beta.kubernetes.io/aws-load-balancer-internal": "true"}
    public = ray_cluster(headServiceAnnotations=internal)
    public["spec"]["headGroupSpec"]["serviceType"] = "LoadBalancer"
    assert refused(public) == set()
    assert (
        refused(changed(public, {"/metadata/annotations": {"ray.io/enable-serve-service": "true"}}))
        == HEAD_SERVICE
    )
    contradicting = {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing"}
    assert (
        refused(changed(public, {"/spec/headServiceAnnotations": {**internal, **contradicting}}))
        == HEAD_SERVICE
    )


def test_12_the_annotation_of_another_cloud_remains() -> None:
    """RayWarden does not know the cloud; in another cloud such an annotation has no effect."""
    foreign = {"service.beta.kubernetes.io/azure-load-balancer-internal": "true"}
    public = ray_cluster(headServiceAnnotations=foreign)
    public["spec"]["headGroupSpec"]["serviceType"] = "LoadBalancer"
    assert passes(public)
    assert passes(
        changed(service(type="LoadBalancer", selector=RAY), {"/metadata/annotations": foreign})
    )


@pytest.mark.parametrize(
    "change",
    [
        {"/spec/serveService": {"spec": {"type": "LoadBalancer"}}},
        {"/spec/serveService": {"spec": {"type": "NodePort"}}},
        {"/spec/serveService": {"spec": {"externalIPs": ["198.51.100.7"]}}},
        {"/spec/upgradeStrategy/clusterUpgradeOptions/gatewayClassName": "public"},
    ],
)
def test_13_serve_service_and_gateway(change: Object) -> None:
    assert refused(changed(ray_service(), change)) == HEAD_SERVICE
    assert refused(changed(ray_service(), change), ray_service()) == HEAD_SERVICE
    assert (
        refused({**changed(ray_service(), change), "apiVersion": "ray.io/v1alpha1"}) == HEAD_SERVICE
    )


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
    "selector", [RAY, {"ray.io/node-type": "head"}, {"app.kubernetes.io/name": "kuberay"}]
)
@pytest.mark.parametrize(
    "fields", [{"type": "LoadBalancer"}, {"type": "NodePort"}, {"externalIPs": ["198.51.100.7"]}]
)
def test_15_services_that_kuberay_did_not_create(selector: Object, fields: Object) -> None:
    assert refused(service(selector=selector, **fields)) == PUBLIC
    assert refused(service(selector=selector, **fields), service(selector=selector)) == PUBLIC
    by_port = service(ports=[{"port": 80, "targetPort": 52365}], **fields)
    assert refused(by_port) == PUBLIC


def test_15_a_service_that_is_being_deleted() -> None:
    """A finalizer can keep a Service, and kube-proxy serves it as long as it exists."""
    gone = {
        "deletionTimestamp": "2026-11-20T08:00:00Z",
        "finalizers": ["a/b"],
        "name": "web",
        "namespace": "team-a",
    }
    before = changed(service(selector=RAY), {"/metadata": gone})
    assert refused(changed(before, {"/spec/type": "NodePort"}), before) == PUBLIC
    assert verdict(changed(before, {"/metadata/finalizers": None}), before) == (set(), set())


def test_15_a_public_service_before_the_label() -> None:
    public = service(type="LoadBalancer")
    template = "/spec/headGroupSpec/template/metadata/labels"
    assert refused(changed(ray_cluster(), {template: {"app": "web"}}), None, public) == PUBLIC
    before = stored(factory.head_pod())
    assert (
        refused(changed(before, {"/metadata/labels/app": "web"}), before, public, user="author")
        == PUBLIC
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
    ],
)
def test_15_routes_of_other_kinds_remain(api_version: str, kind: str, spec: Object) -> None:
    metadata = {"name": "web", "namespace": "team-a"}
    assert passes({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})


@pytest.mark.parametrize("port", [8265, 10001, 52365])
def test_16_endpoints_created_by_hand(port: int) -> None:
    by_hand = changed(related_objects.endpoint_slice(), {"/ports/0/port": port})
    assert refused(by_hand) == PUBLIC
    assert refused({**by_hand, "apiVersion": "discovery.k8s.io/v1beta1"}) == PUBLIC
    assert refused(by_hand, related_objects.endpoint_slice()) == PUBLIC
    subsets = [{"addresses": [{"ip": "10.0.0.7"}], "ports": [{"port": 80}, {"port": port}]}]
    metadata = {"name": "web", "namespace": "team-a"}
    assert (
        refused({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets})
        == PUBLIC
    )


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


def test_16_endpoints_to_gcs_and_a_service_made_public_later_remain() -> None:
    """Redis uses 6379 as well, and a Service without a selector does not show its target."""
    assert passes(changed(related_objects.endpoint_slice(), {"/ports/0/port": 6379}))
    assert passes(service(type="LoadBalancer", selector=None), service(selector=None))


def test_16_an_external_name_of_an_external_name_remains() -> None:
    inner = named(
        service(type="ExternalName", externalName="demo-head-svc.team-b.svc.cluster.local"), "inner"
    )
    outer = service(type="ExternalName", externalName="inner.team-a.svc.cluster.local")
    assert passes(ingress_to("web"), None, inner, outer)
