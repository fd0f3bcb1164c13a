"""No key, token or seed leaves its process, through any log, metric or response."""

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from certs.authority import cluster_authority, serving_authority
from certs.identity import Cluster
from tests.support import live_objects
from tests.support.init_container import PodVolumes
from tests.support.live_server import RunningServer, serving
from tests.support.secrecy import leaked

PODS = ("demo-head-abcde", "demo-worker-1", "web-0")


def test_the_search_for_secrets_finds_them() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        pem = key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
        assert leaked(f"before\n{pem}") == leaked(repr(pem)) == "a private key"
    jwt_part = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"x"}').decode().rstrip("=")
    assert leaked("fine", f"token={jwt_part}.{jwt_part}.{'s' * 40}") == "a service account token"
    assert leaked("Authorization: Bearer " + "x" * 43) == "a bearer token"
    harmless = (
        "-----BEGIN PRIVATE KEY-----",
        "Bearer wrong",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmg",
    )
    assert leaked(*harmless) is None


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[RunningServer, list[str]]]:
    """A server with debug logs after good and bad enrollments, and all responses it has given."""
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / live_objects.GENERATION.name).write_bytes(live_objects.GENERATION.secret)
    environment = {
        "RAYWARDEN_SEED_DIR": str(seed),
        "RAYWARDEN_LOG_LEVEL": "debug",
        "RAYWARDEN_RESYNC_SECONDS": "0.1",
    }
    with serving(environment, live_objects.objects()) as server:
        responses = [enrolled(server, pod, tmp_path / pod) for pod in PODS]
        (seed / "broken").write_bytes(live_objects.GENERATION.secret)
        with httpx.Client(base_url=server.enrollment, verify=server.trust) as client:
            for pod in PODS:
                responses += bad_requests(client, server.token(pod))
        responses.append(httpx.get(f"{server.operations}/metrics").text)
        yield server, responses


def bad_requests(client: httpx.Client, token: str) -> Iterator[str]:
    """The responses to invalid requests, some of which have the token in a wrong place."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for body in (b"{}", b'{"csr": "x"}', token.encode(), b" " * 40_000):
        yield client.post("/v1/certificates", content=body, headers=headers).text
    yield client.get(f"/{token}").text


def enrolled(server: RunningServer, pod: str, directory: Path) -> str:
    """Enroll a pod, first for a wrong address and then for its own; returns all output."""
    directory.mkdir()
    place = PodVolumes(directory, server.token(pod))
    own = "127.0.0.2" if pod == "demo-worker-1" else "127.0.0.1"
    outputs = [
        place.enroll(server.enrollment, server.ca_file.read_text(), address=address)[1]
        for address in ("10.0.0.1", own)
    ]
    return "".join(outputs) + place.log.read_text()


def test_no_output_contains_a_secret(busy: tuple[RunningServer, list[str]], tmp_path: Path) -> None:
    server, responses = busy
    server.stop()
    output = server.log_file.read_text() + "".join(responses)
    for expected in ("certificate issued", "enrollment refused", "raywarden_enrollments"):
        assert expected in output
    assert leaked(output) is None
    for message, secret in secrets(server, tmp_path).items():
        assert secret not in output, message


def secrets(server: RunningServer, folder: Path) -> dict[str, str]:
    """Every secret of this run, in the forms in which it could be printed."""
    seed = live_objects.GENERATION.secret
    forms = {
        "seed hex": seed.hex(),
        "seed base64": base64.b64encode(seed).decode(),
        "seed repr": repr(seed)[2:-1],
    }
    ray = Cluster("team-a", "demo", live_objects.CLUSTER_UID, live_objects.START)
    keys = {
        pod: load_pem_private_key((folder / pod / "tls" / "tls.key").read_bytes(), None)
        for pod in PODS
    }
    keys |= {"cluster CA": cluster_authority(live_objects.GENERATION, ray)._key}
    keys |= {"serving CA": serving_authority(live_objects.GENERATION)._key}
    for name, key in keys.items():
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        scalar = key.private_numbers().private_value
        forms |= {f"{name} decimal": str(scalar), f"{name} hex": f"{scalar:x}"}
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        forms[f"{name} base64"] = base64.b64encode(der).decode()[60:120]
    return forms | {f"token of {pod}": server.token(pod) for pod in PODS}
