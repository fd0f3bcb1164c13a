"""Row 73: KubeRay's add-ons and Ray Serve, reachable from outside the cluster."""

from typing import Any

import pytest

from tests.bypasses.admission import by_both, passes, refused
from tests.support import related_objects
from tests.support.factory import Object, changed, ray_cluster, ray_service
from tests.support.related_objects import service

HEAD_SERVICE = {"no-public-head-service"}
PUBLIC = {"no-public-ray-service"}
OPEN = {"no-open-ingress"}
RAY = {"ray.io/cluster": "demo"}
INTERNAL = {"service.beta.kubernetes.io/azure-load-balancer-internal": "true"}


SERVER = {
    "app.kubernetes.io/name": "kuberay",
    "app.kubernetes.io/component": "kuberay-apiserver",
}
HISTORY = {"app": "historyserver"}
OUTER = [
    {"type": "NodePort"},
    {"type": "LoadBalancer"},
    {"externalIPs": ["198.51.100.7"]},
]


def in_namespace(name: str, document: Object) -> Object:
    return changed(document, {"/metadata/namespace": name})


@pytest.mark.parametrize("fields", OUTER)
@pytest.mark.parametrize(
    ("selector", "target"),
    [
        (SERVER, 8888),
        (SERVER, 8887),
        (SERVER, "http"),
        ({"app.kubernetes.io/name": "kuberay-apiserver"}, 8888),
        (HISTORY, 8080),
    ],
)
def test_73_a_public_add_on_of_kuberay(selector: Object, target: Any, fields: Object) -> None:
    public = service(selector=selector, ports=[{"port": 80, "targetPort": target}], **fields)
    assert refused(public) == PUBLIC
    assert refused(in_namespace("kuberay-system", public)) == PUBLIC
    assert refused(public, service(selector=selector)) == PUBLIC


@pytest.mark.parametrize(("selector", "target"), [(SERVER, 8888), (HISTORY, 8080)])
def test_73_an_open_ingress_to_an_add_on(selector: Object, target: int) -> None:
    inner = service(selector=selector, ports=[{"port": 80, "targetPort": target}])
    assert refused(related_objects.ingress(), None, inner) == OPEN
    assert refused(related_objects.http_route(), None, inner) == OPEN
    auth = {"nginx.ingress.kubernetes.io/auth-url": "https://login.ml.example/oauth2/auth"}
    with_auth = changed(related_objects.ingress(), {"/metadata/annotations": auth})
    assert passes(with_auth, None, inner)


def test_73_add_ons_that_authenticate_or_stay_inside() -> None:
    proxy = [{"name": "http", "port": 8888, "targetPort": 8988}]
    assert passes(service(type="NodePort", selector=SERVER, ports=proxy))
    assert passes(service(selector=SERVER, ports=[{"port": 8888}]))
    internal = service(
        type="LoadBalancer",
        selector=SERVER,
        ports=[{"port": 8888}],
        allocateLoadBalancerNodePorts=False,
    )
    assert passes(changed(internal, {"/metadata/annotations": INTERNAL}))
    jupyter = service(type="LoadBalancer", selector={"app": "jupyter"}, ports=[{"port": 8888}])
    assert passes(in_namespace("team-b", jupyter))
    hadoop = [{"port": 19888}]
    assert passes(service(type="NodePort", selector=HISTORY, ports=hadoop))


def test_73_an_add_on_with_other_labels_remains() -> None:
    renamed = {"app.kubernetes.io/component": "my-api"}
    assert passes(service(type="NodePort", selector=renamed, ports=[{"port": 8888}]))


@pytest.mark.parametrize("fields", OUTER)
@pytest.mark.parametrize("port", [8000, 9000])
def test_73_serve_by_a_service(port: int, fields: Object) -> None:
    """Serve runs no stranger's code: both its Services and its Ingresses are judged alike."""
    selector = {**RAY, "ray.io/serve": "true"}
    serve = service(selector=selector, ports=[{"name": "serve", "port": port}], **fields)
    warned, denied = by_both(serve)
    assert warned >= PUBLIC and denied == PUBLIC
    ingress = {"/spec/rules/0/http/paths/0/backend/service/port/number": port}
    routed = changed(related_objects.ingress(), ingress)
    warned, denied = by_both(routed, None, changed(serve, {"/spec/type": "ClusterIP"}))
    assert warned >= OPEN and denied == OPEN


@pytest.mark.parametrize(
    "ports",
    [
        [{"name": "serve", "port": 80, "targetPort": 8265}],
        [{"name": "serve", "port": 8000}, {"name": "x", "port": 6379}],
        [{"name": "serve", "port": 8000, "targetPort": "serve"}],
        [{"name": "serve", "port": 80, "targetPort": 10002}],
        [],
    ],
)
def test_73_services_that_lead_to_more_than_serve(ports: list[Object]) -> None:
    selector = {**RAY, "ray.io/serve": "true"}
    assert refused(service(type="LoadBalancer", selector=selector, ports=ports)) == PUBLIC


@pytest.mark.parametrize(
    "parameters",
    [
        {"dashboard-port": "8000"},
        {"node-manager-port": "8000"},
        {"worker-port-list": "7000,8000"},
        {"min-worker-port": "7999", "max-worker-port": "8001"},
        {"min-worker-port": "7999"},
    ],
)
def test_73_a_port_of_ray_in_the_place_of_serves(parameters: Object) -> None:
    serve = service(type="LoadBalancer", selector=RAY, ports=[{"name": "serve", "port": 8000}])
    assert passes(changed(serve, {"/spec/type": "ClusterIP"}))
    for place in ("/spec/headGroupSpec", "/spec/workerGroupSpecs/0"):
        moved = changed(ray_cluster(), {f"{place}/rayStartParams": parameters})
        assert refused(serve, None, moved) == PUBLIC
        assert refused(moved, None, serve) == PUBLIC
    assert refused(ray_cluster(), None, serve) == set()


@pytest.mark.parametrize(
    "fields",
    [{"type": "LoadBalancer"}, {"type": "NodePort"}, {"externalIPs": ["198.51.100.7"]}],
)
def test_73_the_serve_service_of_a_ray_service(fields: Object) -> None:
    public = changed(ray_service(), {"/spec/serveService": {"spec": fields}})
    warned, denied = by_both(public)
    assert warned >= HEAD_SERVICE and denied == HEAD_SERVICE
    ports = [
        {"name": "serve", "port": 80, "targetPort": 8000},
        {"name": "serve-grpc", "port": 9000},
    ]
    assert refused(changed(public, {"/spec/serveService/spec/ports": ports})) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"/spec/serveService/spec/ports": [{"name": "serve", "port": 80, "targetPort": 8265}]},
        {"/spec/rayClusterConfig/headGroupSpec/rayStartParams": {"dashboard-port": "8000"}},
        {
            "/spec/rayClusterConfig/headGroupSpec/template/spec/containers/0/ports": [
                {"name": "serve", "containerPort": 8265}
            ]
        },
        {
            "/spec/rayClusterConfig/headGroupSpec/template/spec/containers/0/ports": [
                {"name": "dashboard", "containerPort": 8265}
            ],
            "/spec/serveService/spec/ports": [{"name": "any", "port": 80, "targetPort": 10001}],
        },
    ],
)
def test_73_a_serve_service_that_leads_to_more_than_serve(changes: Object) -> None:
    public = changed(ray_service(), {"/spec/serveService/spec/type": "LoadBalancer", **changes})
    assert refused(public) == HEAD_SERVICE


@pytest.mark.parametrize(
    ("fields", "port"),
    [({"type": "LoadBalancer"}, 6379), ({"type": "NodePort"}, 8265), ({"type": "NodePort"}, 10001)],
)
def test_ports_of_ray_where_no_ray_is(fields: Object, port: int) -> None:
    redis = service(selector={"app": "redis"}, ports=[{"port": port}], **fields)
    assert passes(in_namespace("team-b", redis))
    assert refused(redis) == PUBLIC, "this namespace has a RayCluster"


def test_73_serve_where_ray_does_without_kuberay() -> None:
    """The ports of such pods are not known, so 8000 may be their dashboard."""
    for selector in ({"raywarden.io/cluster": "django"}, {"app.kubernetes.io/name": "kuberay"}):
        serve = service(type="LoadBalancer", selector=selector, ports=[{"port": 8000}])
        assert refused(serve) == PUBLIC
