"""Rows 12, 13, 15 and 16: Services and endpoints that open Ray to the outside."""

from typing import Any

import pytest

from tests.bypasses.admission import by_both, passes, refused, stored, verdict
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster, ray_service
from tests.support.related_objects import service

HEAD_SERVICE = {"no-public-head-service"}
PUBLIC = {"no-public-ray-service"}
RAY = {"ray.io/cluster": "demo"}


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
    assert refused(public) == set()
    by_service = service(type="LoadBalancer", selector=RAY, allocateLoadBalancerNodePorts=False)
    assert passes(changed(by_service, {"/metadata/annotations": foreign}))


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
    """These lead to Ray Serve alone, as an Ingress to Serve does."""
    public = changed(ray_service(), change)
    old_version = {**public, "apiVersion": "ray.io/v1alpha1"}
    for document, before in ((public, None), (public, ray_service()), (old_version, None)):
        warned, denied = by_both(document, before)
        assert warned >= HEAD_SERVICE and denied == HEAD_SERVICE


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
    metadata = {
        "deletionTimestamp": "2026-11-20T08:00:00Z",
        "finalizers": ["a/b"],
        "name": "web",
        "namespace": "team-a",
    }
    before = changed(service(selector=RAY), {"/metadata": metadata})
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


def test_16_endpoints_to_gcs() -> None:
    """Redis uses 6379 as well; where Ray is, no Service without a selector becomes public."""
    assert passes(changed(related_objects.endpoint_slice(), {"/ports/0/port": 6379}))
    inner = service(selector=None)
    assert refused(service(type="LoadBalancer", selector=None), inner) == PUBLIC
