"""Whom a NetworkPolicy keeps out, and whom it lets in. Source: the API reference of networking/v1."""

from typing import Any

import pytest

from policies.cluster.network_policy import NetworkPolicy, lets_everyone_in

DASHBOARD = 8265
EVERYONE: dict[str, Any] = {}
NAMED = {"key": "kubernetes.io/metadata.name", "operator": "Exists"}


def policy(*ingress: Any, metadata: dict[str, Any] | None = None, **spec: Any) -> NetworkPolicy:
    return NetworkPolicy.of(
        {
            "metadata": {"name": "p", **(metadata or {})},
            "spec": {"podSelector": {}, "ingress": list(ingress), **spec},
        }
    )


def open_at(made: NetworkPolicy, *ports: int) -> list[str]:
    return [str(pointer) for pointer in made.open_rules(*(ports or (DASHBOARD,)))]


def blocks(*ranges: str, without: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "from": [
            {"ipBlock": {"cidr": one, **({"except": list(without)} if without else {})}}
            for one in ranges
        ]
    }


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
def test_ingress_is_isolated_unless_the_types_leave_it_out(
    spec: dict[str, Any], isolates: bool
) -> None:
    assert policy(**spec).isolates is isolates


def test_ingress_rules_of_a_policy_that_is_about_egress_mean_nothing() -> None:
    assert open_at(policy(EVERYONE, policyTypes=["Egress"])) == []


@pytest.mark.parametrize("selector", [{}, None, {"matchLabels": None}, {"matchExpressions": []}])
def test_a_selector_that_asks_nothing_selects_every_pod(selector: Any) -> None:
    made = policy(podSelector=selector)
    assert made.selects({}) and made.selects({"a": "b"})
    assert NetworkPolicy.of({"spec": {}}).selects({"a": "b"})


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
def test_expressions_are_matched_as_kubernetes_does(
    term: Any, labels: dict[str, str], selected: bool
) -> None:
    made = policy(
        podSelector={"matchLabels": {"b": "1"}, "matchExpressions": [{"key": "a", **term}]}
    )
    assert made.selects({"b": "1", **labels}) is selected
    assert not made.selects({"b": "2", **labels}) and not made.selects(labels)


def test_null_is_the_empty_value_and_not_a_label_that_is_missing() -> None:
    made = policy(podSelector={"matchLabels": {"a": None}})
    assert made.selects({"a": ""}) and not made.selects({}) and not made.selects({"a": "x"})


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
def test_everyone_has_many_names(rule: dict[str, Any]) -> None:
    made = policy({"from": [{"podSelector": {}}]}, rule)
    assert made.isolates and open_at(made) == ["/spec/ingress/1"]


@pytest.mark.parametrize(
    "rule",
    [
        {"from": [{"podSelector": {}}]},
        {"from": [{"namespaceSelector": None, "podSelector": {}}]},
        {"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]},
        {
            "from": [
                {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "prometheus"}}}
            ]
        },
        blocks("10.0.0.0/8", "fd00::/8", "203.0.113.0/24"),
        blocks("8.0.0.0/7", without=("8.0.0.0/8",)),
        blocks("8.0.0.0/7", without=("8.0.0.0/9", "8.128.0.0/9", "8.0.0.0/9")),
    ],
    ids=repr,
)
def test_some_are_not_everyone(rule: dict[str, Any]) -> None:
    assert open_at(policy(rule)) == []


def test_networks_that_are_small_each_are_counted_together() -> None:
    assert open_at(policy(blocks("8.0.0.0/8"))) == []
    assert open_at(policy(blocks("8.0.0.0/8", "9.0.0.0/8"))) == ["/spec/ingress/0"]
    twice = blocks("8.0.0.0/7", without=("8.0.0.0/9", "8.0.0.0/9", "8.0.0.0/10"))
    assert open_at(policy(twice)) == ["/spec/ingress/0"], "what is left out twice is left out once"


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
def test_ports_are_numbers_ranges_or_names_that_pods_give_a_meaning(
    port: dict[str, Any], is_open: bool
) -> None:
    assert bool(open_at(policy({"ports": [port]}))) is is_open
    assert (
        bool(open_at(policy({"ports": [{"port": 22}, {"port": 1, "endPort": 30}, port]})))
        is is_open
    )


def test_no_ports_are_all_ports_and_any_of_those_asked_for_counts() -> None:
    assert open_at(policy({"ports": []})) == open_at(policy({"ports": None})) == ["/spec/ingress/0"]
    assert open_at(policy({"ports": [{"port": 6379}]}), DASHBOARD, 6379) == ["/spec/ingress/0"]
    assert open_at(policy({"ports": [{"port": 6379}]}), DASHBOARD, 10001) == []


def test_a_rule_may_be_asked_without_a_policy_around_it() -> None:
    assert lets_everyone_in({"ports": [{"port": DASHBOARD}]}, (1, DASHBOARD))
    assert not lets_everyone_in({"ports": [{"port": DASHBOARD}]}, (1, 2))
    assert not lets_everyone_in({"from": [{"podSelector": {}}]}, (DASHBOARD,))
    assert lets_everyone_in({"from": [{"podSelector": {}}] * 100_000}, (DASHBOARD,)), (
        "too large to look into"
    )


def test_ports_that_are_next_to_each_other_are_kept_as_one_and_too_many_as_all() -> None:
    (rule,) = policy({"ports": [{"port": 1 + index} for index in range(1000)]}).open
    assert rule.ports == (range(1, 1001),)
    (rule,) = policy({"ports": [{"port": 1 + 2 * index} for index in range(100)]}).open
    assert rule.ports == (range(65536),)


def test_the_owner_is_a_ray_cluster_that_controls_it() -> None:
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
    ],
    ids=["rules", "open rules", "peers", "characters"],
)
def test_one_that_is_too_large_keeps_nobody_out_and_little_in_memory(ingress: Any) -> None:
    made = policy(*ingress, podSelector={"matchLabels": {"app": "web"}})
    assert not made.isolates and open_at(made) == ["/spec/ingress"] and len(made.open) == 1
    assert made.selects({"app": "web"}) and not made.selects({"app": "ray"})


def test_a_selector_that_is_too_large_isolates_nothing_and_what_it_opens_is_open_to_every_pod() -> (
    None
):
    labels = {f"label-{index}": "x" for index in range(1000)}
    made = policy(EVERYONE, podSelector={"matchLabels": labels})
    assert not made.isolates and made.selects({}) and open_at(made) == ["/spec/ingress/0"]


@pytest.mark.parametrize(
    "spec", [None, 7, {"ingress": "x"}, {"ingress": [None, 7, {"from": "x", "ports": 7}]}]
)
def test_strange_ones_are_no_error(spec: Any) -> None:
    made = NetworkPolicy.of({"spec": spec})
    assert made.selects({}) and open_at(made) == []
