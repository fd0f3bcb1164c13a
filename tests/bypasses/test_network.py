"""Rows 62 and 63: NetworkPolicies that let strangers reach Ray by other ports or other peers."""

from typing import Any

import pytest

from tests.bypasses.admission import KINDS, RESTRICTED, by_both, passes, refused, verdict
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster

PRESENT = {"network-policy-present"}
HEAD_PARAMS = "/spec/headGroupSpec/rayStartParams"
WORKER_PARAMS = "/spec/workerGroupSpecs/0/rayStartParams"


def policy(*rules: Object, name: str = "mine", selects: Object | None = None) -> Object:
    """A NetworkPolicy of the namespace that selects every pod of it, or those with labels."""
    selector = {"matchLabels": selects} if selects else {}
    changes = {"/metadata/name": name, "/spec/ingress": [*rules], "/spec/podSelector": selector}
    return changed(related_objects.network_policy(), changes)


def port(*ports: Any) -> Object:
    """An ingress rule for everyone to these ports: numbers, names, or a first and a last."""
    listed = []
    for entry in ports:
        first, last = entry if isinstance(entry, tuple) else (entry, None)
        listed.append({"port": first} | ({"endPort": last} if last else {}))
    return {"ports": listed}


def peers(*blocks: str) -> Object:
    return {"from": [{"ipBlock": {"cidr": block}} for block in blocks]}


def networks(count: int) -> list[str]:
    """The first public networks of a /8 each."""
    private = (10, 127)
    return [f"{first}.0.0.0/8" for first in range(1, 224) if first not in private][:count]


MOVED = [
    (HEAD_PARAMS, "dashboard-agent-listen-port", "9999"),
    (WORKER_PARAMS, "dashboard-agent-listen-port", "9999"),
    (HEAD_PARAMS, "dashboard-port", "9999"),
    (HEAD_PARAMS, "port", "9999"),
    (HEAD_PARAMS, "ray-client-server-port", "9999"),
    (HEAD_PARAMS, "runtime-env-agent-port", "9999"),
    (WORKER_PARAMS, "runtime-env-agent-port", "9999"),
    (WORKER_PARAMS, "node-manager-port", "9999"),
    (WORKER_PARAMS, "object-manager-port", "09999"),
    (WORKER_PARAMS, "min-worker-port", "9999"),
    (HEAD_PARAMS, "dashboard-agent-grpc-port", "9999"),
]


@pytest.mark.parametrize(("place", "parameter", "value"), MOVED)
@pytest.mark.parametrize("ports", [(9999,), ((9990, 10000),), ("agent",), (80, (9999, 9999))])
def test_62_a_policy_that_opens_a_moved_port(
    place: str, parameter: str, value: str, ports: tuple[Any, ...]
) -> None:
    """In either order: the policy first, or the cluster first."""
    cluster = changed(ray_cluster(), {f"{place}/{parameter}": value})
    opening = policy(port(*ports))
    warned, denied = by_both(cluster, None, opening)
    assert warned == denied == PRESENT
    live = changed(cluster, {"/metadata/uid": "1"})
    warned, denied = by_both(opening, None, live)
    assert warned == denied == PRESENT
    own = changed(cluster, {"/spec/networkPolicy": kuberays_policy(port(*ports))})
    assert by_both(own) == (PRESENT, PRESENT)


def kuberays_policy(*rules: Object) -> Object:
    return {"mode": "DenyAll", "head": {"ingressRules": [*rules]}}


@pytest.mark.parametrize(("create", "pointer"), KINDS)
def test_62_in_every_kind(create: Any, pointer: str) -> None:
    place = f"{pointer}/headGroupSpec/rayStartParams/runtime-env-agent-port"
    document = changed(create(), {place: "9999"})
    assert refused(document, None, policy(port(9999)), policy=RESTRICTED) >= PRESENT
    assert not refused(document, None, policy(port(9998)), policy=RESTRICTED) & PRESENT


@pytest.mark.parametrize(
    "command",
    [
        ["ray", "start", "--head", "--dashboard-agent-listen-port=9999"],
        ["ray", "start", "--head", "--dashboard-agent-listen-port", "9999"],
        ["bash", "-c", "ray start --block --runtime-env-agent-port  '9999' --head"],
    ],
)
@pytest.mark.parametrize("field", ["command", "args"])
def test_62_a_port_that_a_pod_moves_in_its_own_command(command: list[str], field: str) -> None:
    pod = changed(factory.opted_in_pod(), {f"/spec/containers/0/{field}": command})
    assert refused(pod, None, policy(port(9999)), policy=RESTRICTED) >= PRESENT
    assert not refused(pod, None, policy(port(9998)), policy=RESTRICTED) & PRESENT


@pytest.mark.parametrize(
    "ports",
    [
        ((32768, 60999),),
        ((40000, 40100),),
        ((10002, 19999),),
        ((11000, 11016), 1),
        ((8266, 65535),),
    ],
)
def test_62_a_range_in_which_ray_chooses_its_ports(ports: tuple[Any, ...]) -> None:
    """The runtime environment agent and the workers listen there, on ports Ray chooses itself."""
    opening = policy(port(*ports))
    assert by_both(ray_cluster(), None, opening) == (PRESENT, PRESENT)
    assert by_both(opening) == (PRESENT, PRESENT)


@pytest.mark.parametrize("ports", [(8000,), (8080, 9000), (15090,), ((50051, 50060),), (9998,)])
def test_62_ports_of_other_software_stay_allowed(ports: tuple[Any, ...]) -> None:
    opening = policy(port(*ports))
    cluster = changed(ray_cluster(), {f"{HEAD_PARAMS}/dashboard-agent-listen-port": "9999"})
    live = changed(cluster, {"/metadata/uid": "1"})
    for document, other in ((cluster, opening), (opening, live)):
        assert verdict(document, None, other, policy=RESTRICTED) == (set(), set())


def test_62_a_policy_after_pods_without_kuberay_remains() -> None:
    """RayWarden keeps no pods in memory, so it knows only the usual ports of these pods."""
    labels: Object = {"raywarden.io/cluster": "django"}
    assert passes(policy(port(9999), selects=labels))
    assert by_both(policy(port(52365), selects=labels)) == (PRESENT, PRESENT)


@pytest.mark.parametrize(
    "value", ["+9999", "9_999", " 9999", "$PORT", "9999 --dashboard-host=x", 9999.5]
)
def test_62_a_port_that_cannot_be_read(value: Any) -> None:
    document = changed(ray_cluster(), {f"{HEAD_PARAMS}/runtime-env-agent-port": value})
    assert refused(document) == {"safe-ray-start-params"}


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
    reviewer = factory.reviewer(RESTRICTED)
    (open_head, *_) = (
        violation
        for violation in reviewer.verdict(factory.request(other)).denied
        if violation.rule == "network-policy-present"
    )
    assert "networkPolicy:" not in open_head.remediation
    assert "matchLabels: {ray.io/cluster: demo}" in open_head.remediation
    assert "kubernetes.io/metadata.name: ray-system" in open_head.remediation
