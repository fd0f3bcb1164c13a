"""Who can reach a Service from outside the cluster.

Sources: the Service API and the documentation of the cloud providers.
"""

from typing import Any

import pytest

from policies.cluster.addresses import blocks_have_few_addresses, has_few_addresses
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


@pytest.mark.parametrize(
    ("ranges", "few"),
    [
        ([], False),
        ([OFFICE], True),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"], True),
        (["8.0.0.0/8"], True),
        (["8.0.0.0/8", "9.0.0.0/32"], False),
        (["2001:db8::/32", "2600::/32"], True),
        (["2600::/31"], False),
        (["::ffff:0:0/96"], False),
        (["::ffff:203.0.113.0/120"], True),
        (["64:ff9b::/96"], False),
        ([OFFICE] * 1001, False),
    ],
)
def test_only_public_addresses_are_counted(ranges: list[str], few: bool) -> None:
    assert has_few_addresses(ranges) is few


def test_exceptions_are_subtracted_only_from_the_range_that_contains_them() -> None:
    assert blocks_have_few_addresses([("8.0.0.0/7", ["9.0.0.0/8"])])
    assert not blocks_have_few_addresses([("8.0.0.0/7", ["10.0.0.0/8", "11.0.0.0/8"])])
    assert not blocks_have_few_addresses([("8.0.0.0/7", ["8.0.0.0/9", "8.0.0.0/9"])])
    assert not blocks_have_few_addresses([("8.0.0.0/7", ["::/0"])])
    two_ranges = [("2001::/23", ["2001:20::/28"]), ("2600::/29", [])]
    assert not blocks_have_few_addresses(two_ranges), "an exception of one range reduced another"
    too_many = ["8.0.0.0/32"] * 1000
    assert not blocks_have_few_addresses([("8.0.0.0/8", too_many)])
