"""`raywarden check --probe` finds out whether a port that runs jobs requires a token."""

import ssl
from contextlib import AsyncExitStack

import pytest
import uvloop

from tests.support import live_objects
from tests.support.factory import changed
from tests.support.grpc_servers import http, tcp_server
from tests.support.kube_conversation import free_port
from tests.webhook.check.probing import FILES, facts, on_both_loops, probe
from webhook.ca.serving_certificate import load_pem
from webhook.check.dial import Answer, DialResult, Port
from webhook.check.findings import Status
from webhook.check.probe_verdict import ProbedPort, http_finding


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, Status.OK),
        (403, Status.OK),
        (200, Status.FAILED),
        (405, Status.FAILED),
        (404, Status.FAILED),
        (302, Status.UNKNOWN),
        (503, Status.UNKNOWN),
    ],
)
def test_a_port_that_runs_jobs_must_require_a_token(status: int, expected: Status) -> None:
    async def main() -> None:
        async with tcp_server(http(status)) as port:
            ports = {"port": free_port(), "ray-client-server-port": free_port()}
            ports |= {"dashboard-port": port, "dashboard-agent-listen-port": port}
            findings = await probe(facts(ports))
        dashboard, agent = findings["requires-token"]
        assert dashboard.status is agent.status is expected
        assert "GET /api/jobs/" in dashboard.message or expected is Status.UNKNOWN
        assert "GET /api/job_agent/jobs/" in agent.message or expected is Status.UNKNOWN
        if expected is Status.FAILED:
            assert "authOptions: {mode: token}" in agent.remediation

    uvloop.run(main())


@on_both_loops
async def test_a_proxy_in_front_of_the_dashboard_speaks_https() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pem(context, FILES.key + FILES.certificate)
    annotations = {"raywarden.io/dashboard-authorization": "{}"}
    head = changed(live_objects.pod(), {"/metadata/annotations": annotations})
    async with tcp_server(http(401), context) as proxy, tcp_server(http(401)) as agent:
        ports = {"port": free_port(), "ray-client-server-port": free_port()}
        ports |= {"dashboard-port": proxy, "dashboard-agent-listen-port": agent}
        findings = await probe(facts(ports, head))
        assert [finding.status for finding in findings["requires-token"]] == [Status.OK, Status.OK]
        # Behind a forwarded port is the dashboard itself.
        ports["dashboard-port"] = agent
        findings = await probe(facts(ports, head), address="127.0.0.1")
        assert [finding.status for finding in findings["requires-token"]] == [Status.OK, Status.OK]


@on_both_loops
async def test_the_number_of_probed_workers_is_limited() -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(tcp_server(http(401)))
        agent = {"dashboard-agent-listen-port": str(port)}
        groups = [{"groupName": "w", "rayStartParams": agent}]
        workers = [live_objects.pod(f"w-{number}", "worker") for number in range(40)]
        ended = changed(live_objects.pod("gone", "worker"), {"/status/phase": "Failed"})
        head = live_objects.pod(address="127.0.0.1")
        cluster = facts({}, head, *workers, ended, workerGroupSpecs=groups)

        findings = await probe(cluster)
        assert "32 of 40 workers were dialed" in findings["workers"][0].message
        merged = findings["requires-token"][-1].message
        assert "and 27 more reject a request without a token" in merged

        findings = await probe(cluster, all_pods=True)
        assert "workers" not in findings
        assert "and 35 more" in findings["requires-token"][-1].message

        findings = await probe(cluster, address="127.0.0.1")
        for same_id in findings.values():
            assert all("w-" not in finding.message for finding in same_id)


@pytest.mark.parametrize(
    ("command", "on_loopback"),
    [
        (["ray", "start", "--head", "--block"], True),
        (["sh", "-c", "ray start --head --dashboard-host=127.0.0.1"], True),
        (["ray", "start", "--head", "--dashboard-host", "0.0.0.0"], False),
        (["sh", "-c", "ray start --head $OPTIONS"], False),
        (["/start-ray.sh"], False),
    ],
)
def test_a_dashboard_on_the_loopback_address_is_safe(command: list[str], on_loopback: bool) -> None:
    """Without KubeRay, which names another host, it listens there by default."""
    options = {"name": "OPTIONS", "value": "--dashboard-host='::'"}
    container = {"name": "ray", "command": command, "env": [options] * ("$" in command[-1])}
    head = changed(live_objects.pod(), {"/spec/containers": [container]})
    ports = {"dashboard-port": free_port(), "dashboard-agent-listen-port": free_port()}
    ports |= {"ray-client-server-port": free_port()}

    async def main() -> None:
        async with tcp_server(b"") as gcs:
            (dashboard, _) = (await probe(facts({**ports, "port": gcs}, head)))["requires-token"]
        assert dashboard.status is (Status.OK if on_loopback else Status.UNKNOWN)
        name = f"demo-head-abcde:{ports['dashboard-port']}"
        refuses = f"{name} refuses connections: the dashboard listens only on the loopback address"
        assert (dashboard.message == refuses) is on_loopback
        # Where Ray does not run, every port refuses connections.
        findings = await probe(facts({**ports, "port": free_port()}, head))
        assert findings["requires-token"][0].status is Status.UNKNOWN

    uvloop.run(main())


@pytest.mark.parametrize(("is_agent", "since"), [(False, "2.52.0"), (True, "2.54.0")])
def test_the_remediation_names_the_first_ray_with_tokens(is_agent: bool, since: str) -> None:
    port = ProbedPort("pod", Port("127.0.0.1", 1), "")
    finding = http_finding(port, "/", DialResult(Answer.HTTP, code=200), is_agent=is_agent)
    assert finding.status is Status.FAILED and f"Ray {since})" in finding.remediation


def test_the_remediation_without_kuberay_names_the_variables() -> None:
    port = ProbedPort("pod", Port("127.0.0.1", 8265), "")
    result = DialResult(Answer.HTTP, code=200)
    finding = http_finding(port, "/", result, is_agent=False, has_kuberay=False)
    assert finding.remediation == (
        "set RAY_AUTH_MODE: token and RAY_AUTH_TOKEN in every pod (Ray 2.52.0); "
        "close port 8265 with a NetworkPolicy"
    )
