"""Row 63: NetworkPolicies that let in the Internet in parts, or the pods of any tenant."""

import pytest

from tests.bypasses.admission import RESTRICTED, by_both, passes, verdict
from tests.bypasses.network_policies import (
    PRESENT,
    kuberays_policy,
    networks,
    peers,
    policy,
    port,
)
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster

LARGE: dict[str, list[Object]] = {
    "59 rules of a /8 each": [
        policy(*(peers(block) for block in networks(59))),
    ],
    "40 policies of a /8 each": [
        policy(peers(block), name=f"mine-{index}") for index, block in enumerate(networks(40))
    ],
    "one /8": [policy(peers("8.0.0.0/8"))],
    "a /15 and more": [policy(peers("8.0.0.0/15", "9.0.0.0/32"))],
    "two policies of a /15 each": [
        policy(peers("8.0.0.0/15"), name="a"),
        policy(peers("9.0.0.0/15"), name="b"),
    ],
    "a /15 that others continue": [
        policy(peers("8.0.0.0/16"), name="a"),
        policy(peers("8.1.0.0/16"), name="b"),
        policy(peers("8.2.0.0/16"), name="c"),
    ],
    "exceptions that leave much": [
        policy({"from": [{"ipBlock": {"cidr": "8.0.0.0/8", "except": ["8.0.0.0/9"]}}]})
    ],
    "an IPv6 /32": [policy(peers("2600::/32"))],
    "6to4": [policy(peers("2002::/16"))],
    "Teredo": [policy(peers("2001::/32"))],
    "mapped IPv4": [policy(peers("::ffff:8.0.0.0/104"))],
    "translated IPv4": [policy(peers("64:ff9b:1::/64"))],
}


@pytest.mark.parametrize("policies", LARGE.values(), ids=LARGE)
def test_63_the_internet_in_parts(policies: list[Object]) -> None:
    warned, denied = by_both(ray_cluster(), None, *policies)
    assert warned == denied == PRESENT
    *existing, last = policies
    assert by_both(last, None, *existing) == (PRESENT, PRESENT)
    assert by_both(last, changed(last, {"/spec/ingress": []}), *existing) == (PRESENT, PRESENT)
    rules = [rule for item in policies for rule in item["spec"]["ingress"]]
    own = ray_cluster(networkPolicy=kuberays_policy(*rules))
    assert by_both(own) == (PRESENT, PRESENT)


def test_63_kuberays_policy_and_one_of_the_namespace_add_up() -> None:
    own = ray_cluster(networkPolicy=kuberays_policy(peers("8.0.0.0/15")))
    assert by_both(own, None, policy(peers("9.0.0.0/15"))) == (PRESENT, PRESENT)
    assert verdict(own, None, policy(peers("8.1.0.0/16")), policy=RESTRICTED) == (set(), set())


PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fd00::/8")


@pytest.mark.parametrize(
    "policies",
    [
        [policy(peers("203.0.113.0/24", "8.8.0.0/20", "2600:1f00::/44"))],
        [policy(peers("35.191.0.0/16", "130.211.0.0/22", "35.235.240.0/20"))],
        [policy(peers("128.30.0.0/16", "8.8.8.8/32"))],
        [policy(peers(*PRIVATE))],
        [policy(peers("8.8.0.0/20"), name=f"office-{index}") for index in range(64)],
        [policy({**peers("8.0.0.0/8"), **port(8000)})],
        [policy({**peers("8.0.0.0/15"), **port(8265)}), policy({**peers("9.0.0.0/8"), **port(80)})],
        [
            policy(peers("8.0.0.0/15"), name="a"),
            policy(peers("9.0.0.0/8"), name="b", selects={"app": "web"}),
        ],
        [policy({"from": [{"ipBlock": {"cidr": "8.0.0.0/14", "except": ["8.0.0.0/15"]}}]})],
    ],
)
def test_63_offices_and_private_networks_stay_allowed(policies: list[Object]) -> None:
    assert verdict(ray_cluster(), None, *policies, policy=RESTRICTED) == (set(), set())
    *existing, last = policies
    assert verdict(last, None, *existing, policy=RESTRICTED) == (set(), set())


ANY: Object = {"namespaceSelector": {}}
EVERYBODY: dict[str, Object] = {
    "a label of their choice": {**ANY, "podSelector": {"matchLabels": {"app": "gateway"}}},
    "any value of a label": {
        **ANY,
        "podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
    },
    "all but one value": {
        **ANY,
        "podSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]},
    },
    "labels of a Ray cluster": {**ANY, "podSelector": {"matchLabels": {"ray.io/cluster": "demo"}}},
    "all namespaces but one": {
        "namespaceSelector": {
            "matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["x"]}
            ]
        },
        "podSelector": {"matchLabels": {"app": "x"}},
    },
    "a label that every namespace may have": {
        "namespaceSelector": {"matchLabels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    },
    "namespaces with Ray": {
        "namespaceSelector": {
            "matchExpressions": [{"key": "raywarden.io/enforce", "operator": "Exists"}]
        }
    },
    "namespaces of the mesh": {
        "namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}},
        "podSelector": {},
    },
}


@pytest.mark.parametrize("peer", EVERYBODY.values(), ids=EVERYBODY)
def test_63_peers_that_any_tenant_can_be(peer: Object) -> None:
    opening = policy({"from": [peer]})
    assert by_both(ray_cluster(), None, opening) == (PRESENT, PRESENT)
    assert by_both(opening) == (PRESENT, PRESENT)
    own = ray_cluster(networkPolicy=kuberays_policy({"from": [peer]}))
    assert by_both(own) == (PRESENT, PRESENT)


@pytest.mark.parametrize(
    "peer",
    [
        {"podSelector": {"matchLabels": {"app": "gateway"}}},
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
            "podSelector": {"matchLabels": {"app": "prometheus"}},
        },
        {"namespaceSelector": {"matchLabels": {"team": "b"}}},
        {
            "namespaceSelector": {
                "matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}
                ]
            }
        },
        {**ANY, "podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
    ],
)
def test_63_peers_with_a_name_stay_allowed(peer: Object) -> None:
    opening = policy({"from": [peer]})
    assert verdict(ray_cluster(), None, opening, policy=RESTRICTED) == (set(), set())
    assert verdict(opening, policy=RESTRICTED) == (set(), set())


def test_63_a_label_of_the_author_that_many_namespaces_have_remains() -> None:
    """RayWarden does not know which labels a cluster gives to each of its tenants."""
    selector = {"matchExpressions": [{"key": "team", "operator": "Exists"}]}
    assert passes(policy({"from": [{"namespaceSelector": selector}]}))


def test_63_the_remedy_works_with_every_version_of_kuberay() -> None:
    """KubeRay 1.6 does not know spec.networkPolicy, and 1.7 refuses it without its gate."""
    other = changed(ray_cluster(), {"/metadata/namespace": "team-b"})
    reviewer = factory.reviewer({**RESTRICTED, "networkIsolation": {"mode": "off"}})
    (open_head, *_) = (
        violation
        for violation in reviewer.verdict(factory.request(other)).denied
        if violation.rule == "network-policy-present"
    )
    assert "networkPolicy:" not in open_head.remediation
    assert "matchLabels: {ray.io/cluster: demo}" in open_head.remediation
    assert "kubernetes.io/metadata.name: ray-system" in open_head.remediation
