"""Who can reach a Service from outside the cluster.

Sources: the Service API and the documentation of the cloud providers.
"""

from typing import Any

import pytest

from policies.cluster.exposure import is_public

RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
AZURE_RANGES = "service.beta.kubernetes.io/azure-allowed-ip-ranges"
AZURE_INTERNAL = "service.beta.kubernetes.io/azure-load-balancer-internal"
AWS_SCHEME = "service.beta.kubernetes.io/aws-load-balancer-scheme"
AWS_TYPE = "service.beta.kubernetes.io/aws-load-balancer-type"
ACK = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-"
OFFICE, WORLD = "203.0.113.0/24", "0.0.0.0/0"


def balancer(*ranges: Any, **annotations: str) -> dict[str, Any]:
    spec = {
        "type": "LoadBalancer",
        **({"loadBalancerSourceRanges": list(ranges)} if ranges else {}),
    }
    return {"metadata": {"annotations": annotations}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "public"),
    [
        ({}, False),
        ({"type": None}, False),
        ({"type": "ClusterIP"}, False),
        ({"type": "ClusterIP", "clusterIP": "None"}, False),
        ({"type": "ExternalName", "externalName": "example.com"}, False),
        ({"type": "NodePort"}, True),
        ({"type": "LoadBalancer"}, True),
        ({"type": "ClusterIP", "externalIPs": ["203.0.113.7"]}, True),
        ({"externalIPs": []}, False),
    ],
)
def test_the_type_and_the_external_ips_can_make_a_service_public(
    spec: dict[str, Any], public: bool
) -> None:
    assert is_public({"spec": spec}) is public


@pytest.mark.parametrize(
    "service",
    [
        balancer(OFFICE),
        balancer(f" {OFFICE} "),
        balancer(**{RANGES: f"{OFFICE}, 198.51.100.0/24 ,"}),
        balancer(**{AZURE_RANGES: OFFICE}),
        balancer(**{AZURE_INTERNAL: "true"}),
        balancer(**{AWS_SCHEME: "internal", AWS_TYPE: "external"}),
        balancer(**{f"{ACK}address-type": "intranet"}),
        balancer(**{f"{ACK}acl-status": "on", f"{ACK}acl-type": "white", f"{ACK}acl-id": "acl-1"}),
        balancer(OFFICE, **{RANGES: WORLD}),
    ],
    ids=repr,
)
def test_a_restricted_load_balancer_is_not_public(service: dict[str, Any]) -> None:
    assert not is_public(service)


@pytest.mark.parametrize(
    "service",
    [
        balancer(WORLD),
        balancer(OFFICE, "128.0.0.0/1"),
        balancer(OFFICE, "office"),
        balancer(""),
        balancer(**{RANGES: ""}),
        balancer(**{RANGES: f"{OFFICE},{WORLD}"}),
        balancer(OFFICE, **{AZURE_RANGES: WORLD}),
        balancer(**{RANGES: OFFICE, AZURE_RANGES: WORLD}),
        balancer(**{AZURE_INTERNAL: "false"}),
        balancer(**{AWS_SCHEME: "internal"}),
        balancer(**{AZURE_INTERNAL: "true", AWS_SCHEME: "internet-facing"}),
        balancer(**{f"{ACK}acl-status": "on", f"{ACK}acl-type": "black", f"{ACK}acl-id": "acl-1"}),
        balancer(**{f"{ACK}acl-status": "on", f"{ACK}acl-type": "white"}),
    ],
    ids=repr,
)
def test_an_unrestricted_load_balancer_is_public(service: dict[str, Any]) -> None:
    assert is_public(service)
