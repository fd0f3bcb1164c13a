"""Row 57: load balancers that the controllers of a cloud do not restrict as they seem to."""

from typing import Any

import pytest

from tests.bypasses.admission import passes, refused
from tests.support.factory import Object, changed, ray_cluster
from tests.support.related_objects import service

HEAD_SERVICE = {"no-public-head-service"}
PUBLIC = {"no-public-ray-service"}
RAY = {"ray.io/cluster": "demo"}
BETA = "service.beta.kubernetes.io/"
INTERNAL = {f"{BETA}azure-load-balancer-internal": "true"}
RANGES = ["192.0.2.0/24"]
TARGET_GROUP = f"{BETA}aws-load-balancer-target-group-attributes"


def load_balancer(annotations: Object | None = None, **fields: Any) -> Object:
    """A Service that leads to Ray's head by a load balancer."""
    spec = {"type": "LoadBalancer", "selector": RAY, "ports": [{"port": 8265}], **fields}
    return changed(service(**spec), {"/metadata/annotations": annotations or {}})


@pytest.mark.parametrize(
    "annotations",
    [
        {f"{BETA}azure-allowed-service-tags": "Internet"},
        {f"{BETA}azure-allowed-service-tags": "VirtualNetwork, AzureCloud"},
        {f"{BETA}azure-disable-load-balancer-nsg-rule": "True"},
        {f"{BETA}aws-load-balancer-security-groups": "sg-1"},
        {f"{BETA}aws-load-balancer-extra-security-groups": "sg-1"},
        {f"{BETA}aws-load-balancer-security-group-prefix-lists": "pl-1"},
        {f"{BETA}aws-load-balancer-disable-nlb-sg": "t"},
        {f"{BETA}aws-load-balancer-inbound-sg-rules-on-private-link-traffic": "off"},
        {
            f"{BETA}aws-load-balancer-type": "nlb",
            TARGET_GROUP: "a=b, preserve_client_ip.enabled=false",
        },
        {f"{BETA}alibaba-cloud-loadbalancer-id": "lb-1"},
        {f"{BETA}alicloud-loadbalancer-id": "lb-1"},
        {f"{BETA}alibaba-cloud-loadbalancer-security-group-ids": "sg-1"},
        {f"{BETA}alibaba-cloud-loadbalancer-spec": "slb.s1.small"},
    ],
)
def test_57_source_ranges_that_an_annotation_undoes(annotations: Object) -> None:
    by_field = load_balancer(annotations, loadBalancerSourceRanges=RANGES)
    assert refused(by_field) == PUBLIC
    by_annotation = load_balancer({**annotations, f"{BETA}load-balancer-source-ranges": RANGES[0]})
    assert refused(by_annotation) == PUBLIC
    head = ray_cluster(headServiceAnnotations=annotations)
    spec = {"type": "LoadBalancer", "loadBalancerSourceRanges": RANGES}
    assert refused(changed(head, {"/spec/headGroupSpec/headService/spec": spec})) == HEAD_SERVICE


@pytest.mark.parametrize(
    ("annotations", "fields"),
    [
        ({f"{BETA}azure-allowed-service-tags": "VirtualNetwork,AzureLoadBalancer"}, {}),
        ({f"{BETA}azure-disable-load-balancer-nsg-rule": "false"}, {}),
        ({f"{BETA}aws-load-balancer-security-groups": " "}, {}),
        ({f"{BETA}aws-load-balancer-disable-nlb-sg": "false"}, {}),
        (
            {f"{BETA}alibaba-cloud-loadbalancer-spec": "x"},
            {"loadBalancerClass": "alibabacloud.com/nlb"},
        ),
        (
            {TARGET_GROUP: "preserve_client_ip.enabled=false"},
            {"loadBalancerClass": "service.k8s.aws/nlb"},
        ),
    ],
)
def test_57_source_ranges_that_nothing_undoes(annotations: Object, fields: Object) -> None:
    ranged = load_balancer(annotations, loadBalancerSourceRanges=RANGES, **fields)
    assert refused(ranged) == set()


@pytest.mark.parametrize(
    ("annotations", "fields"),
    [
        ({"aws-load-balancer-scheme": "internal"}, {}),
        ({"aws-load-balancer-scheme": "internal", "aws-load-balancer-type": "nlb"}, {}),
        ({"aws-load-balancer-scheme": "internal"}, {"loadBalancerClass": "example.com/other"}),
        ({"aws-load-balancer-scheme": "Internal", "aws-load-balancer-type": "external"}, {}),
        ({"aws-load-balancer-internal": "False"}, {}),
        (
            {"aws-load-balancer-internal": "true", "aws-load-balancer-scheme": "internet-facing"},
            {},
        ),
        (
            {
                "aws-load-balancer-internal": "true",
                "aws-load-balancer-attributes": "a=b, ipv6.deny_all_igw_traffic=false",
            },
            {},
        ),
        ({"azure-load-balancer-internal": "true"}, {"loadBalancerClass": "example.com/other"}),
        ({"azure-load-balancer-internal": "yes"}, {}),
        (
            {"azure-load-balancer-internal": "true", "azure-additional-public-ips": "198.51.100.7"},
            {},
        ),
        (
            {
                "azure-load-balancer-internal": "true",
                "azure-pls-create": "true",
                "azure-pls-auto-approval": "sub-1 *",
            },
            {},
        ),
        (
            {
                "alibaba-cloud-loadbalancer-address-type": "intranet",
                "alibaba-cloud-loadbalancer-id": "lb-1",
            },
            {},
        ),
        (
            {
                "alibaba-cloud-loadbalancer-address-type": "intranet",
                "alicloud-loadbalancer-id": "lb-1",
            },
            {},
        ),
        (
            {
                "alibaba-cloud-loadbalancer-address-type": "intranet",
                "alibaba-cloud-loadbalancer-ipv6-address-type": "internet",
            },
            {"loadBalancerClass": "alibabacloud.com/nlb"},
        ),
        (
            {
                "alibaba-cloud-loadbalancer-address-type": "intranet",
                "alibaba-cloud-loadbalancer-external-ip-type": "eip",
            },
            {},
        ),
        (
            {
                "alibaba-cloud-loadbalancer-address-type": "internet",
                "alicloud-loadbalancer-address-type": "intranet",
            },
            {},
        ),
        ({"alibaba-cloud-loadbalancer-address-type": "Intranet"}, {}),
    ],
)
def test_57_load_balancers_that_are_not_internal(annotations: Object, fields: Object) -> None:
    named = {f"{BETA}{name}": value for name, value in annotations.items()}
    assert refused(load_balancer(named, **fields)) == PUBLIC
    cluster = changed(
        ray_cluster(headServiceAnnotations=named),
        {"/spec/headGroupSpec/headService/spec": {"type": "LoadBalancer", **fields}},
    )
    assert refused(cluster) == HEAD_SERVICE


@pytest.mark.parametrize(
    ("annotations", "fields"),
    [
        (
            {
                "networking.gke.io/load-balancer-type": "External",
                "cloud.google.com/load-balancer-type": "Internal",
            },
            {},
        ),
        (
            {"networking.gke.io/load-balancer-type": "Internal"},
            {"loadBalancerClass": "networking.gke.io/l4-regional-external"},
        ),
        (
            {"cloud.google.com/load-balancer-type": "Internal"},
            {"loadBalancerClass": "networking.gke.io/l4-regional-external-legacy"},
        ),
        ({"networking.gke.io/load-balancer-type": "INTERNAL"}, {}),
        ({**INTERNAL, "networking.gke.io/load-balancer-type": "External"}, {}),
    ],
)
def test_57_google_load_balancers_that_are_not_internal(
    annotations: Object, fields: Object
) -> None:
    assert refused(load_balancer(annotations, **fields)) == PUBLIC


@pytest.mark.parametrize(
    ("annotations", "fields"),
    [
        (
            {f"{BETA}aws-load-balancer-scheme": "internal"},
            {"loadBalancerClass": "service.k8s.aws/nlb"},
        ),
        (
            {f"{BETA}aws-load-balancer-scheme": "internal"},
            {"loadBalancerClass": "eks.amazonaws.com/nlb"},
        ),
        (
            {
                f"{BETA}aws-load-balancer-scheme": "internal",
                f"{BETA}aws-load-balancer-type": "external",
                f"{BETA}aws-load-balancer-nlb-target-type": "ip",
            },
            {},
        ),
        (
            {
                f"{BETA}aws-load-balancer-scheme": "internal",
                f"{BETA}aws-load-balancer-internal": "true",
            },
            {},
        ),
        ({f"{BETA}aws-load-balancer-internal": "0.0.0.0/0"}, {}),
        ({f"{BETA}azure-load-balancer-internal": "True"}, {}),
        ({"networking.gke.io/load-balancer-type": "internal"}, {}),
        (
            {
                "networking.gke.io/load-balancer-type": "Internal",
                "cloud.google.com/load-balancer-type": "External",
            },
            {},
        ),
        ({}, {"loadBalancerClass": "networking.gke.io/l4-regional-internal"}),
        (
            {f"{BETA}alibaba-cloud-loadbalancer-address-type": "Intranet"},
            {"loadBalancerClass": "alibabacloud.com/nlb"},
        ),
        ({f"{BETA}alicloud-loadbalancer-address-type": "intranet"}, {}),
    ],
)
def test_57_load_balancers_that_are_internal(annotations: Object, fields: Object) -> None:
    assert passes(load_balancer(annotations, allocateLoadBalancerNodePorts=False, **fields))


def test_57_an_access_list_of_a_load_balancer_that_exists_already() -> None:
    """The controller does not touch the listeners of a reused one unless it is told to."""
    prefix = f"{BETA}alibaba-cloud-loadbalancer-"
    listed = {
        f"{prefix}acl-status": "on",
        f"{prefix}acl-type": "white",
        f"{prefix}acl-id": "acl-1",
    }
    reused = {**listed, f"{prefix}id": "lb-1"}
    assert refused(load_balancer(listed)) == set()
    assert refused(load_balancer(reused)) == PUBLIC
    assert refused(load_balancer({**reused, f"{prefix}force-override-listeners": "true"})) == set()
    assert refused(load_balancer(listed, loadBalancerClass="alibabacloud.com/nlb")) == PUBLIC


def test_57_ranges_where_the_only_cloud_ignores_them() -> None:
    alibaba = {"rules": {"no-public-ray-service": {"parameters": {"clouds": ["alibaba"]}}}}
    ranged = load_balancer(loadBalancerSourceRanges=RANGES)
    assert refused(ranged, policy=alibaba) == PUBLIC
    assert refused(changed(ranged, {"/spec/loadBalancerClass": "a/nlb"}), policy=alibaba) == set()
