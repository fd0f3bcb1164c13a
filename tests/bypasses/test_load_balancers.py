"""Rows 56 and 58: node ports of load balancers, and annotations that KubeRay does not copy."""

from typing import Any

import pytest

from tests.bypasses.admission import RESTRICTED, passes, refused, verdict
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster, ray_job
from tests.support.related_objects import service

HEAD_SERVICE = {"no-public-head-service"}
PUBLIC = {"no-public-ray-service"}
RAY = {"ray.io/cluster": "demo"}
BETA = "service.beta.kubernetes.io/"
INTERNAL = {f"{BETA}azure-load-balancer-internal": "true"}
RANGES = ["192.0.2.0/24"]
JOB = "/spec/rayClusterSpec"
CRON_JOB = "/spec/jobTemplate/rayClusterSpec"


def load_balancer(annotations: Object | None = None, **fields: Any) -> Object:
    """A Service that leads to Ray's head by a load balancer."""
    spec = {"type": "LoadBalancer", "selector": RAY, "ports": [{"port": 8265}], **fields}
    return changed(service(**spec), {"/metadata/annotations": annotations or {}})


def warnings(document: Object, **options: Any) -> set[str]:
    """The rules that warn about `document`, which nothing refuses."""
    denied, warned = verdict(document, **options)
    assert not denied
    return warned


@pytest.mark.parametrize(
    "restriction", [{"annotations": INTERNAL}, {"loadBalancerSourceRanges": RANGES}]
)
def test_56_a_load_balancer_that_asks_for_a_node_port(restriction: Object) -> None:
    port = {"port": 8265, "nodePort": 30265}
    asked = load_balancer(**restriction, ports=[port], allocateLoadBalancerNodePorts=False)
    assert refused(asked) == PUBLIC
    one_of_two = changed(asked, {"/spec/ports": [{"name": "a", "port": 1}, {**port, "name": "b"}]})
    assert refused(one_of_two) == PUBLIC
    assert (
        refused(asked, load_balancer(**restriction, allocateLoadBalancerNodePorts=False)) == PUBLIC
    )


@pytest.mark.parametrize("place", ["/spec/headGroupSpec", "/spec/headGroupSpec/headService/spec"])
def test_56_a_head_service_that_asks_for_a_node_port(place: str) -> None:
    """Here the author wrote the nodePort: the API server has not allocated any yet."""
    field = "serviceType" if place.endswith("headGroupSpec") else "type"
    changes = {
        "/spec/headServiceAnnotations": INTERNAL,
        f"{place}/{field}": "LoadBalancer",
        "/spec/headGroupSpec/headService/spec/ports": [{"port": 80, "nodePort": 30080}],
    }
    assert refused(changed(ray_cluster(), changes)) == HEAD_SERVICE


@pytest.mark.parametrize(
    "restriction", [{"annotations": INTERNAL}, {"loadBalancerSourceRanges": RANGES}]
)
def test_56_node_ports_of_a_restricted_load_balancer_remain(restriction: Object) -> None:
    """The API server allocates node ports before RayWarden sees the Service."""
    for allocated in ({"port": 8265}, {"port": 8265, "nodePort": 31234}):
        exposed = load_balancer(**restriction, ports=[allocated])
        assert warnings(exposed) == warnings(exposed, policy=RESTRICTED) == PUBLIC
    assert passes(load_balancer(**restriction, allocateLoadBalancerNodePorts=False))


def test_56_node_ports_of_a_head_service() -> None:
    cluster = ray_cluster(headServiceAnnotations=INTERNAL)
    head = "/spec/headGroupSpec"
    exposed = changed(cluster, {f"{head}/serviceType": "LoadBalancer"})
    assert warnings(exposed) >= HEAD_SERVICE
    without = {f"{head}/headService/spec/allocateLoadBalancerNodePorts": False}
    assert passes(changed(exposed, without))


@pytest.mark.parametrize(("kind", "place"), [(ray_job, JOB), (factory.ray_cron_job, CRON_JOB)])
def test_58_annotations_that_kuberay_does_not_copy_for_a_job(kind: Any, place: str) -> None:
    head = f"{place}/headGroupSpec"
    public = changed(
        kind(),
        {f"{head}/serviceType": "LoadBalancer", f"{place}/headServiceAnnotations": INTERNAL},
    )
    assert refused(public) == HEAD_SERVICE
    assert refused(changed(public, {f"{head}/headService/spec/externalName": "x"})) == HEAD_SERVICE
    own = {f"{head}/headService/metadata/annotations": INTERNAL}
    assert refused(changed(public, own)) == set()
    by_spec = {f"{head}/headService/spec/type": "LoadBalancer"}
    assert refused(changed(public, by_spec)) == HEAD_SERVICE
    assert refused(changed(public, {**own, **by_spec})) == set()


def test_58_the_cluster_of_a_job() -> None:
    """KubeRay builds the head service of the job from the RayCluster, which may change later."""
    cluster = changed(
        ray_cluster(headServiceAnnotations=INTERNAL),
        {
            "/metadata/labels": {"ray.io/originated-from-crd": "RayJob"},
            "/spec/headGroupSpec/serviceType": "LoadBalancer",
        },
    )
    assert refused(cluster) == HEAD_SERVICE
    own = {"/spec/headGroupSpec/headService/metadata/annotations": INTERNAL}
    assert refused(changed(cluster, own)) == set()
    serves = {**own, "/metadata/annotations": {"ray.io/enable-serve-service": "true"}}
    assert refused(changed(cluster, serves)) == HEAD_SERVICE
