"""Whom a NetworkPolicy lets in, of strangers. Source: the API reference of networking/v1."""

from typing import Any

import pytest

from policies.documents.pointer import ROOT
from policies.network.openness import opening_rules
from policies.network.policy import Direction, NetworkPolicy, rules_of
from policies.network.ports import ALL_PORTS

DASHBOARD = 8265
EVERYONE: dict[str, Any] = {}
NAMED = {"key": "kubernetes.io/metadata.name", "operator": "Exists"}


def policy(*ingress: Any, metadata: dict[str, Any] | None = None, **spec: Any) -> NetworkPolicy:
    return NetworkPolicy(
        {
            "metadata": {"name": "p", **(metadata or {})},
            "spec": {"podSelector": {}, "ingress": list(ingress), **spec},
        }
    )


def open_at(network_policy: NetworkPolicy, *ports: int) -> list[str]:
    opening = opening_rules(network_policy.open, ports or (DASHBOARD,))
    return [str(rule.pointer) for rule in opening]


def blocks(*ranges: str, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """An ingress rule that allows these ranges, each without these exceptions."""
    exceptions = {"except": list(without)} if without else {}
    return {"from": [{"ipBlock": {"cidr": cidr, **exceptions}} for cidr in ranges]}


@pytest.mark.parametrize(
    ("spec", "isolates"),
    [
        ({}, True),
        ({"policyTypes": None}, True),
        ({"policyTypes": []}, True),
        ({"policyTypes": ["Ingress"]}, True),
        ({"policyTypes": ["Ingress", "Egress"]}, True),
        ({"policyTypes": ["Egress"]}, False),
        ({"egress": [{}]}, True),
    ],
)
def test_a_policy_isolates_ingress_unless_its_types_omit_it(
    spec: dict[str, Any], isolates: bool
) -> None:
    assert policy(**spec).isolates(Direction.INGRESS) is isolates


def test_ingress_rules_of_an_egress_policy_have_no_effect() -> None:
    assert open_at(policy(EVERYONE, policyTypes=["Egress"])) == []


@pytest.mark.parametrize("selector", [{}, None, {"matchLabels": None}, {"matchExpressions": []}])
def test_an_empty_selector_selects_every_pod(selector: Any) -> None:
    selecting = policy(podSelector=selector)
    assert selecting.selects({}) and selecting.selects({"a": "b"})
    assert NetworkPolicy({"spec": {}}).selects({"a": "b"})


@pytest.mark.parametrize(
    ("term", "labels", "selected"),
    [
        ({"operator": "In", "values": ["x", "y"]}, {"a": "y"}, True),
        ({"operator": "In", "values": ["x", "y"]}, {}, False),
        ({"operator": "NotIn", "values": ["x"]}, {"a": "x"}, False),
        ({"operator": "NotIn", "values": ["x"]}, {}, True),
        ({"operator": "Exists"}, {"a": ""}, True),
        ({"operator": "Exists"}, {}, False),
        ({"operator": "DoesNotExist"}, {"a": "x"}, False),
        ({"operator": "DoesNotExist"}, {}, True),
        ({"operator": "Near"}, {"a": "x"}, False),
    ],
)
def test_expressions_match_as_in_kubernetes(
    term: Any, labels: dict[str, str], selected: bool
) -> None:
    selector = {"matchLabels": {"b": "1"}, "matchExpressions": [{"key": "a", **term}]}
    selecting = policy(podSelector=selector)
    assert selecting.selects({"b": "1", **labels}) is selected
    assert not selecting.selects({"b": "2", **labels}) and not selecting.selects(labels)


def test_null_equals_the_empty_value_and_not_a_missing_label() -> None:
    selecting = policy(podSelector={"matchLabels": {"a": None}})
    assert selecting.selects({"a": ""})
    assert not selecting.selects({}) and not selecting.selects({"a": "x"})


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"from": []},
        {"from": None},
        {"from": [{"namespaceSelector": {}}]},
        {"from": [{"namespaceSelector": {}, "podSelector": {}}]},
        {
            "from": [
                {"namespaceSelector": {"matchLabels": {}}, "podSelector": {"matchExpressions": []}}
            ]
        },
        {"from": [{"podSelector": {}}, {"namespaceSelector": {}}]},
        {
            "from": [
                {
                    "namespaceSelector": {
                        "matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]
                    }
                }
            ]
        },
        {
            "from": [
                {
                    "namespaceSelector": {
                        "matchExpressions": [
                            {"key": "x", "operator": "NotIn", "values": ["a", "b"]}
                        ]
                    }
                }
            ]
        },
        {"from": [{"namespaceSelector": {"matchExpressions": [NAMED]}}]},
        blocks("0.0.0.0/0"),
        blocks("::/0"),
        blocks("0.0.0.0/1", "128.0.0.0/1"),
        blocks("::ffff:0.0.0.0/96"),
        blocks("0.0.0.0/0", without=("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
        blocks("0.0.0.0/0", without=("::/0",)),
        blocks("no range"),
        blocks("10.0.0.0/8", without=("no range",)),
    ],
    ids=repr,
)
def test_peers_that_allow_everyone(rule: dict[str, Any]) -> None:
    opening = policy({"from": [{"podSelector": {}}]}, rule)
    assert opening.isolates(Direction.INGRESS) and open_at(opening) == ["/spec/ingress/1"]


@pytest.mark.parametrize(
    "rule",
    [
        {"from": [{"podSelector": {}}]},
        {"from": [{"namespaceSelector": None, "podSelector": {}}]},
        {"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]},
        {
            "from": [
                {
                    "namespaceSelector": {"matchLabels": {"team": "a"}},
                    "podSelector": {"matchLabels": {"app": "prometheus"}},
                }
            ]
        },
        blocks("10.0.0.0/8", "fd00::/8", "203.0.113.0/24"),
        blocks("8.0.0.0/14", without=("8.0.0.0/15",)),
        blocks("8.0.0.0/14", without=("8.0.0.0/16", "8.1.0.0/16", "8.0.0.0/16")),
    ],
    ids=repr,
)
def test_peers_that_allow_only_some(rule: dict[str, Any]) -> None:
    assert open_at(policy(rule)) == []


def test_the_ranges_of_all_rules_are_counted_together() -> None:
    assert open_at(policy(blocks("8.0.0.0/15"))) == []
    assert open_at(policy(blocks("8.0.0.0/15", "9.0.0.0/15"))) == ["/spec/ingress/0"]
    both = ["/spec/ingress/0", "/spec/ingress/1"]
    assert open_at(policy(blocks("8.0.0.0/15"), blocks("9.0.0.0/15"))) == both
    assert open_at(policy(blocks("8.0.0.0/15"), blocks("8.0.0.0/15"))) == []
    other_port = {**blocks("9.0.0.0/15"), "ports": [{"port": 80}]}
    assert open_at(policy(blocks("8.0.0.0/15"), other_port)) == []
    twice = blocks("8.0.0.0/14", without=("8.0.0.0/16", "8.0.0.0/16", "8.0.0.0/17"))
    assert open_at(policy(twice)) == ["/spec/ingress/0"], "an address was subtracted twice"


def test_a_policy_keeps_few_spans_of_addresses() -> None:
    parts = range(90)
    many = []
    for index in range(12):
        many.append(blocks(*(f"8.{index}.{part}.0/32" for part in parts)))
    assert open_at(policy(*many)) == ["/spec/ingress"]
    assert open_at(policy(*many[:11])) == []


@pytest.mark.parametrize(
    ("port", "is_open"),
    [
        ({"port": DASHBOARD}, True),
        ({"port": DASHBOARD, "protocol": "TCP"}, True),
        ({"port": DASHBOARD, "protocol": "UDP"}, False),
        ({"port": DASHBOARD - 1}, False),
        ({"port": 8000, "endPort": 9000}, True),
        ({"port": 8000, "endPort": DASHBOARD}, True),
        ({"port": 8000, "endPort": DASHBOARD - 1}, False),
        ({"port": "dashboard"}, True),
        ({"protocol": "TCP"}, True),
        ({"protocol": "UDP"}, False),
        ({}, True),
    ],
)
def test_a_port_is_a_number_a_range_or_a_name_that_can_mean_any_port(
    port: dict[str, Any], is_open: bool
) -> None:
    assert bool(open_at(policy({"ports": [port]}))) is is_open
    among_others = [{"port": 22}, {"port": 1, "endPort": 30}, port]
    assert bool(open_at(policy({"ports": among_others}))) is is_open


def test_an_empty_port_list_means_all_ports_and_one_matching_port_is_enough() -> None:
    assert open_at(policy({"ports": []})) == open_at(policy({"ports": None})) == ["/spec/ingress/0"]
    assert open_at(policy({"ports": [{"port": 6379}]}), DASHBOARD, 6379) == ["/spec/ingress/0"]
    assert open_at(policy({"ports": [{"port": 6379}]}), DASHBOARD, 10001) == []


@pytest.mark.parametrize(
    ("port", "is_open"),
    [
        ({"port": 30000, "endPort": 32784}, True),
        ({"port": 30000, "endPort": 32783}, False),
        ({"port": 60984, "endPort": 65535}, False),
        ({"port": 10002, "endPort": 10018}, True),
        ({"port": 10002, "endPort": 10017}, False),
        ({"port": 10100, "endPort": 10200}, True),
        ({"port": 20000, "endPort": 32767}, False),
    ],
)
def test_many_ports_that_ray_chooses_itself_count_as_rays(
    port: dict[str, Any], is_open: bool
) -> None:
    assert bool(open_at(policy({"ports": [port]}))) is is_open


def test_a_list_of_rules_can_be_checked_without_a_policy() -> None:
    place = ROOT / "rules"
    (rule,) = rules_of([{"ports": [{"port": DASHBOARD}]}], Direction.INGRESS, place) or ()
    assert (str(rule.pointer), rule.strangers) == ("/rules/0", None)
    (rule,) = rules_of([{"from": [{"podSelector": {}}]}], Direction.INGRESS, place) or ()
    assert not rule.is_open
    assert rules_of([{"from": [{"podSelector": {}}] * 100_000}], Direction.INGRESS, place) is None


def test_adjacent_ports_are_merged_and_too_many_ranges_count_as_all_ports() -> None:
    (rule,) = policy({"ports": [{"port": 1 + index} for index in range(1000)]}).open
    assert rule.tcp == (range(1, 1001),)
    (rule,) = policy({"ports": [{"port": 1 + 2 * index} for index in range(100)]}).open
    assert rule.tcp == ALL_PORTS


def test_the_owner_is_the_ray_cluster_that_controls_the_policy() -> None:
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "c", "controller": True}
    assert policy(metadata={"ownerReferences": [owner]}).owner == "c"
    for change in ({"controller": False}, {"kind": "RayJob"}, {"apiVersion": "ray.example/v1"}):
        assert policy(metadata={"ownerReferences": [{**owner, **change}]}).owner == ""


@pytest.mark.parametrize(
    "ingress",
    [
        [{}] * 100_000,
        [{"ports": [{"port": 1}]}] * 65,
        [{"from": [{"podSelector": {"matchLabels": {"a": "b"}}}] * 100_000}],
        [{"from": [{"podSelector": {"matchLabels": {"a": "b" * 100_000}}}]}],
        [{"from": [{"podSelector": {"matchLabels": {f"{n}": "" for n in range(5000)}}}]}],
    ],
    ids=["rules", "open rules", "peers", "characters", "labels"],
)
def test_a_policy_too_large_to_read_counts_as_open_and_uses_little_memory(ingress: Any) -> None:
    large = policy(*ingress, podSelector={"matchLabels": {"app": "web"}})
    assert not large.is_readable(Direction.INGRESS) and large.rules(Direction.INGRESS) == ()
    assert open_at(large) == ["/spec/ingress"] and large.parts == 0
    assert large.selects({"app": "web"}) and not large.selects({"app": "ray"})


def test_a_selector_too_large_to_read_selects_every_pod_and_lets_everyone_in() -> None:
    labels = {f"label-{index}": "x" for index in range(1000)}
    large = policy({"from": [{"podSelector": {}}]}, podSelector={"matchLabels": labels})
    assert large.selects({}) and not large.is_readable(Direction.INGRESS)
    assert open_at(large) == ["/spec/ingress"]


@pytest.mark.parametrize(
    ("spec", "opened"),
    [
        (None, []),
        (7, []),
        ({"ingress": "x"}, []),
        ({"ingress": [None, 7, {"from": [7], "ports": 7}]}, ["/spec/ingress/2"]),
        ({"ingress": [{"from": [{"podSelector": 7}], "ports": [7]}]}, []),
    ],
)
def test_a_malformed_policy_is_no_error(spec: Any, opened: list[str]) -> None:
    malformed = NetworkPolicy({"spec": spec})
    assert malformed.selects({}) and open_at(malformed) == opened
