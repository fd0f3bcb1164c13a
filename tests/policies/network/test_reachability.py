"""Who can reach whom, by NetworkPolicies as people write them."""

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.network.parties import AddressParty, PodParty
from policies.network.policy import Direction, NetworkPolicy
from policies.network.ports import ALL_PORTS, Ports
from policies.network.reachability import OPEN, Policies, Reach, connection

HEAD = PodParty("ml", {"app": "head"}, {"team": "ml"}, {"dashboard": (8265,)})
WORKER = PodParty("ml", {"app": "worker"}, {"team": "ml"}, {})
ELSEWHERE = PodParty("other", {"app": "head"}, {"team": "other"}, {})
UNKNOWN = PodParty("other", {"app": "worker"})
STRANGER = PodParty("", chooses_labels=True, namespace_labels={})
INTERNET = AddressParty((ip_network("203.0.113.7"),))
CLOSED: Ports = ()


def policy(**spec: Any) -> NetworkPolicy:
    """A policy for the head, unless `podSelector` says otherwise."""
    selector = {"podSelector": {"matchLabels": {"app": "head"}}}
    metadata = {"name": "p", "namespace": "ml"}
    return NetworkPolicy({"metadata": metadata, "spec": {**selector, **spec}})


def ingress(*rules: Any) -> Policies:
    return Policies([policy(ingress=list(rules), policyTypes=["Ingress"])])


def span(port: int, last: int = 0) -> Ports:
    return (range(port, (last or port) + 1),)


@pytest.mark.parametrize(
    ("spec", "ingress_open", "egress_open"),
    [
        ({}, False, True),
        ({"policyTypes": []}, False, True),
        ({"policyTypes": ["Egress"]}, True, False),
        ({"policyTypes": ["Ingress", "Egress"]}, False, False),
        ({"egress": [{"ports": [{"port": 1}]}]}, False, False),
        ({"podSelector": {"matchLabels": {"app": "worker"}}}, True, True),
        ({"podSelector": {}}, False, True),
        (
            {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
            False,
            True,
        ),
    ],
)
def test_a_policy_isolates_only_its_pods_and_directions(
    spec: dict[str, Any], ingress_open: bool, egress_open: bool
) -> None:
    policies = Policies([policy(**spec)])
    assert (policies.reach(HEAD, Direction.INGRESS, WORKER) == OPEN) is ingress_open
    assert (policies.reach(HEAD, Direction.EGRESS, INTERNET) == OPEN) is egress_open


@pytest.mark.parametrize(
    ("peer", "other", "certainly", "possibly"),
    [
        ({"podSelector": {}}, WORKER, ALL_PORTS, ALL_PORTS),
        ({"podSelector": {}}, ELSEWHERE, CLOSED, CLOSED),
        ({"podSelector": {"matchLabels": {"app": "head"}}}, WORKER, CLOSED, CLOSED),
        ({"namespaceSelector": {}}, ELSEWHERE, ALL_PORTS, ALL_PORTS),
        (
            {"namespaceSelector": {"matchLabels": {"team": "other"}}},
            ELSEWHERE,
            ALL_PORTS,
            ALL_PORTS,
        ),
        ({"namespaceSelector": {"matchLabels": {"team": "other"}}}, UNKNOWN, CLOSED, ALL_PORTS),
        (
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}},
            UNKNOWN,
            ALL_PORTS,
            ALL_PORTS,
        ),
        (
            {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "head"}}},
            UNKNOWN,
            CLOSED,
            CLOSED,
        ),
        (
            {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}},
            STRANGER,
            *[ALL_PORTS] * 2,
        ),
        ({"ipBlock": {"cidr": "203.0.113.0/24"}}, INTERNET, ALL_PORTS, ALL_PORTS),
        (
            {"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.7/32"]}},
            INTERNET,
            CLOSED,
            CLOSED,
        ),
        ({"ipBlock": {"cidr": "::/0"}}, INTERNET, CLOSED, CLOSED),
        ({"ipBlock": {"cidr": "10.0.0.0/8"}}, WORKER, CLOSED, ALL_PORTS),
        ({"ipBlock": {"cidr": "10.0.0.0/8"}}, AddressParty(), CLOSED, ALL_PORTS),
        ({"ipBlock": {"cidr": "0.0.0.0/0"}}, AddressParty(), ALL_PORTS, ALL_PORTS),
        # Python reads none of them, and Kubernetes accepts leading zeros.
        ({"ipBlock": {"cidr": "nonsense"}}, INTERNET, CLOSED, ALL_PORTS),
        ({"ipBlock": {"cidr": "000.0.0.0/0"}}, INTERNET, CLOSED, ALL_PORTS),
    ],
)
def test_peers(peer: dict[str, Any], other: Any, certainly: Ports, possibly: Ports) -> None:
    assert ingress({"from": [peer]}).reach(HEAD, Direction.INGRESS, other) == Reach(
        certainly, possibly
    )


@pytest.mark.parametrize("rule", [{}, {"from": []}, {"from": None}, {"ports": []}])
def test_a_rule_without_peers_and_ports_opens_everything(rule: dict[str, Any]) -> None:
    assert ingress(rule).reach(HEAD, Direction.INGRESS, STRANGER) == OPEN


def test_a_name_means_the_port_of_the_pod_that_is_connected_to() -> None:
    named = {"ports": [{"port": "dashboard"}]}
    to_head = ingress(named).reach(HEAD, Direction.INGRESS, WORKER)
    assert to_head == Reach(span(8265), span(8265))
    egress = Policies([policy(egress=[named], policyTypes=["Egress"])])
    assert egress.reach(HEAD, Direction.EGRESS, WORKER) == Reach(CLOSED, CLOSED)
    assert egress.reach(HEAD, Direction.EGRESS, UNKNOWN) == Reach(CLOSED, ALL_PORTS)
    assert egress.reach(HEAD, Direction.EGRESS, INTERNET) == Reach(CLOSED, CLOSED)


def test_policies_add_up_and_protocols_differ() -> None:
    rules = [
        policy(ingress=[{"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}]),
        policy(ingress=[{"ports": [{"port": 81, "endPort": 90}]}]),
    ]
    policies = Policies(rules)
    assert policies.reach(HEAD, Direction.INGRESS, WORKER).certainly == span(80, 90)
    assert policies.reach(HEAD, Direction.INGRESS, WORKER, "UDP").certainly == span(53)


def test_a_connection_needs_both_ends() -> None:
    leaves = policy(egress=[{"ports": [{"port": 1, "endPort": 100}]}], policyTypes=["Egress"])
    enters = policy(
        podSelector={"matchLabels": {"app": "worker"}},
        ingress=[{"ports": [{"port": 50, "endPort": 200}]}],
    )
    both = Policies([leaves, enters])
    assert connection(HEAD, both, WORKER, both).certainly == span(50, 100)


def test_a_policy_that_is_too_large_closes_nothing_for_certain() -> None:
    huge = policy(ingress=[{"from": [{"podSelector": {}}]}] * 70_000)
    reach = Policies([huge]).reach(HEAD, Direction.INGRESS, STRANGER)
    assert reach == Reach(CLOSED, ALL_PORTS)
    assert Policies([huge]).reach(HEAD, Direction.EGRESS, STRANGER) == OPEN


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["from", "to", "ports", "port", "endPort", "ipBlock", "cidr", "except"])
            | st.sampled_from(
                ["podSelector", "namespaceSelector", "matchLabels", "matchExpressions"]
            )
            | st.sampled_from(["key", "operator", "values", "protocol"]),
            children,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json, json, json)
def test_strange_policies_are_read(selector: Any, rules: Any, types: Any) -> None:
    strange = policy(podSelector=selector, ingress=rules, egress=rules, policyTypes=types)
    for other in (WORKER, UNKNOWN, STRANGER, INTERNET, AddressParty()):
        for direction in Direction:
            reach = Policies([strange]).reach(HEAD, direction, other)
            assert set(reach.certainly) <= set(reach.possibly) or reach.possibly == ALL_PORTS
