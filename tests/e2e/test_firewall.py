"""The tests' own firewall does what NetworkPolicies say, so that tests can rely on it."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.e2e.dialing import CLOSED, OPEN, Target, dialed, listening, with_result
from tests.e2e.firewall import NO_NFT, Firewall, has_nft
from tests.e2e.network import Network
from tests.e2e.network_policy import NetworkPod
from tests.support.factory import Object
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.skipif(not has_nft(), reason=NO_NFT)

PORTS = (80, 8000, 8001, 8002, 9000)
NAMESPACES = {"shop": {"team": "a"}, "bank": {"team": "b"}, "lab": {"team": "b", "test": "yes"}}
# The address, namespace and labels of each pod; all of them listen on PORTS.
PODS = {
    "server": ("10.244.0.240", "shop", {"app": "server", "tier": "back"}),
    "same": ("10.244.0.241", "shop", {"app": "web", "tier": "front"}),
    "bank": ("10.244.0.242", "bank", {"app": "web"}),
    "lab": ("10.244.0.243", "lab", {}),
}
CLIENTS = ("same", "bank", "lab")
NAMED = (("http", "TCP", 8000), ("http", "UDP", 9000))
NONE: Mapping[str, tuple[int, ...]] = {}
ALL = {client: PORTS for client in CLIENTS}


@pytest.fixture(scope="module")
def pods(network: Network) -> Iterator[Mapping[str, NetworkPod]]:
    """Pods that listen on PORTS."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(listener(network, NetworkPod(namespace, labels, address)))
            for name, (address, namespace, labels) in PODS.items()
        }


@contextmanager
def listener(network: Network, pod: NetworkPod) -> Iterator[NetworkPod]:
    place = network.attach(pod.address)
    program = [sys.executable, "-m", "tests.e2e.programs.listen", *map(str, PORTS)]
    with subprocess.Popen(
        ["nsenter", f"--net={place}", *program],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield replace(pod, network=place, ports=NAMED)
    network.detach(place)


def policy(text: str, namespace: str = "shop") -> Object:
    return {"metadata": {"name": "test", "namespace": namespace}, "spec": yaml.safe_load(text)}


def reached(
    pods: Mapping[str, NetworkPod], *policies: Object, of: str = "server"
) -> dict[str, tuple[int, ...]]:
    """The ports of a pod that each client reaches under these policies; all others are closed."""
    with Firewall(lambda: list(pods.values()), lambda: policies, lambda: NAMESPACES):
        with ThreadPoolExecutor(len(CLIENTS)) as pool:
            each = pool.map(lambda client: ports_from(pods[client], pods[of]), CLIENTS)
        return {client: ports for client, ports in zip(CLIENTS, each, strict=True) if ports}


def ports_from(client: NetworkPod, server: NetworkPod) -> tuple[int, ...]:
    targets: set[Target] = {(server.address, port) for port in PORTS}
    results = dialed(client.network, targets)
    assert set(results.values()) <= {OPEN, CLOSED}, results
    return tuple(sorted(port for _, port in with_result(results, OPEN)))


INGRESS_RULES: dict[str, tuple[str, Mapping[str, tuple[int, ...]]]] = {
    "no rule": ("", NONE),
    "an empty rule": ("{}", ALL),
    "an empty list of peers": ("{from: []}", ALL),
    "all pods of the namespace": ("{from: [{podSelector: {}}]}", {"same": PORTS}),
    "labels": ("{from: [{podSelector: {matchLabels: {app: web}}}]}", {"same": PORTS}),
    "all namespaces": ("{from: [{namespaceSelector: {}}]}", ALL),
    "a namespace": (
        "{from: [{namespaceSelector: {matchLabels: {team: b}}}]}",
        {"bank": PORTS, "lab": PORTS},
    ),
    "pods of a namespace": (
        "{from: [{namespaceSelector: {matchLabels: {team: b}},"
        " podSelector: {matchLabels: {app: web}}}]}",
        {"bank": PORTS},
    ),
    "two peers": (
        "{from: [{namespaceSelector: {matchLabels: {test: 'yes'}}}, {podSelector: {}}]}",
        {"same": PORTS, "lab": PORTS},
    ),
    "In": (
        "{from: [{namespaceSelector: {matchExpressions:"
        " [{key: team, operator: In, values: [a, c]}]}}]}",
        {"same": PORTS},
    ),
    "NotIn": (
        "{from: [{namespaceSelector: {}, podSelector: {matchExpressions:"
        " [{key: tier, operator: NotIn, values: [front]}]}}]}",
        {"bank": PORTS, "lab": PORTS},
    ),
    "Exists": (
        "{from: [{namespaceSelector: {matchExpressions: [{key: test, operator: Exists}]}}]}",
        {"lab": PORTS},
    ),
    "DoesNotExist": (
        "{from: [{namespaceSelector: {}, podSelector: {matchExpressions:"
        " [{key: app, operator: DoesNotExist}]}}]}",
        {"lab": PORTS},
    ),
    "a block without a part of it": (
        "{from: [{ipBlock: {cidr: 10.244.0.240/29, except: [10.244.0.242/32]}}]}",
        {"same": PORTS, "lab": PORTS},
    ),
    "IPv6": ("{from: [{ipBlock: {cidr: '::/0'}}]}", NONE),
    "a port": ("{ports: [{port: 80}]}", {client: (80,) for client in CLIENTS}),
    "a range, and a port in it": (
        "{ports: [{port: 8000, endPort: 8001, protocol: TCP}, {port: 8001}]}",
        {client: (8000, 8001) for client in CLIENTS},
    ),
    "a port and a peer": (
        "{from: [{podSelector: {}}], ports: [{port: 80}, {port: 9000}]}",
        {"same": (80, 9000)},
    ),
    "a named port": ("{ports: [{port: http}]}", {client: (8000,) for client in CLIENTS}),
    "a named port of nobody": ("{ports: [{port: https}]}", NONE),
    "another protocol": ("{ports: [{port: 80, protocol: UDP}]}", NONE),
    "every port of a protocol": ("{ports: [{protocol: TCP}]}", ALL),
}


@pytest.mark.parametrize("name", INGRESS_RULES)
def test_an_ingress_rule_opens_what_it_says(name: str, pods: Mapping[str, NetworkPod]) -> None:
    rule, expected = INGRESS_RULES[name]
    text = f"{{podSelector: {{matchLabels: {{app: server}}}}, ingress: [{rule}]}}"
    assert reached(pods, policy(text)) == expected


POLICIES: dict[str, tuple[list[str], Mapping[str, tuple[int, ...]]]] = {
    "none": ([], ALL),
    "another pod": (["{podSelector: {matchLabels: {app: other}}}"], ALL),
    "egress alone": (["{podSelector: {}, policyTypes: [Egress]}"], {"bank": PORTS, "lab": PORTS}),
    "egress rules imply the type": (
        [
            "{podSelector: {matchLabels: {app: web}}, ingress: [{}],"
            " egress: [{ports: [{port: 80}]}]}"
        ],
        {"same": (80,), "bank": PORTS, "lab": PORTS},
    ),
    "types without ingress": (["{podSelector: {}, policyTypes: [Egress], egress: [{}]}"], ALL),
    "two policies add up": (
        [
            "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}",
            "{podSelector: {matchLabels: {tier: back}}, ingress: [{ports: [{port: 9000}]}]}",
        ],
        {"same": (80, 9000), "bank": (9000,), "lab": (9000,)},
    ),
    "egress to labels, by name": (
        [
            "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress:"
            " [{to: [{podSelector: {matchLabels: {app: server}}}], ports: [{port: http}]}]}"
        ],
        {"same": (8000,), "bank": PORTS, "lab": PORTS},
    ),
    "egress to addresses": (
        [
            "{podSelector: {}, policyTypes: [Egress], egress:"
            " [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.244.0.240/32]}}]}]}"
        ],
        {"bank": PORTS, "lab": PORTS},
    ),
}


@pytest.mark.parametrize("name", POLICIES)
def test_policies_isolate_the_pods_that_they_select(
    name: str, pods: Mapping[str, NetworkPod]
) -> None:
    texts, expected = POLICIES[name]
    assert reached(pods, *map(policy, texts)) == expected


def test_a_policy_concerns_its_own_namespace(pods: Mapping[str, NetworkPod]) -> None:
    closed = policy("{podSelector: {}}", "bank")
    assert reached(pods, closed) == ALL
    assert reached(pods, closed, of="bank") == {"bank": PORTS}


def test_the_node_and_the_pod_itself_are_let_in(pods: Mapping[str, NetworkPod]) -> None:
    server = pods["server"]
    everything = policy("{podSelector: {}, policyTypes: [Ingress, Egress]}")
    node = NetworkPod("", {}, "")
    with Firewall(lambda: list(pods.values()), lambda: [everything], lambda: NAMESPACES):
        assert ports_from(node, server) == ports_from(server, server) == PORTS
        assert ports_from(pods["bank"], server) == ()


def test_changes_of_policies_take_effect_alone(pods: Mapping[str, NetworkPod]) -> None:
    stored: list[Object] = []
    with Firewall(lambda: list(pods.values()), lambda: stored, lambda: NAMESPACES) as firewall:
        assert ports_from(pods["lab"], pods["server"]) == PORTS
        stored.append(policy("{podSelector: {}}"))
        firewall.update()
        assert ports_from(pods["lab"], pods["server"]) == ()
    assert ports_from(pods["lab"], pods["server"]) == PORTS


def test_what_listens_is_seen(pods: Mapping[str, NetworkPod]) -> None:
    network: Path | None = pods["server"].network
    assert network and listening(network) == set(PORTS)
