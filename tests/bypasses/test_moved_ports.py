"""Rows 60 and 61: ports of Ray under other numbers and names, and endpoints to them."""

from itertools import permutations

import pytest

from tests.bypasses.admission import passes, refused
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster, ray_job
from tests.support.related_objects import service

PUBLIC = {"no-public-ray-service"}
MANAGED_BY = "/metadata/labels/endpointslice.kubernetes.io~1managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
JOB_HEAD = "/spec/rayClusterSpec/headGroupSpec"

MOVED = changed(ray_cluster(), {"/spec/headGroupSpec/rayStartParams": {"dashboard-port": "9999"}})
OUTSIDE = service(type="LoadBalancer", selector=None)
SLICE = changed(related_objects.endpoint_slice(), {"/ports": [{"name": "", "port": 9999}]})
ENDPOINTS = {
    "apiVersion": "v1",
    "kind": "Endpoints",
    "metadata": {"name": "web", "namespace": "team-a"},
    "subsets": [{"addresses": [{"ip": "10.0.0.7"}], "ports": [{"port": 9999}]}],
}
# As Kubernetes mirrors these Endpoints, under another name.
MIRRORED = changed(
    SLICE,
    {
        "/metadata/name": "web-x7k2p",
        MANAGED_BY: "endpointslicemirroring-controller.k8s.io",
    },
)


def verdicts_of(*steps: Object) -> list[set[str]]:
    """The rules that refuse each step after the ones before it, in a namespace without Ray."""
    inside = [changed(step, {"/metadata/namespace": "team-b"}) for step in steps]
    return [refused(step, None, *inside[:count]) for count, step in enumerate(inside)]


@pytest.mark.parametrize("steps", list(permutations([MOVED, OUTSIDE, SLICE])))
def test_60_in_any_order_of_steps(steps: tuple[Object, ...]) -> None:
    first, *others = verdicts_of(*steps)
    assert first == set()
    assert PUBLIC in others


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_60_with_a_job_and_a_service_that_has_a_selector(order: tuple[int, ...]) -> None:
    """kube-proxy adds a slice by hand to those that the controller writes for the selector."""
    moved = {f"{JOB_HEAD}/rayStartParams": {"dashboard-agent-listen-port": "9999"}}
    steps = [changed(ray_job(), moved), service(type="LoadBalancer"), SLICE]
    assert PUBLIC in verdicts_of(*(steps[index] for index in order))


@pytest.mark.parametrize(
    "parameters",
    [
        {"port": "9999"},
        {"ray-client-server-port": "09999"},
        {"node-manager-port": "9999"},
        {"dashboard-agent-grpc-port": "9999"},
    ],
)
def test_60_every_port_that_can_be_moved(parameters: Object) -> None:
    worker = {"/spec/workerGroupSpecs/0/rayStartParams": parameters}
    for place in ("/spec/headGroupSpec/rayStartParams", *worker):
        moved = changed(ray_cluster(), {place: parameters})
        assert refused(moved, None, SLICE) >= PUBLIC


def test_60_a_cluster_moves_its_port_later() -> None:
    before = dict(factory.reviewer().mutated(factory.request(ray_cluster())).document)
    moved = {"/spec/headGroupSpec/rayStartParams/dashboard-port": "9999"}
    assert refused(changed(before, moved), before, SLICE) == PUBLIC


def test_60_endpoints_instead_of_a_slice() -> None:
    assert refused(MOVED, None, service(selector=None), MIRRORED) == PUBLIC
    assert refused(ENDPOINTS, None, MOVED) == PUBLIC
    inner = service(selector=None)
    assert refused(OUTSIDE, inner, MIRRORED, MOVED) == PUBLIC


def test_60_endpoints_before_their_service() -> None:
    """Kubernetes mirrors them only once the Service exists, so no slice shows them before."""
    assert passes(ENDPOINTS)
    assert passes(MOVED)
    assert refused(OUTSIDE, None, MOVED) == PUBLIC
    assert refused(MOVED, None, OUTSIDE) == PUBLIC
    assert passes(ray_cluster(), None, OUTSIDE), "no port of this cluster was moved"


def test_60_a_service_without_selector_beside_a_cluster() -> None:
    """Endpoints of the controller stay when a Service loses its selector, or is orphaned."""
    selecting = service(selector={"ray.io/cluster": "demo"}, ports=[{"port": 8265}])
    harmless = changed(OUTSIDE, {"/spec/ports": [{"port": 80, "targetPort": 80}]})
    assert refused(harmless, selecting) == PUBLIC
    assert refused(harmless, service(selector=None)) == PUBLIC
    assert refused(changed(harmless, {"/spec/type": "NodePort"})) == PUBLIC
    elsewhere = {"/metadata/namespace": "team-b"}
    assert passes(changed(harmless, elsewhere))


@pytest.mark.parametrize("address", ["10.0.0.7", "10.0.0.8"])
def test_60_a_slice_that_claims_to_be_the_controllers(address: str) -> None:
    """RayWarden does not watch the slices of Kubernetes' own controller."""
    forged = changed(SLICE, {MANAGED_BY: CONTROLLER, "/endpoints": [{"addresses": [address]}]})
    assert refused(forged) == PUBLIC
    assert refused(forged, None, OUTSIDE) == PUBLIC
    assert refused(forged, SLICE) == PUBLIC
    moved_address = changed(forged, {"/endpoints/0/addresses": ["10.9.9.9"]})
    assert refused(moved_address, forged, OUTSIDE) == PUBLIC


def test_60_slices_of_the_controller() -> None:
    controllers = changed(SLICE, {MANAGED_BY: CONTROLLER})
    by_controller = "system:serviceaccount:kube-system:endpointslice-controller"
    assert passes(controllers, user=by_controller)
    assert passes(controllers, None, service()), "the controller corrects slices of its Services"
    labeled = changed(controllers, {"/metadata/labels/team": "ml"})
    assert refused(labeled, controllers) == set()


def test_60_a_slice_to_gcs_and_a_service_made_public_later() -> None:
    to_gcs = changed(SLICE, {"/ports/0/port": 6379})
    inner = service(selector=None)
    assert passes(to_gcs, None, inner)
    assert refused(OUTSIDE, inner, to_gcs) == PUBLIC
    assert refused(ray_cluster(), None, OUTSIDE, to_gcs) == PUBLIC
    assert passes(ray_cluster(), None, inner, to_gcs)


def test_60_other_slices_and_ports() -> None:
    other = changed(SLICE, {"/ports/0/port": 5432})
    assert passes(other, None, MOVED)
    assert passes(MOVED, None, service(selector=None), other)
    elsewhere = changed(SLICE, {"/metadata/namespace": "team-b"})
    assert passes(MOVED, None, elsewhere)


def test_60_a_slice_in_another_namespace_remains() -> None:
    """The addresses of a slice may be those of pods in any namespace."""
    assert passes(changed(SLICE, {"/metadata/namespace": "team-b"}), None, MOVED)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "/containers/-": {
                "name": "x",
                "image": "x",
                "ports": [{"name": "web", "containerPort": 8265}],
            }
        },
        {
            "/initContainers": [
                {
                    "name": "x",
                    "image": "x",
                    "restartPolicy": "Always",
                    "ports": [{"name": "web", "containerPort": 52365}],
                }
            ]
        },
        {
            "/containers/-": {
                "name": "x",
                "image": "x",
                "ports": [{"name": "web", "containerPort": 9999}],
            }
        },
    ],
)
@pytest.mark.parametrize("group", ["/spec/headGroupSpec", "/spec/workerGroupSpecs/0"])
def test_61_a_port_name_of_another_container(changes: Object, group: str) -> None:
    spec = {f"{group}/template/spec{place}": value for place, value in changes.items()}
    moved = {f"{group}/rayStartParams": {"dashboard-agent-listen-port": "9999"}}
    cluster = changed(ray_cluster(), {**spec, **moved})
    named = service(type="NodePort", ports=[{"port": 80, "targetPort": "web"}])
    assert refused(named, None, cluster) == PUBLIC
    assert passes(changed(named, {"/spec/ports/0/targetPort": "http"}), None, cluster)


def test_61_a_port_name_behind_names_without_end() -> None:
    many = [{"name": f"p{count}", "containerPort": 8265} for count in range(300)]
    containers = "/spec/headGroupSpec/template/spec/containers"
    cluster = changed(ray_cluster(), {f"{containers}/0/ports": many})
    moved = {"/spec/workerGroupSpecs/0/rayStartParams": {"dashboard-agent-listen-port": "9999"}}
    to_moved = service(type="NodePort", ports=[{"port": 80, "targetPort": 9999}])
    assert refused(to_moved, None, changed(cluster, moved)) == PUBLIC
