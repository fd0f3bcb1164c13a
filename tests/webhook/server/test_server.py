"""The HTTPS server itself, over a real socket, as the API server and the kubelet meet it."""

import asyncio
import base64
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonpatch
import orjson
import pytest

from tests.support import factory
from tests.support.live_server import Live, metric, raw, serving
from webhook import __version__

JSON = {"Content-Type": "application/json"}
POST = b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with serving() as running:
        yield running


@pytest.fixture
def client(live: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.admission, verify=live.trust, headers=JSON) as client:
        yield client


@pytest.mark.parametrize("name", sorted(factory.examples()))
def test_every_example_is_answered_and_its_patch_applies(client: httpx.Client, name: str) -> None:
    review = factory.examples()[name]
    answer = client.post("/mutate?timeout=5s", content=orjson.dumps(review)).json()
    assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response = answer["response"]
    assert response["uid"] == review["request"]["uid"]
    assert response["allowed"] is True
    operations = orjson.loads(base64.b64decode(response.get("patch", "W10=")))
    review["request"]["object"] = jsonpatch.apply_patch(review["request"]["object"], operations)
    again = client.post("/mutate", content=orjson.dumps(review)).json()["response"]
    assert "patch" not in again and "patchType" not in again
    verdict = client.post("/validate", content=orjson.dumps(review)).json()["response"]
    good = int(name[:2]) <= 4
    assert verdict["allowed"] is good
    if not good:
        assert (verdict["status"]["code"], verdict["status"]["reason"]) == (403, "Forbidden")
        assert "Fix: " in verdict["status"]["message"]


def test_a_kuberay_worker_waits_for_its_head_over_tls(client: httpx.Client) -> None:
    review = factory.examples()["04-kuberay-worker-pod"]
    response = client.post("/mutate", content=orjson.dumps(review)).json()["response"]
    operations = orjson.loads(base64.b64decode(response["patch"]))
    pod = jsonpatch.apply_patch(review["request"]["object"], operations)
    enroll, wait = pod["spec"]["initContainers"]
    assert (enroll["name"], wait["name"]) == ("raywarden-enroll", "wait-gcs-ready")
    assert {"name": "RAY_USE_TLS", "value": "1"} in wait["env"]
    assert {"name": "raywarden-tls", "mountPath": "/etc/ray/tls", "readOnly": True} in wait[
        "volumeMounts"
    ]
    assert enroll["env"][2]["value"].startswith("-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize(
    ("body", "headers", "status", "detail"),
    [
        (b"", JSON, 400, "the body is not JSON"),
        (b"{", JSON, 400, "the body is not JSON"),
        (b"[" * 100_000, JSON, 400, "the body is not JSON"),
        (b'"\\ud800"', JSON, 400, "the body is not JSON"),
        (b"{}", JSON, 400, "not an admission.k8s.io/v1 AdmissionReview"),
        (b"null", JSON, 400, "not an admission.k8s.io/v1 AdmissionReview"),
        (
            b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{}}',
            JSON,
            400,
            "apiVersion",
        ),
        (b"{}", {"Content-Type": "text/plain"}, 415, "send application/json"),
        (b"{}", {"Content-Type": ""}, 415, "send application/json"),
    ],
)
def test_what_is_no_review_gets_a_problem(
    live: Live, body: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    with httpx.Client(base_url=live.admission, verify=live.trust) as client:
        response = client.post("/validate", content=body, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    problem = response.json()
    assert detail in problem["detail"]
    assert (problem["type"], problem["status"]) == ("about:blank", status)


def test_objects_nested_deeper_than_any_parser_goes_are_reviewed(client: httpx.Client) -> None:
    deep = b'{"f:a":' * 5000 + b"{}" + b"}" * 5000
    review = factory.review(
        factory.changed(factory.ray_cluster(), {"/metadata/managedFields": [{"fieldsV1": 4711}]})
    )
    body = orjson.dumps(review).replace(b"4711", deep)
    for path in ("/mutate", "/validate"):
        assert client.post(path, content=body).status_code == 200


def test_numbers_beyond_64_bits_come_and_go(client: httpx.Client) -> None:
    volume = {"name": "raywarden-tls", "emptyDir": {"sizeLimit": 1}}
    pod = factory.changed(factory.head_pod(), {"/spec/volumes": [volume]})
    body = orjson.dumps(factory.review(pod, "UPDATE", pod)).replace(
        b'"sizeLimit":1', b'"sizeLimit":' + b"9" * 40
    )
    for path in ("/mutate", "/validate"):
        assert client.post(path, content=body).status_code == 200


def test_charset_parameters_are_fine(client: httpx.Client) -> None:
    review = orjson.dumps(factory.review(factory.ray_cluster()))
    response = client.post(
        "/mutate", content=review, headers={"Content-Type": "Application/JSON; charset=utf-8"}
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/mutate", 405), ("POST", "/other", 404), ("GET", "/metrics", 404)],
)
def test_other_ways_lead_nowhere(client: httpx.Client, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert (response.status_code, response.headers["content-type"]) == (
        status,
        "application/problem+json",
    )


def test_tls_1_1_is_history(live: Live) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        pytest.raises(ssl.SSLError),
        socket.create_connection(("127.0.0.1", live.admission_port), timeout=10) as plain,
    ):
        context.wrap_socket(plain)


def test_connections_are_kept_longer_than_the_api_server_keeps_them() -> None:
    from pydantic import ValidationError

    from webhook.settings import Settings

    assert Settings().keep_alive_seconds > 90
    with pytest.raises(ValidationError):
        Settings(keep_alive_seconds=90)


def test_one_connection_carries_many_reviews(live: Live) -> None:
    body = orjson.dumps(factory.review(factory.ray_cluster()))
    with raw(live) as connection, connection.makefile("rb") as stream:
        for _ in range(20):
            connection.sendall(POST + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            assert orjson.loads(stream.read(length))["response"]["allowed"] is True


def test_eighty_callers_at_once(live: Live) -> None:
    body = orjson.dumps(factory.review(factory.ray_cluster()))

    async def all_at_once() -> list[int]:
        limits = httpx.Limits(max_connections=80)
        async with httpx.AsyncClient(
            base_url=live.admission, verify=live.trust, headers=JSON, limits=limits
        ) as client:
            answers = await asyncio.gather(
                *(client.post("/mutate", content=body) for _ in range(400))
            )
            return [answer.status_code for answer in answers]

    assert asyncio.run(all_at_once()) == [200] * 400


def test_health(live: Live) -> None:
    assert httpx.get(f"{live.operations}/livez").text == "ok\n"
    assert httpx.get(f"{live.operations}/readyz").text == "ok\n"
    assert metric(live, "raywarden_ready") == 1


def test_what_runs_and_who_is_connected_can_be_asked(live: Live) -> None:
    assert metric(live, f'raywarden_build_info{{version="{__version__}"}}') == 1
    assert metric(live, "process_resident_memory_bytes") > 0
    held = 'raywarden_connections{port="admission"}'
    with raw(live) as one, raw(live) as two:
        for connection in (one, two):
            connection.sendall(b"GET / HTTP/1.1\r\n")
        deadline = time.monotonic() + 5
        while metric(live, held) < 2:
            assert time.monotonic() < deadline
        assert metric(live, 'raywarden_connections{port="operations"}') >= 1


def test_decisions_are_counted_and_logged_without_a_word_of_the_object(
    live: Live, client: httpx.Client
) -> None:
    denied = 'raywarden_admission_requests_total{allowed="false",kind="RayCluster",operation="CREATE",webhook="validate"}'
    by_rule = 'raywarden_rule_violations_total{action="deny",rule="no-literal-credentials"}'
    before, before_rule = metric(live, denied), metric(live, by_rule)
    review = factory.examples()["07-literal-keys"]
    review["request"]["uid"] = "count-me"
    client.post("/validate", content=orjson.dumps(review))
    assert metric(live, denied) == before + 1
    assert metric(live, by_rule) == before_rule + 1
    (event,) = [event for event in live.log() if event.get("uid") == "count-me"]
    assert (event["event"], event["level"], event["webhook"]) == ("admission", "info", "validate")
    assert (event["kind"], event["namespace"], event["name"]) == (
        "RayCluster",
        "ml-training",
        "etl",
    )
    assert "no-literal-credentials" in event["denied"]
    assert not any(
        secret in live.log_file.read_text()
        for secret in ("AKIA", "wJalr", "hunter2", "PRIVATE KEY")
    )


def test_kinds_nobody_heard_of_share_one_label(live: Live, client: httpx.Client) -> None:
    for number in range(5):
        document = {"apiVersion": "example.com/v1", "kind": f"Kind{number}"}
        assert client.post("/mutate", content=orjson.dumps(factory.review(document))).json()[
            "response"
        ]["allowed"]
    text = httpx.get(f"{live.operations}/metrics").text
    assert 'kind="other"' in text and "Kind1" not in text


def test_sigterm_drains_and_ends_with_zero() -> None:
    with serving({"RAYWARDEN_DRAIN_SECONDS": "1"}) as live:
        body = orjson.dumps(factory.review(factory.ray_cluster()))
        with httpx.Client(base_url=live.admission, verify=live.trust, headers=JSON) as client:
            live.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 5
            while httpx.get(f"{live.operations}/readyz").status_code == 200:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            answer = client.post("/mutate", content=body)
            assert answer.status_code == 200, "refused while draining"
            assert answer.headers["connection"] == "close", (
                "the next call would come when we are gone"
            )
        assert live.process.wait(timeout=20) == 0
        events = [event["event"] for event in live.log()]
        assert events.index("draining") < events.index("stopped")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": "/usr/bin:/bin", "RAYWARDEN_HOST": "127.0.0.1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "webhook", *arguments],
        env=base,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_it_does_not_start_without_a_cluster(tmp_path: Path) -> None:
    ended = run("serve", HOME=str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        "raywarden: no Kubernetes configuration: in a pod, mount the service account's token"
    )


def test_it_does_not_start_with_a_wrong_policy(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n  tls-of: {mode: warn}\n")
    ended = run("serve", "--dev", RAYWARDEN_POLICY_FILE=str(policy))
    assert ended.returncode == 2
    assert (
        f"{policy}:2:3: rules.tls-of: no rule is called tls-of; did you mean tls-on?"
        in ended.stderr
    )


def test_it_does_not_start_with_wrong_settings() -> None:
    ended = run("serve", "--dev", RAYWARDEN_ADMISSION_PORT="many", RAYWARDEN_KEEP_ALIVE_SECONDS="5")
    assert ended.returncode == 2
    assert (
        "RAYWARDEN_ADMISSION_PORT: " in ended.stderr
        and "RAYWARDEN_KEEP_ALIVE_SECONDS: " in ended.stderr
    )


def test_it_does_not_start_on_a_port_that_is_taken(live: Live) -> None:
    others = {"RAYWARDEN_ENROLLMENT_PORT": "0", "RAYWARDEN_OPERATIONS_PORT": "0"}
    ended = run("serve", "--dev", RAYWARDEN_ADMISSION_PORT=str(live.admission_port), **others)
    assert ended.returncode == 2
    taken = f"raywarden: port {live.admission_port} cannot be opened (Address already in use)"
    assert f"{taken}: set RAYWARDEN_ADMISSION_PORT to another" in ended.stderr


def test_policy_and_namespaces_come_from_files(tmp_path: Path) -> None:
    policy, namespaces = tmp_path / "policy.yaml", tmp_path / "namespaces.yaml"
    policy.write_text("profiles: {enforce: privileged, warn: privileged}\n")
    namespaces.write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: strict, labels: {raywarden.io/enforce: baseline}}\n"
    )
    offender = factory.changed(
        factory.ray_cluster(), {"/spec/headGroupSpec/serviceType": "LoadBalancer"}
    )
    files = {"RAYWARDEN_POLICY_FILE": str(policy), "RAYWARDEN_OBJECTS_FILE": str(namespaces)}
    with (
        serving(files) as live,
        httpx.Client(base_url=live.admission, verify=live.trust, headers=JSON) as client,
    ):

        def allowed(namespace: str) -> Any:
            body = orjson.dumps(factory.review(offender, namespace=namespace))
            return client.post("/validate", content=body).json()["response"]["allowed"]

        assert allowed("loose") is True
        assert allowed("strict") is False
