"""The HTTPS server over a real socket, as the API server, the kubelet and Prometheus use it."""

import asyncio
import base64
import socket
import ssl
import time
from collections.abc import Iterator
from typing import BinaryIO

import httpx
import jsonpatch
import orjson
import pytest
from pydantic import ValidationError

from tests.support import factory
from tests.support.live_server import RunningServer, metric, raw, serving
from webhook import __version__
from webhook.settings import Settings

JSON = {"Content-Type": "application/json"}
POST = b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.admission, verify=server.trust, headers=JSON) as client:
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
    is_good = int(name[:2]) <= 4
    assert verdict["allowed"] is is_good
    if not is_good:
        assert (verdict["status"]["code"], verdict["status"]["reason"]) == (403, "Forbidden")
        assert "Fix: " in verdict["status"]["message"]


def test_the_init_container_of_a_kuberay_worker_gets_tls(client: httpx.Client) -> None:
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
def test_a_body_that_is_not_an_admission_review_gets_a_problem(
    server: RunningServer, body: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    with httpx.Client(base_url=server.admission, verify=server.trust) as client:
        response = client.post("/validate", content=body, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    problem = response.json()
    assert detail in problem["detail"]
    assert (problem["type"], problem["status"]) == ("about:blank", status)


def test_objects_nested_deeper_than_the_json_parser_allows_are_reviewed(
    client: httpx.Client,
) -> None:
    deep = b'{"f:a":' * 5000 + b"{}" + b"}" * 5000
    review = factory.review(
        factory.changed(factory.ray_cluster(), {"/metadata/managedFields": [{"fieldsV1": 4711}]})
    )
    body = orjson.dumps(review).replace(b"4711", deep)
    for path in ("/mutate", "/validate"):
        assert client.post(path, content=body).status_code == 200


def test_numbers_beyond_64_bits_are_accepted(client: httpx.Client) -> None:
    volume = {"name": "raywarden-tls", "emptyDir": {"sizeLimit": 1}}
    pod = factory.changed(factory.head_pod(), {"/spec/volumes": [volume]})
    body = orjson.dumps(factory.review(pod, "UPDATE", pod)).replace(
        b'"sizeLimit":1', b'"sizeLimit":' + b"9" * 40
    )
    for path in ("/mutate", "/validate"):
        assert client.post(path, content=body).status_code == 200


def test_a_charset_parameter_is_accepted(client: httpx.Client) -> None:
    review = orjson.dumps(factory.review(factory.ray_cluster()))
    response = client.post(
        "/mutate", content=review, headers={"Content-Type": "Application/JSON; charset=utf-8"}
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/mutate", 405), ("POST", "/other", 404), ("GET", "/metrics", 404)],
)
def test_other_methods_and_paths_get_a_problem(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)
    assert (response.status_code, response.headers["content-type"]) == (
        status,
        "application/problem+json",
    )


def test_tls_1_1_is_refused(server: RunningServer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        pytest.raises(ssl.SSLError),
        socket.create_connection(("127.0.0.1", server.admission_port), timeout=10) as plain,
    ):
        context.wrap_socket(plain)


def test_connections_are_kept_open_longer_than_the_api_server_keeps_them() -> None:
    assert Settings().keep_alive_seconds > 90
    with pytest.raises(ValidationError):
        Settings(keep_alive_seconds=90)


def test_one_connection_carries_many_reviews(server: RunningServer) -> None:
    body = orjson.dumps(factory.review(factory.ray_cluster()))
    with raw(server) as connection, connection.makefile("rb") as stream:
        for _ in range(20):
            connection.sendall(POST + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            _answer(stream)


def test_an_old_connection_is_closed_after_an_answer_that_announces_it() -> None:
    body = orjson.dumps(factory.review(factory.ray_cluster()))
    message = POST + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    with (
        serving({"RAYWARDEN_MAX_CONNECTION_SECONDS": "1"}) as running,
        raw(running) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(message)
        assert b"connection: close\r\n" not in _answer(stream)
        time.sleep(1.1)
        # The server does not close a connection while the API server may be sending a request.
        connection.sendall(message)
        assert b"connection: close\r\n" in _answer(stream)
        assert stream.read() == b""


def _answer(stream: BinaryIO) -> bytes:
    """The header of the next answer, which must be a decision; its body is read, too."""
    assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
    header = b""
    while (line := stream.readline()) != b"\r\n":
        header += line.lower()
    length = int(header.partition(b"content-length: ")[2].partition(b"\r")[0])
    assert orjson.loads(stream.read(length))["response"]["allowed"] is True
    return header


def test_head_and_body_of_an_answer_are_one_record_of_tls(server: RunningServer) -> None:
    """Two would be two system calls here, and wake up the API server twice."""
    body = orjson.dumps(factory.review(factory.ray_cluster()))
    with raw(server) as connection:
        connection.sendall(POST + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        # `recv` returns the content of one record at most.
        head, _, start = connection.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and start.startswith(b"{")


def test_a_client_that_waits_for_100_continue_gets_it_before_the_answer(
    server: RunningServer,
) -> None:
    body = orjson.dumps(factory.review(factory.ray_cluster()))
    with raw(server) as connection, connection.makefile("rb") as stream:
        head = POST + f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head)
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert stream.readline() == b"\r\n"
        connection.sendall(body)
        _answer(stream)


def test_eighty_concurrent_clients_are_answered(server: RunningServer) -> None:
    body = orjson.dumps(factory.review(factory.ray_cluster()))

    async def all_at_once() -> list[int]:
        limits = httpx.Limits(max_connections=80)
        async with httpx.AsyncClient(
            base_url=server.admission, verify=server.trust, headers=JSON, limits=limits
        ) as client:
            answers = await asyncio.gather(
                *(client.post("/mutate", content=body) for _ in range(400))
            )
            return [answer.status_code for answer in answers]

    assert asyncio.run(all_at_once()) == [200] * 400


def test_liveness_and_readiness_are_reported(server: RunningServer) -> None:
    assert httpx.get(f"{server.operations}/livez").text == "ok\n"
    assert httpx.get(f"{server.operations}/readyz").text == "ok\n"
    assert metric(server, "raywarden_ready") == 1


def test_version_memory_and_connections_are_in_the_metrics(server: RunningServer) -> None:
    assert metric(server, f'raywarden_build_info{{version="{__version__}"}}') == 1
    assert metric(server, "process_resident_memory_bytes") > 0
    connections = 'raywarden_connections{port="admission"}'
    with raw(server) as first, raw(server) as second:
        for connection in (first, second):
            connection.sendall(b"GET / HTTP/1.1\r\n")
        deadline = time.monotonic() + 5
        while metric(server, connections) < 2:
            assert time.monotonic() < deadline
        assert metric(server, 'raywarden_connections{port="operations"}') >= 1


def test_decisions_are_counted_and_logged_without_the_content_of_the_object(
    server: RunningServer, client: httpx.Client
) -> None:
    denied = (
        'raywarden_admission_requests_total{allowed="false",kind="RayCluster",'
        'operation="CREATE",webhook="validate"}'
    )
    by_rule = 'raywarden_rule_violations_total{action="deny",rule="no-literal-credentials"}'
    before, before_rule = metric(server, denied), metric(server, by_rule)
    review = factory.examples()["07-literal-keys"]
    review["request"]["uid"] = "count-me"
    client.post("/validate", content=orjson.dumps(review))
    assert metric(server, denied) == before + 1
    assert metric(server, by_rule) == before_rule + 1
    (event,) = [event for event in server.log() if event.get("uid") == "count-me"]
    assert (event["event"], event["level"], event["webhook"]) == ("admission", "info", "validate")
    assert (event["kind"], event["namespace"], event["name"]) == (
        "RayCluster",
        "ml-training",
        "etl",
    )
    assert "no-literal-credentials" in event["denied"]
    log = server.log_file.read_text()
    for secret in ("AKIA", "wJalr", "hunter2", "PRIVATE KEY"):
        assert secret not in log


def test_unknown_kinds_share_one_label_value(server: RunningServer, client: httpx.Client) -> None:
    for number in range(5):
        document = {"apiVersion": "example.com/v1", "kind": f"Kind{number}"}
        response = client.post("/mutate", content=orjson.dumps(factory.review(document)))
        assert response.json()["response"]["allowed"]
    text = httpx.get(f"{server.operations}/metrics").text
    assert 'kind="other"' in text and "Kind1" not in text
