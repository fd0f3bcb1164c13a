"""`raywarden check --probe` against real gRPC servers and whatever else can listen on a port."""

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import uvloop

from certs.seed import Seed
from policies.cluster.rbac import RbacGrants
from tests.support import live_objects
from tests.support.factory import Object, changed
from tests.support.grpc_servers import Files, grpc_server, http, says
from tests.support.kube_conversation import free_port
from webhook.check.dial import Answer, Heard, Port, get, greet
from webhook.check.findings import CheckFacts, Finding, Status, Unavailable
from webhook.check.probe import Target
from webhook.check.probe_verdict import ProbedPort, of_http
from webhook.kube.objects import ray_cluster_of
from webhook.ports import StoredSeed
from webhook.settings import SetupError

# gRPC looks at the clock itself.
NOW = datetime.now(UTC)
OTHER_SEED = Seed((live_objects.NEXT_GENERATION,))
CLUSTER = ray_cluster_of(live_objects.ray_cluster())
FILES = Files(live_objects.SEED, CLUSTER, NOW)
MANAGED = {"/metadata/labels": {"raywarden.io/tls": "managed"}}
NOTHING = Unavailable("not asked", "")


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """On the loop the command uses, and on Python's own."""

    def both() -> None:
        uvloop.run(test())
        asyncio.run(test())

    both.__name__, both.__doc__ = test.__name__, test.__doc__
    return both


def facts(
    ports: dict[str, int], *pods: Object, stored: Seed | None = live_objects.SEED, **spec: Any
) -> CheckFacts:
    """A cluster whose head has its ports where the test has them."""
    head = {"rayStartParams": {name: str(port) for name, port in ports.items()}}
    ray_cluster = changed(live_objects.ray_cluster(headGroupSpec=head, **spec), MANAGED)
    return CheckFacts(
        namespace="raywarden-system",
        now=NOW,
        version="0.1.0",
        server=NOTHING,
        deployed=None,
        services={},
        policy=None,
        rights=None,
        configurations={},
        seed=StoredSeed(stored.entries) if stored else None,
        namespaces=[live_objects.namespace()],
        ray_kinds=NOTHING,
        ray_objects={"rayclusters": [ray_cluster]},
        ray_pods=pods or [live_objects.pod()],
        operators=NOTHING,
        rbac=RbacGrants(),
        dry_run_namespace="",
        dry_runs={},
    )


async def probed(found: CheckFacts, name: str = "demo", **target: Any) -> dict[str, list[Finding]]:
    section = await Target.of(
        f"team-a/{name}", target.pop("address", ""), target.pop("all_pods", False)
    ).section(found)
    assert section.title == f"probe team-a/{name}"
    by_id: dict[str, list[Finding]] = {}
    for finding in section.findings:
        by_id.setdefault(finding.id, []).append(finding)
    return by_id


async def on_gcs(port: int, **more: Any) -> dict[str, Finding]:
    """What is found on the head's GCS port, where nothing else listens."""
    away = {
        name: free_port()
        for name in ("ray-client-server-port", "dashboard-port", "dashboard-agent-listen-port")
    }
    found = await probed(facts({"port": port, **away}, **more))
    return {id: findings[0] for id, findings in found.items() if f":{port}" in findings[0].message}


@run
async def test_mutual_tls_lets_in_members_alone() -> None:
    with grpc_server(FILES) as port:
        found = await on_gcs(port)
    assert {id: finding.status for id, finding in found.items()} == {
        "refuses-plaintext": Status.OK,
        "refuses-nobody": Status.OK,
        "refuses-stranger": Status.OK,
        "lets-in-member": Status.OK,
    }
    assert found["lets-in-member"].message == (
        f"demo-head-abcde:{port} lets in a certificate of this cluster, and shows one of its own for 127.0.0.1"
    )


@run
async def test_tls_that_asks_for_no_certificate_fails() -> None:
    with grpc_server(FILES, mutual=False) as port:
        found = await on_gcs(port)
    assert [finding.status for finding in found.values()] == [
        Status.OK,
        Status.FAILED,
        Status.FAILED,
        Status.OK,
    ]
    assert (
        found["refuses-nobody"].message
        == f"demo-head-abcde:{port} lets in a client without certificate"
    )
    assert "recreate the cluster" in found["refuses-nobody"].remediation


@run
async def test_plaintext_fails() -> None:
    with grpc_server(None) as port:
        found = await on_gcs(port)
    (finding,) = found.values()
    assert (finding.id, finding.status) == ("refuses-plaintext", Status.FAILED)
    assert finding.message == f"demo-head-abcde:{port} speaks plaintext: TLS is off"


@run
async def test_a_head_of_another_ca_or_address_is_no_member() -> None:
    for files in (
        Files(OTHER_SEED, CLUSTER, NOW),
        Files(live_objects.SEED, CLUSTER, NOW, "10.0.0.9"),
    ):
        with grpc_server(files) as port:
            found = await on_gcs(port)
        assert found["lets-in-member"].status is Status.FAILED
        assert (
            "shows a certificate that is not of this cluster's CA, or not for 127.0.0.1"
            in found["lets-in-member"].message
        )
    mixed = Files(live_objects.SEED, CLUSTER, NOW)
    mixed.bundle = Files(OTHER_SEED, CLUSTER, NOW).bundle
    with grpc_server(mixed) as port:
        found = await on_gcs(port)
    assert (
        "it trusts another CA" in found["lets-in-member"].message
        and found["lets-in-member"].status is Status.FAILED
    )


@run
async def test_nothing_listening_is_unknown_and_says_how_to_reach_it() -> None:
    port = free_port()
    found = await on_gcs(port)
    (finding,) = found.values()
    assert finding.status is Status.UNKNOWN
    assert (
        finding.message
        == f"demo-head-abcde:{port} cannot be reached at 127.0.0.1:{port}: Connection refused"
    )
    assert (
        "kubectl -n team-a port-forward pod/demo-head-abcde 6379 10001 8265 52365"
        in finding.remediation
    )
    assert "raywarden check --probe team-a/demo --address 127.0.0.1" in finding.remediation


@run
async def test_who_accepts_and_says_nothing_is_left_in_time() -> None:
    async with says(None) as port:
        start = time.monotonic()
        for context in (None, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
            heard = await greet(Port("127.0.0.1", port), context, seconds=0.2)
            assert heard.answer is Answer.SILENT
        assert (await get(Port("127.0.0.1", port), "/", seconds=0.2)).answer is Answer.SILENT
        assert time.monotonic() - start < 2
        found = await on_gcs(port)
        assert time.monotonic() - start < 6, "all dials are at once"
    assert {finding.status for finding in found.values()} == {Status.UNKNOWN}


@run
async def test_who_hangs_up_on_everybody_has_proved_nothing() -> None:
    """As `kubectl port-forward` does where nothing listens in the pod."""
    async with says(b"") as port:
        found = await on_gcs(port)
    assert {finding.status for finding in found.values()} == {Status.UNKNOWN} and len(found) == 4
    assert "hangs up, without a word of TLS" in found["refuses-plaintext"].message


@run
async def test_garbage_is_no_http2() -> None:
    for garbage in (b"\x00" * 200, b"\xff" * 200, http(400) * 5):
        async with says(garbage) as port:
            found = await on_gcs(port)
        assert Status.FAILED not in {finding.status for finding in found.values()}
        assert found["lets-in-member"].status is not Status.OK


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, Status.OK), (403, Status.OK), (200, Status.FAILED), (405, Status.FAILED), (404, Status.FAILED),
     (302, Status.UNKNOWN), (503, Status.UNKNOWN)],
)  # fmt: skip
def test_a_port_of_jobs_must_ask_for_a_token(status: int, expected: Status) -> None:
    async def main() -> None:
        async with says(http(status)) as port:
            ports = {"port": free_port(), "ray-client-server-port": free_port()}
            ports |= {"dashboard-port": port, "dashboard-agent-listen-port": port}
            found = await probed(facts(ports))
        dashboard, agent = found["asks-for-token"]
        assert dashboard.status is agent.status is expected
        assert "GET /api/jobs/" in dashboard.message or expected is Status.UNKNOWN
        assert "GET /api/job_agent/jobs/" in agent.message or expected is Status.UNKNOWN
        if expected is Status.FAILED:
            assert "authOptions: {mode: token}" in agent.remediation

    uvloop.run(main())


@run
async def test_a_forwarded_port_must_show_the_pods_own_address() -> None:
    for shown, expected in (("10.0.0.9", Status.OK), ("127.0.0.1", Status.FAILED)):
        with grpc_server(Files(live_objects.SEED, CLUSTER, NOW, shown)) as port:
            found = await probed(
                facts({"port": port}, live_objects.pod(address="10.0.0.9")), address="127.0.0.1"
            )
        assert found["lets-in-member"][0].status is expected


@run
async def test_a_name_that_is_none_is_said() -> None:
    found = await probed(facts({}), address=f"{64 * 'x'}.example")
    assert all(
        "there is no such name" in finding.message
        for findings in found.values()
        for finding in findings
    )


@run
async def test_workers_are_asked_so_many_and_no_more() -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(says(http(401)))
        agent = {"dashboard-agent-listen-port": str(port)}
        groups = [{"groupName": "w", "rayStartParams": agent}]
        workers = [live_objects.pod(f"w-{number}", "worker") for number in range(40)]
        ended = changed(live_objects.pod("gone", "worker"), {"/status/phase": "Failed"})
        found = facts(
            {}, live_objects.pod(address="127.0.0.1"), *workers, ended, workerGroupSpecs=groups
        )
        asked = await probed(found)
        assert "32 of 40 workers were dialled" in asked["workers"][0].message
        assert "and 27 more answer without a token with 401" in asked["asks-for-token"][-1].message
        asked = await probed(found, all_pods=True)
        assert "workers" not in asked and "and 35 more" in asked["asks-for-token"][-1].message
        asked = await probed(found, address="127.0.0.1")
        assert all(
            "w-" not in finding.message for findings in asked.values() for finding in findings
        )


@run
async def test_without_the_seed_the_rest_is_proved() -> None:
    for stored, missing in (
        (None, "the seed is in no Secret here"),
        (Unavailable("you may not", "ask"), "you may not"),
    ):
        with grpc_server(FILES) as port:
            found = await probed(replace(facts({"port": port}), seed=stored))
        assert found["refuses-stranger"][0].status is Status.OK
        assert (
            found["lets-in-member"][0].status is Status.UNKNOWN
            and missing in found["lets-in-member"][0].message
        )


@run
async def test_a_cluster_of_others_certificates_has_no_member_of_ours() -> None:
    own = {"/metadata/annotations": {"raywarden.io/tls-secret": "mine"}}
    head = ("port", "ray-client-server-port", "dashboard-port", "dashboard-agent-listen-port")
    base = facts({name: free_port() for name in head})
    (ray_cluster,) = base.ray_objects["rayclusters"]  # type: ignore[misc]  # it is listed
    for document in (
        live_objects.ray_cluster(tlsOptions={"enabled": True}),
        changed(dict(ray_cluster), own),
    ):
        changed_head = changed(
            document, {"/spec/headGroupSpec": ray_cluster["spec"]["headGroupSpec"]}
        )
        with grpc_server(FILES) as port:
            changed_head["spec"]["headGroupSpec"]["rayStartParams"]["port"] = str(port)
            found = await probed(replace(base, ray_objects={"rayclusters": [changed_head]}))
        assert found["lets-in-member"][0].status is Status.UNKNOWN
        assert (
            "not of our CA" in found["lets-in-member"][0].message
            or "Secret mine" in found["lets-in-member"][0].message
        )


@run
async def test_ray_without_kuberay_is_dialled_too() -> None:
    head, client = (
        live_objects.opted_in_pod("web-h", "head"),
        live_objects.opted_in_pod("web-c", "client"),
    )
    found = await probed(
        replace(facts({}, head, client), ray_objects={"rayclusters": []}),
        "django",
        address="127.0.0.9",
    )
    assert {
        finding.message.partition(":")[0] for findings in found.values() for finding in findings
    } <= {
        "web-h",
        "whether web-h",
    }


@run
async def test_what_cannot_be_dialled_is_said() -> None:
    found = await probed(facts({}, live_objects.pod("w", "worker"), live_objects.pod(address="")))
    assert found["head"][0].status is Status.FAILED
    found = await probed(replace(facts({}), ray_pods=Unavailable("you may not list pods", "ask")))
    assert found["pods"][0].status is Status.UNKNOWN
    with pytest.raises(SetupError, match="there is no RayCluster team-a/nowhere"):
        await probed(facts({}), "nowhere")
    for words in ("demo", "/demo", "team-a/"):
        with pytest.raises(SetupError, match="is not NAMESPACE/CLUSTER"):
            Target.of(words, "", False)


@pytest.mark.parametrize(("agent", "since"), [(False, "2.52.0"), (True, "2.54.0")])
def test_who_does_not_ask_is_told_which_ray_does(agent: bool, since: str) -> None:
    finding = of_http(
        ProbedPort("pod", Port("127.0.0.1", 1), ""), "/", Heard(Answer.HTTP, code=200), agent
    )
    assert finding.status is Status.FAILED and f"Ray {since})" in finding.remediation
