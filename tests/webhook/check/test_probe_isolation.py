"""`raywarden check --probe` finds out whether the network enforces NetworkPolicies."""

from collections.abc import Sequence
from dataclasses import replace

from tests.support import live_objects
from tests.support.factory import Object, changed
from tests.support.grpc_servers import http, tcp_server
from tests.support.kube_conversation import free_port
from tests.webhook.check.healthy_installation import namespace, network_policy
from tests.webhook.check.probing import facts, on_both_loops, probe
from webhook.check.dial import local_address
from webhook.check.facts import CheckFacts, Unavailable
from webhook.check.findings import Finding, Status
from webhook.check.probe import Target

STRANGER = changed(live_objects.pod("probe"), {"/metadata/labels": {}, "/metadata/namespace": "x"})
MEMBERS_ONLY = {
    "podSelector": {},
    "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"podSelector": {}}]}, {"ports": [{"port": 8080}]}],
}
NO_EGRESS = {"podSelector": {}, "policyTypes": ["Egress"]}
PARAMETERS = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")


def with_policies(base: CheckFacts, *policies: Object) -> CheckFacts:
    network = replace(base.network, policies=list(policies))
    return replace(base, network=network, namespaces=[live_objects.namespace(), namespace("x")])


def closed_facts(*open_ports: int, head: str = "127.0.0.1") -> CheckFacts:
    """A closed cluster whose head listens on these ports, first GCS, then the dashboard."""
    numbers = [*open_ports, *(free_port() for _ in PARAMETERS[len(open_ports) :])]
    pod = live_objects.pod(address=head)
    base = facts(dict(zip(PARAMETERS, numbers, strict=True)), pod)
    return with_policies(base, network_policy("closed", MEMBERS_ONLY))


async def isolation(given: CheckFacts, caller: Object | None = STRANGER) -> Sequence[Finding]:
    return (await probe(given, caller=caller))["isolation"]


@on_both_loops
async def test_a_network_that_does_not_enforce_policies_is_found() -> None:
    async with tcp_server(http(200)) as gcs:
        failure, kept = (await isolation(closed_facts(gcs)))[:2]
    assert failure.status is Status.FAILED
    assert failure.message == (
        f"demo-head-abcde:{gcs} accept connections from x/probe: NetworkPolicies close these "
        "ports, but the network does not enforce them"
    )
    assert kept.status is not Status.FAILED and f":{gcs}," not in kept.message


@on_both_loops
async def test_nothing_is_proven_while_no_port_of_the_pod_answers() -> None:
    """Nothing listens on 8080 either, which the policies leave open."""
    (finding,) = await isolation(closed_facts(head="127.0.0.23"))
    assert finding.status is Status.UNKNOWN
    assert "nor to port 8080, which NetworkPolicies leave open" in finding.message


@on_both_loops
async def test_closed_ports_are_not_dialed_again() -> None:
    given = closed_facts()
    spec = {**MEMBERS_ONLY, "ingress": [{"from": [{"podSelector": {}}]}]}
    by_id = await probe(with_policies(given, network_policy("closed", spec)), caller=STRANGER)
    (finding,) = by_id["isolation"]
    assert finding.status is Status.OK
    assert finding.message.startswith("x/probe cannot connect to demo-head-abcde:")
    assert finding.message.endswith(", as NetworkPolicies say")
    assert set(by_id) == {"isolation"}


@on_both_loops
async def test_a_pod_that_policies_let_in_proves_nothing() -> None:
    member = changed(STRANGER, {"/metadata/namespace": "team-a"})
    (finding,) = await isolation(closed_facts(), member)
    assert finding.status is Status.UNKNOWN
    assert finding.message.startswith(
        "could not check whether the network enforces NetworkPolicies: "
        "NetworkPolicies may let team-a/probe reach demo-head-abcde:"
    )


@on_both_loops
async def test_a_pod_that_may_not_connect_proves_nothing() -> None:
    given = closed_facts()
    own = network_policy("no-egress", NO_EGRESS, "x")
    (finding,) = await isolation(with_policies(given, *given.network.policies, own))  # type: ignore[misc]  # it is a list
    assert finding.status is Status.UNKNOWN
    assert "NetworkPolicies of its own namespace" in finding.message


@on_both_loops
async def test_an_open_cluster_is_reported() -> None:
    (finding,) = await isolation(with_policies(closed_facts()))
    assert finding.status is Status.WARNING
    assert finding.message.startswith("no NetworkPolicy closes demo-head-abcde:")


@on_both_loops
async def test_only_a_pod_can_prove_it() -> None:
    (outside,) = await isolation(closed_facts(), None)
    assert outside.status is Status.UNKNOWN and "deploy/NETWORK.md" in outside.remediation
    section = await Target.of("team-a/demo", "", False).section(
        closed_facts(), Unavailable("you may not list pods", "ask")
    )
    assert "you may not list pods" in section.findings[0].message
    assert "isolation" not in await probe(closed_facts(), address="127.0.0.9", caller=STRANGER)


def test_the_address_of_this_machine_is_the_one_that_routes_to_the_head() -> None:
    target = Target.of("team-a/demo", "", False)
    assert target.head_address(closed_facts()) == "127.0.0.1"
    assert Target.of("team-a/demo", "127.0.0.9", False).head_address(closed_facts()) == ""
    assert local_address("127.0.0.1") == "127.0.0.1"
    assert local_address("not-an-address.invalid") == ""


@on_both_loops
async def test_ray_without_kuberay_is_closed_by_policies_too() -> None:
    head = live_objects.opted_in_pod("web-h", "head", "127.0.0.23")
    spec = {**MEMBERS_ONLY, "ingress": [{"from": [{"podSelector": {}}]}]}
    given = with_policies(facts({}, head), network_policy("closed", spec))
    given = replace(given, ray_objects={"rayclusters": []})
    (finding,) = (await probe(given, "django", caller=STRANGER))["isolation"]
    assert finding.message == (
        "x/probe cannot connect to web-h:6379, web-h:10001, web-h:8265, web-h:52365, "
        "as NetworkPolicies say"
    )
    assert "isolation" not in await probe(given, "django")
