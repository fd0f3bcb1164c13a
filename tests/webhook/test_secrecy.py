"""No key, token or seed leaves the process that holds it, on any of the ways out there are."""

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
from tests.support.init_container import Place
from tests.support.live_server import Live, serving
from tests.support.secrecy import leaked

PODS = ("demo-head-abcde", "demo-worker-1", "web-0")


def test_the_guard_itself_finds_what_it_looks_for() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        pem = key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
        assert leaked(f"before\n{pem}") == leaked(repr(pem)) == "a private key"
    part = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"x"}').decode().rstrip("=")
    assert leaked("fine", f"token={part}.{part}.{'s' * 40}") == "a service account token"
    assert leaked("Authorization: Bearer " + "x" * 43) == "a bearer token"
    assert (
        leaked(
            "-----BEGIN PRIVATE KEY-----",
            "Bearer wrong",
            "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmg",
        )
        is None
    )


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Live, list[str]]]:
    """A talkative server after enrollments good and bad; and what everybody who took part was told."""
    (seed := tmp_path / "seed").mkdir()
    (seed / live_objects.GENERATION.name).write_bytes(live_objects.GENERATION.secret)
    environment = {
        "RAYWARDEN_SEED_DIR": str(seed),
        "RAYWARDEN_LOG_LEVEL": "debug",
        "RAYWARDEN_RESYNC_SECONDS": "0.1",
    }
    with serving(environment, live_objects.objects()) as live:
        told = [enrolled(live, pod, tmp_path / pod) for pod in PODS]
        (seed / "broken").write_bytes(live_objects.GENERATION.secret)
        with httpx.Client(base_url=live.enrollment, verify=live.trust) as client:
            for pod in PODS:
                for body in (b"{}", b'{"csr": "x"}', live.token(pod).encode(), b" " * 40_000):
                    headers = {
                        "Authorization": f"Bearer {live.token(pod)}",
                        "Content-Type": "application/json",
                    }
                    told.append(client.post("/v1/certificates", content=body, headers=headers).text)
                told.append(client.get(f"/{live.token(pod)}").text)
        told.append(httpx.get(f"{live.operations}/metrics").text)
        yield live, told


def enrolled(live: Live, pod: str, directory: Path) -> str:
    """Enroll a pod, once for an address it has not and once well; gives everything that was said."""
    directory.mkdir()
    place, own = (
        Place(directory, live.token(pod)),
        "127.0.0.2" if pod == "demo-worker-1" else "127.0.0.1",
    )
    said = [
        place.enroll(live.enrollment, live.ca_file.read_text(), address=one)[1]
        for one in ("10.0.0.1", own)
    ]
    return "".join(said) + place.log.read_text()


def test_no_way_out_carries_a_secret(busy: tuple[Live, list[str]], tmp_path: Path) -> None:
    live, told = busy
    live.stop()
    said = live.log_file.read_text() + "".join(told)
    assert (
        "certificate issued" in said
        and "enrollment refused" in said
        and "raywarden_enrollments" in said
    )
    assert leaked(said) is None
    for message, secret in secrets(live, tmp_path).items():
        assert secret not in said, message


def secrets(live: Live, folder: Path) -> dict[str, str]:
    """Every secret of this run, in the forms it could be printed in."""
    seed = live_objects.GENERATION.secret
    found = {
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
        found |= {f"{name} decimal": str(scalar), f"{name} hex": f"{scalar:x}"}
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        found[f"{name} base64"] = base64.b64encode(der).decode()[60:120]
    return found | {f"token of {pod}": live.token(pod) for pod in PODS}
