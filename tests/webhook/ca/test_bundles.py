"""The public CAs of a cluster over a real socket, for programs that verify its certificates."""

import base64
from collections.abc import Iterator

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs.spiffe import spiffe_bundle
from tests.support import live_objects
from tests.support.live_server import RunningServer, serving

PEM = "/v1/bundles/team-a/demo"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving(objects=live_objects.objects()) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.enrollment, verify=server.trust) as client:
        yield client


def test_anyone_gets_the_cas_of_a_ray_cluster(client: httpx.Client) -> None:
    response = client.get(PEM)
    assert response.headers["content-type"] == "application/pem-certificate-chain"
    (authority,) = x509.load_pem_x509_certificates(response.content)
    assert authority.subject.rfc4514_string() == "CN=demo,OU=team-a,O=RayWarden"
    assert client.get(f"{PEM}/spiffe").json() == spiffe_bundle(response.content)


def test_a_spiffe_bundle_holds_the_certificate_and_its_key(client: httpx.Client) -> None:
    (authority,) = x509.load_pem_x509_certificates(client.get(PEM).content)
    document = client.get(f"{PEM}/spiffe").json()
    (key,) = document["keys"]
    assert (key["kty"], key["crv"], key["use"]) == ("EC", "P-256", "x509-svid")
    (encoded,) = key["x5c"]
    assert x509.load_der_x509_certificate(base64.b64decode(encoded)) == authority
    public_key = authority.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    point = public_key.public_numbers()
    for name, number in (("x", point.x), ("y", point.y)):
        assert int.from_bytes(base64.urlsafe_b64decode(key[name] + "=")) == number
    assert document["spiffe_refresh_hint"] > 0


@pytest.mark.parametrize(
    "path",
    [
        "/v1/bundles/team-a/nothing",
        "/v1/bundles/nowhere/demo",
        "/v1/bundles/team-a/django",
        "/v1/bundles/team-a",
        "/v1/bundles/team-a/demo/pem",
        f"/v1/bundles/team-a/{'x' * 5000}",
        "/v1/bundles/team-a/demo%00",
    ],
)
def test_every_other_name_gets_the_same_answer(path: str, client: httpx.Client) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()["detail"]) == (404, "Not Found")


def test_other_methods_are_refused(client: httpx.Client) -> None:
    assert client.post(PEM).status_code == 405


def test_one_address_cannot_ask_without_end(server: RunningServer) -> None:
    with httpx.Client(base_url=server.enrollment, verify=server.trust) as client:
        statuses = [client.get(PEM).status_code for _ in range(80)]
        refused = client.get(PEM)
    assert set(statuses) == {200, 429} and refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
