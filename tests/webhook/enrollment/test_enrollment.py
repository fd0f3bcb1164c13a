"""Enrollment over a real socket, by pods of Ray clusters and by others."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import live_objects
from tests.support.factory import changed
from tests.support.live_server import RunningServer, metric, serving
from webhook.enrollment.wire import refusal
from webhook.ports import UnavailableError

PATH = "/v1/certificates"


def csr(key: ec.EllipticCurvePrivateKey | None = None) -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key or KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


KEY = ec.generate_private_key(ec.SECP256R1())
BODY = {"csr": csr()}


def objects() -> list[Any]:
    """The usual cluster, and pods that must not enroll."""
    unowned = changed(
        live_objects.pod("unowned", uid="s"),
        {"/metadata/labels": {}, "/metadata/ownerReferences": []},
    )
    spoof = changed(live_objects.pod("spoof", uid="p"), {"/metadata/ownerReferences": []})
    orphan = live_objects.pod("orphan", uid="o", cluster="gone", cluster_uid="gone")
    return [
        *live_objects.objects(),
        unowned,
        spoof,
        orphan,
        live_objects.pod("nowhere", address="", uid="n"),
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    environment = {
        "RAYWARDEN_ADDRESS_WAIT_SECONDS": "0.2",
        "RAYWARDEN_ENROLLMENTS_PER_MINUTE": "1000",
    }
    with serving(environment, objects()) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.enrollment, verify=server.trust) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_pod_gets_a_chain_and_a_bundle_that_verify(
    server: RunningServer, client: httpx.Client
) -> None:
    response = client.post(PATH, json=BODY, headers=bearer(server.token("demo-head-abcde")))
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    answer = response.json()
    (leaf,) = x509.load_pem_x509_certificates(answer["certificate"].encode())
    (authority,) = x509.load_pem_x509_certificates(answer["caBundle"].encode())
    leaf.verify_directly_issued_by(authority)
    assert leaf.public_key() == KEY.public_key()
    assert leaf.not_valid_after_utc.isoformat() == answer["notAfter"]


def test_pods_of_one_cluster_share_a_ca_that_others_do_not_have(
    server: RunningServer, client: httpx.Client
) -> None:
    pods = ("demo-head-abcde", "demo-worker-1", "web-0", "web-client")
    bundles = [
        client.post(PATH, json=BODY, headers=bearer(server.token(pod))).json()["caBundle"]
        for pod in pods
    ]
    assert bundles[0] == bundles[1] != bundles[2] == bundles[3]


@pytest.mark.parametrize(
    ("pod", "status", "detail"),
    [
        ("unowned", 403, "does not belong to a Ray cluster"),
        ("spoof", 403, "is not owned by that RayCluster"),
        ("orphan", 403, "the RayCluster gone that owns the pod no longer exists"),
        ("nowhere", 503, "does not know the pod's IP address yet"),
    ],
)
def test_a_refusal_has_a_reason(
    server: RunningServer, client: httpx.Client, pod: str, status: int, detail: str
) -> None:
    response = client.post(PATH, json=BODY, headers=bearer(server.token(pod)))
    assert (response.status_code, response.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert detail in response.json()["detail"]
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Basic dXNlcjpw",
        "Bearer wrong",
        "Bearer a b",
        "BEARER wrong",
        "bearer é",
    ],
)
def test_every_invalid_token_gets_the_same_answer(client: httpx.Client, header: str | None) -> None:
    headers = {} if header is None else {b"Authorization": header.encode()}
    response = client.post(PATH, json=BODY, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="raywarden"'
    assert response.json()["detail"] == (
        "send a service account token of this pod, for the audience raywarden.io, as bearer token"
    )


@pytest.mark.parametrize(
    ("content", "media_type", "status", "detail"),
    [
        (b"", "application/json", 400, "the body must be"),
        (b"{}", "application/json", 400, "the body must be"),
        (b"[]", "application/json", 400, "the body must be"),
        (b'{"csr": 1}', "application/json", 400, "the body must be"),
        (b'{"csr": ""}', "application/json", 400, "the body must be"),
        (b'{"csr": "\\ud800"}', "application/json", 400, "the body must be"),
        (b'{"csr": "x", "names": ["victim"]}', "application/json", 400, "the body must be"),
        (b'{"csr": "x"}', "application/json", 422, "the CSR is not a PKCS #10 request in PEM form"),
        (b'{"csr": "x"}', "text/plain", 415, "send application/json"),
        (b" " * 40_000, "application/json", 413, "the limit is 32768 bytes"),
    ],
)
def test_a_body_that_is_not_an_enrollment_gets_a_problem(
    server: RunningServer,
    client: httpx.Client,
    content: bytes,
    media_type: str,
    status: int,
    detail: str,
) -> None:
    headers = {**bearer(server.token("demo-head-abcde")), "Content-Type": media_type}
    response = client.post(PATH, content=content, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert response.json()["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", PATH, 405), ("POST", "/mutate", 404), ("GET", "/", 404)]
)
def test_other_methods_and_paths_are_refused(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    assert client.request(method, path).status_code == status


def test_the_admission_port_does_not_enroll(server: RunningServer) -> None:
    with httpx.Client(base_url=server.admission, verify=server.trust) as admission:
        headers = bearer(server.token("demo-head-abcde"))
        assert admission.post(PATH, json=BODY, headers=headers).status_code == 404


def count(server: RunningServer, outcome: str) -> float:
    return metric(server, f'raywarden_enrollments_total{{outcome="{outcome}"}}')


def test_outcomes_are_counted_and_logged(server: RunningServer, client: httpx.Client) -> None:
    outcomes = {"issued": "demo-worker-2", "forbidden": "unowned"}
    before = {outcome: count(server, outcome) for outcome in outcomes}
    for pod in outcomes.values():
        client.post(PATH, json=BODY, headers=bearer(server.token(pod)))
    for outcome in outcomes:
        assert count(server, outcome) == before[outcome] + 1
    assert metric(server, "raywarden_ca_cache_size") >= 1
    (event,) = [event for event in server.log() if event.get("pod") == "demo-worker-2"]
    assert (event["event"], event["cluster"], event["role"]) == (
        "certificate issued",
        "demo",
        "worker",
    )
    expiry = metric(server, 'raywarden_certificate_expiration_timestamp_seconds{kind="serving"}')
    assert expiry > time.time()


def test_an_unavailable_api_server_is_retried_and_its_address_not_disclosed() -> None:
    answer = refusal(
        UnavailableError("get pods: the API server cannot be reached at 10.96.0.1:443")
    )
    assert (answer.status, answer.headers, answer.outcome) == (
        503,
        {"Retry-After": "2"},
        "unavailable",
    )
    assert answer.detail == "the API server is unavailable"
    assert "10.96.0.1" in answer.reason, "the operator reads it in the log"


def test_a_pod_over_its_limit_gets_429_and_others_do_not() -> None:
    with (
        serving({"RAYWARDEN_ENROLLMENTS_PER_MINUTE": "2"}, live_objects.objects()) as server,
        httpx.Client(base_url=server.enrollment, verify=server.trust) as client,
    ):
        headers = bearer(server.token("demo-head-abcde"))
        answers = [client.post(PATH, json=BODY, headers=headers) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 1 <= int(answers[2].headers["retry-after"]) <= 30
        other_headers = bearer(server.token("demo-worker-1"))
        assert client.post(PATH, json=BODY, headers=other_headers).status_code == 200


def test_two_servers_with_one_seed_issue_from_one_ca(tmp_path: Any) -> None:
    (tmp_path / "20260101T000000Z").write_bytes(bytes(range(32)))
    environment = {"RAYWARDEN_SEED_DIR": str(tmp_path)}
    with (
        serving(environment, live_objects.objects()) as first,
        serving(environment, live_objects.objects()) as second,
    ):
        answers = []
        for server, pod in ((first, "demo-head-abcde"), (second, "demo-worker-1")):
            with httpx.Client(base_url=server.enrollment, verify=first.trust) as client:
                answers.append(
                    client.post(PATH, json=BODY, headers=bearer(server.token(pod))).json()
                )
    assert answers[0]["caBundle"] == answers[1]["caBundle"]
    authority = x509.load_pem_x509_certificate(answers[0]["caBundle"].encode())
    for answer in answers:
        x509.load_pem_x509_certificate(answer["certificate"].encode()).verify_directly_issued_by(
            authority
        )


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[RunningServer]:
    """A server of its own: so many refusals would use up the limit for the other tests."""
    with serving(objects=objects()) as running:
        yield running


@settings(max_examples=50)
@given(st.binary(max_size=300), st.text(max_size=300))
def test_arbitrary_requests_are_refused_without_an_error(
    fuzzed: RunningServer, content: bytes, token: str
) -> None:
    json = {b"Content-Type": b"application/json"}
    arbitrary_token = {**json, b"Authorization": b"Bearer " + token.encode()}
    valid_token = {**json, b"Authorization": b"Bearer " + fuzzed.token("demo-head-abcde").encode()}
    with httpx.Client(base_url=fuzzed.enrollment, verify=fuzzed.trust) as client:
        try:
            response = client.post(PATH, content=content, headers=arbitrary_token)
        except httpx.LocalProtocolError:
            return
        except httpx.RemoteProtocolError:
            assert any(not character.isprintable() for character in token)
            return
        assert response.status_code in (400, 401, 429)
        answer = client.post(PATH, content=content, headers=valid_token)
        assert answer.status_code in (400, 422, 429)
        assert client.post("/other").status_code == 404
