"""Rows 13, 14, 57, 60: what looks like Ray Serve, whose exposure only `restricted` refuses."""

from typing import Any

import pytest

from tests.bypasses.admission import RESTRICTED, by_both, refused, stored
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster
from tests.support.related_objects import service

OPEN = {"no-open-ingress"}
PUBLIC = {"no-public-ray-service"}
SERVE = {"ray.io/cluster": "demo", "ray.io/serve": "true"}
HEAD_PARAMS = "/spec/headGroupSpec/rayStartParams"
AUTH_TYPE = "alb.ingress.kubernetes.io/auth-type"
ROUTES = [related_objects.ingress, related_objects.http_route, related_objects.tcp_route]
# Workers take 10002 to 19999, and the others are ports of Ray that are chosen at random.
OTHER_PORTS = [10002, 19999, 30000, 8076, 52366, 44217]


def leading_to(target: Any, selector: Object | None = None, **fields: Any) -> Object:
    """A Service whose port 80 leads to a port of the pods."""
    ports = [{"port": 80, "targetPort": target}]
    return service(selector=selector or SERVE, ports=ports, **fields)


@pytest.mark.parametrize("target", OTHER_PORTS)
@pytest.mark.parametrize("selector", [SERVE, {"ray.io/serve": "true"}], ids=str)
def test_14_a_worker_behind_a_service_for_serve(selector: Object, target: int) -> None:
    inner = leading_to(target, selector)
    for route in ROUTES:
        assert refused(route(), None, inner) == OPEN
    without_auth = changed(inner, {"/metadata/annotations": {AUTH_TYPE: "none"}})
    assert refused(without_auth) == OPEN
    assert refused(leading_to(target, selector, type="NodePort")) == PUBLIC


def test_14_a_second_port_beside_serve() -> None:
    ports = [{"port": 80, "targetPort": 8000}, {"port": 81, "targetPort": 10002}]
    inner = service(selector=SERVE, ports=ports)
    backend: Object = {"service": {"name": "web"}}
    every_port = changed(related_objects.ingress(), {"/spec/defaultBackend": backend})
    assert refused(every_port, None, inner) == OPEN
    # The route itself leads to Serve alone.
    assert not refused(changed(every_port, {"/spec/defaultBackend": None}), None, inner)


@pytest.mark.parametrize("target", [8000, 9000])
def test_14_serve_itself_stays_allowed(target: int) -> None:
    inner = leading_to(target)
    for route in ROUTES:
        assert by_both(route(), None, inner)[1] >= OPEN
    assert by_both(leading_to(target, type="LoadBalancer"))[1] >= PUBLIC
    without_auth = changed(inner, {"/metadata/annotations": {AUTH_TYPE: "none"}})
    assert by_both(without_auth) == (OPEN, OPEN)


@pytest.mark.parametrize("port", [8000, 9000])
@pytest.mark.parametrize(
    "parameter", ["port", "dashboard-port", "ray-client-server-port", "runtime-env-agent-port"]
)
def test_60_a_port_that_moves_behind_a_public_serve(parameter: str, port: int) -> None:
    """KubeRay's pods get the label of Serve only while they run."""
    public = leading_to(port, type="LoadBalancer")
    moved = changed(ray_cluster(), {HEAD_PARAMS: {parameter: str(port)}})
    assert not refused(public)
    assert refused(moved, None, public) == PUBLIC
    before = stored(ray_cluster())
    assert refused(changed(before, {HEAD_PARAMS: {parameter: str(port)}}), before, public) == PUBLIC
    live = changed(moved, {"/metadata/uid": factory.namespace_objects()[2]["metadata"]["uid"]})
    assert refused(public, None, live) == PUBLIC
    assert refused(factory.head_pod(), None, public, live) == PUBLIC
    # Another label comes with an update of the pod.
    public = leading_to(port, {**SERVE, "ray.io/mine": "yes"}, type="LoadBalancer")
    pod = stored(factory.head_pod())
    labeled = changed(pod, {"/metadata/labels/ray.io~1mine": "yes"})
    assert refused(labeled, pod, public, live) == PUBLIC


def test_60_a_public_serve_beside_a_cluster_that_moves_nothing() -> None:
    public = leading_to(8000, type="LoadBalancer")
    assert not refused(ray_cluster(), None, public)
    assert not refused(factory.head_pod(**{"ray.io/serve": "true"}), None, public)
    assert not refused(ray_cluster(), None, leading_to(8000, {**SERVE, "ray.io/cluster": "other"}))
    assert refused(ray_cluster(), None, public, policy=RESTRICTED) == PUBLIC


@pytest.mark.parametrize(
    "selector",
    [
        {"ray.io/serve": "true"},
        {"raywarden.io/cluster": "django", "ray.io/serve": "true"},
        {"ray.io/mine": "yes"},
    ],
    ids=str,
)
def test_60_labels_of_serve_on_pods_without_kuberay(selector: Object) -> None:
    """Any author can set them, and which ports such a pod has moved is unknown."""
    public = leading_to(8000, selector, type="NodePort")
    assert refused(public) == PUBLIC
    pod = changed(factory.opted_in_pod("head"), {})
    pod["metadata"]["labels"] |= selector | {"raywarden.io/cluster": "django"}
    assert refused(pod, None, public) == PUBLIC
    assert not refused(factory.opted_in_pod("head"), None, leading_to(8000, SERVE, type="NodePort"))
