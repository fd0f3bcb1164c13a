"""`raywarden check --probe` finds out whether a gRPC port requires mutual TLS."""

import ssl
import time
from dataclasses import replace

import pytest

from certs.seed import Seed
from tests.support import live_objects
from tests.support.factory import changed
from tests.support.grpc_servers import Files, grpc_server, http, tcp_server
from tests.support.kube_conversation import free_port
from tests.webhook.check.probing import (
    CLUSTER,
    FILES,
    NOW,
    facts,
    on_both_loops,
    probe,
    probe_gcs,
)
from webhook.check.dial import Answer, Port, dial_grpc, dial_http
from webhook.check.facts import Unavailable
from webhook.check.findings import Status
from webhook.check.probe import Target
from webhook.settings import SetupError

OTHER_SEED = Seed((live_objects.NEXT_GENERATION,))


@on_both_loops
async def test_mutual_tls_accepts_only_members() -> None:
    with grpc_server(FILES) as port:
        findings = await probe_gcs(port)
    assert {id: finding.status for id, finding in findings.items()} == {
        "rejects-plaintext": Status.OK,
        "rejects-no-certificate": Status.OK,
        "rejects-foreign": Status.OK,
        "accepts-member": Status.OK,
    }
    assert findings["accepts-member"].message == (
        f"demo-head-abcde:{port} accepts a certificate from this cluster's CA, "
        "and its own certificate is valid for 127.0.0.1"
    )


@on_both_loops
async def test_tls_without_client_certificates_fails() -> None:
    with grpc_server(FILES, mutual=False) as port:
        findings = await probe_gcs(port)
    assert [finding.status for finding in findings.values()] == [
        Status.OK,
        Status.FAILED,
        Status.FAILED,
        Status.OK,
    ]
    finding = findings["rejects-no-certificate"]
    assert finding.message == f"demo-head-abcde:{port} accepts a client without a certificate"
    assert "recreate the cluster" in finding.remediation


@on_both_loops
async def test_plaintext_fails() -> None:
    with grpc_server(None) as port:
        findings = await probe_gcs(port)
    (finding,) = findings.values()
    assert (finding.id, finding.status) == ("rejects-plaintext", Status.FAILED)
    assert finding.message == f"demo-head-abcde:{port} speaks plaintext: TLS is off"


@on_both_loops
async def test_a_head_with_another_ca_or_address_is_not_trusted() -> None:
    for files in (
        Files(OTHER_SEED, CLUSTER, NOW),
        Files(live_objects.SEED, CLUSTER, NOW, "10.0.0.9"),
    ):
        with grpc_server(files) as port:
            finding = (await probe_gcs(port))["accepts-member"]
        assert finding.status is Status.FAILED
        expected = "a certificate that is not from this cluster's CA, or not valid for 127.0.0.1"
        assert expected in finding.message


@on_both_loops
async def test_a_head_that_trusts_another_ca_fails() -> None:
    mixed = Files(live_objects.SEED, CLUSTER, NOW)
    mixed.bundle = Files(OTHER_SEED, CLUSTER, NOW).bundle
    with grpc_server(mixed) as port:
        finding = (await probe_gcs(port))["accepts-member"]
    assert "it trusts another CA" in finding.message
    assert finding.status is Status.FAILED


@on_both_loops
async def test_a_port_where_nothing_listens_is_unknown() -> None:
    port = free_port()
    findings = await probe_gcs(port)
    (finding,) = findings.values()
    assert finding.status is Status.UNKNOWN
    assert finding.message == (
        f"demo-head-abcde:{port} cannot be reached at 127.0.0.1:{port}: Connection refused"
    )
    forward = "kubectl -n team-a port-forward pod/demo-head-abcde 6379 10001 8265 52365"
    assert forward in finding.remediation
    assert "raywarden check --probe team-a/demo --address 127.0.0.1" in finding.remediation


@on_both_loops
async def test_a_silent_server_does_not_delay_the_probe() -> None:
    async with tcp_server(None) as port:
        address = Port("127.0.0.1", port)
        start = time.monotonic()
        for context in (None, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
            result = await dial_grpc(address, context, seconds=0.2)
            assert result.answer is Answer.SILENT
        assert (await dial_http(address, "/", seconds=0.2)).answer is Answer.SILENT
        assert time.monotonic() - start < 2
        findings = await probe_gcs(port)
        assert time.monotonic() - start < 6, "all dials are concurrent"
    assert {finding.status for finding in findings.values()} == {Status.UNKNOWN}


@on_both_loops
async def test_a_server_that_closes_every_connection_proves_nothing() -> None:
    """`kubectl port-forward` does that if nothing listens in the pod."""
    async with tcp_server(b"") as port:
        findings = await probe_gcs(port)
    assert {finding.status for finding in findings.values()} == {Status.UNKNOWN}
    assert len(findings) == 4
    closed = "it closes the connection without a TLS answer"
    assert closed in findings["rejects-plaintext"].message


@on_both_loops
async def test_garbage_is_not_http2() -> None:
    for garbage in (b"\x00" * 200, b"\xff" * 200, http(400) * 5):
        async with tcp_server(garbage) as port:
            findings = await probe_gcs(port)
        assert Status.FAILED not in {finding.status for finding in findings.values()}
        assert findings["accepts-member"].status is not Status.OK


@on_both_loops
async def test_a_forwarded_port_must_have_a_certificate_for_the_pods_own_address() -> None:
    pod = live_objects.pod(address="10.0.0.9")
    for address, expected in (("10.0.0.9", Status.OK), ("127.0.0.1", Status.FAILED)):
        with grpc_server(Files(live_objects.SEED, CLUSTER, NOW, address)) as port:
            findings = await probe(facts({"port": port}, pod), address="127.0.0.1")
        assert findings["accepts-member"][0].status is expected


@on_both_loops
async def test_a_name_that_dns_cannot_have_is_reported() -> None:
    by_id = await probe(facts({}), address=f"{64 * 'x'}.example")
    for findings in by_id.values():
        for finding in findings:
            assert "the name does not exist" in finding.message


@on_both_loops
async def test_without_the_seed_everything_else_is_checked() -> None:
    for stored, reason in (
        (None, "the seed is not in a Secret here"),
        (Unavailable("you may not", "ask"), "you may not"),
    ):
        with grpc_server(FILES) as port:
            findings = await probe(replace(facts({"port": port}), seed=stored))
        assert findings["rejects-foreign"][0].status is Status.OK
        member = findings["accepts-member"][0]
        assert member.status is Status.UNKNOWN and reason in member.message


@on_both_loops
async def test_a_cluster_with_certificates_of_others_has_no_member() -> None:
    own_secret = {"/metadata/annotations": {"raywarden.io/tls-secret": "mine"}}
    head = ("port", "ray-client-server-port", "dashboard-port", "dashboard-agent-listen-port")
    base = facts({name: free_port() for name in head})
    (ray_cluster,) = base.ray_objects["rayclusters"]  # type: ignore[misc]  # it is a list
    head_group = {"/spec/headGroupSpec": ray_cluster["spec"]["headGroupSpec"]}
    for document, reason in (
        (live_objects.ray_cluster(tlsOptions={"enabled": True}), "not from RayWarden's CA"),
        (changed(dict(ray_cluster), own_secret), "Secret mine"),
    ):
        with_ports = changed(document, head_group)
        with grpc_server(FILES) as port:
            with_ports["spec"]["headGroupSpec"]["rayStartParams"]["port"] = str(port)
            findings = await probe(replace(base, ray_objects={"rayclusters": [with_ports]}))
        member = findings["accepts-member"][0]
        assert member.status is Status.UNKNOWN and reason in member.message


@on_both_loops
async def test_ray_without_kuberay_is_probed_too() -> None:
    head = live_objects.opted_in_pod("web-h", "head")
    client = live_objects.opted_in_pod("web-c", "client")
    without_kuberay = replace(facts({}, head, client), ray_objects={"rayclusters": []})
    by_id = await probe(without_kuberay, "django", address="127.0.0.9")
    for findings in by_id.values():
        for finding in findings:
            message = finding.message.removeprefix("could not check whether ")
            assert message.startswith("web-h:")


@on_both_loops
async def test_a_cluster_that_cannot_be_probed_is_reported() -> None:
    findings = await probe(facts({}, live_objects.pod("w", "worker"), live_objects.pod(address="")))
    assert findings["head"][0].status is Status.FAILED
    no_pods = Unavailable("you may not list pods", "ask")
    findings = await probe(replace(facts({}), ray_pods=no_pods))
    assert findings["pods"][0].status is Status.UNKNOWN
    with pytest.raises(SetupError, match="there is no RayCluster team-a/nowhere"):
        await probe(facts({}), "nowhere")
    for text in ("demo", "/demo", "team-a/"):
        with pytest.raises(SetupError, match="is not NAMESPACE/CLUSTER"):
            Target.of(text, "", False)
