"""The init container's program, as a process, against the real server and faulty ones."""

import json
import os
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs.identity import Domains
from certs.seed import Seed
from tests.support import live_objects
from tests.support.factory import changed
from tests.support.init_container import ADDRESS, PodVolumes, always, problem, signer
from tests.support.live_server import RunningServer, serving
from webhook.agent.signer_client import tls_context
from webhook.ca.trust import Trust

POD = "demo-head-abcde"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    unowned = changed(live_objects.pod("spoof", uid="p"), {"/metadata/ownerReferences": []})
    with serving(
        {"RAYWARDEN_ENROLLMENTS_PER_MINUTE": "1000"}, [*live_objects.objects(), unowned]
    ) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, server: RunningServer) -> PodVolumes:
    return PodVolumes(tmp_path, server.token(POD))


def test_it_writes_key_certificate_and_ca_bundle_for_ray(
    place: PodVolumes, server: RunningServer
) -> None:
    code, output = place.enroll(server.enrollment, server.ca_file.read_text())
    assert (code, place.log.read_text()) == (0, "")
    assert output.startswith("enrolled 127.0.0.1 in ")
    assert output.endswith(" GMT\n"), "it ends with the certificate's end"
    assert sorted(file.name for file in place.tls.iterdir()) == ["ca.crt", "tls.crt", "tls.key"]
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in place.tls.iterdir()}
    assert modes == {"ca.crt": 0o444, "tls.crt": 0o444, "tls.key": 0o400}
    key = load_pem_private_key((place.tls / "tls.key").read_bytes(), None)
    leaf = x509.load_pem_x509_certificate((place.tls / "tls.crt").read_bytes())
    assert leaf.public_key() == key.public_key()


@pytest.mark.parametrize("mode", ["0400", "0440", "0444"])
def test_the_key_has_the_configured_mode_despite_the_umask(
    place: PodVolumes, server: RunningServer, mode: str
) -> None:
    before = os.umask(0o077)
    try:
        code, _ = place.enroll(server.enrollment, server.ca_file.read_text(), "--key-mode", mode)
    finally:
        os.umask(before)
    assert code == 0
    assert stat.S_IMODE((place.tls / "tls.key").stat().st_mode) == int(mode, 8)


def test_a_restarted_init_container_replaces_its_files(
    place: PodVolumes, server: RunningServer
) -> None:
    keys = []
    (place.tls / ".tls.key.new").write_text("left behind")
    for _ in range(2):
        assert place.enroll(server.enrollment, server.ca_file.read_text())[0] == 0
        keys.append((place.tls / "tls.key").read_bytes())
    assert keys[0] != keys[1]
    assert len(list(place.tls.iterdir())) == 3


def test_it_imports_neither_the_server_nor_a_kubernetes_client() -> None:
    listing = "import sys, webhook.agent.command; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {
        "fastapi",
        "starlette",
        "uvicorn",
        "uvloop",
        "kubernetes",
        "aiohttp",
        "pydantic",
        "httpx",
        "structlog",
        "typer",
        # Each takes as long as a tenth of the program or more.
        "cryptography.x509",
        "cryptography.hazmat.primitives.serialization",
        "dataclasses",
        "argparse",
        "http.client",
        "pathlib",
        "random",
    }
    assert not heavy & set(modules)


@pytest.mark.parametrize("arguments", [("--deadline", "0"), ("--key-mode", "0777"), ("--unknown",)])
def test_a_wrong_argument_ends_it_with_the_usage(
    place: PodVolumes, server: RunningServer, arguments: tuple[str, ...]
) -> None:
    code, output = place.enroll(server.enrollment, server.ca_file.read_text(), *arguments)
    assert code == 2
    assert output.startswith("usage: raywarden enroll ")
    assert not list(place.tls.iterdir())


def test_proxies_in_the_environment_are_not_used(place: PodVolumes, server: RunningServer) -> None:
    proxies = {name: "http://127.0.0.1:9" for name in ("https_proxy", "HTTPS_PROXY", "all_proxy")}
    assert place.enroll(server.enrollment, server.ca_file.read_text(), **proxies)[0] == 0


def test_a_refusal_ends_it_immediately_with_the_reason(
    tmp_path: Path, server: RunningServer
) -> None:
    place = PodVolumes(tmp_path, server.token("spoof"))
    code, output = place.enroll(server.enrollment, server.ca_file.read_text())
    reason = (
        "refused (403): the pod has the label ray.io/cluster: demo "
        "but is not owned by that RayCluster\n"
    )
    assert (code, output, place.log.read_text()) == (1, f"raywarden enroll: {reason}", reason)
    assert not list(place.tls.iterdir())


def test_a_certificate_without_the_pods_address_is_refused(
    place: PodVolumes, server: RunningServer
) -> None:
    code, _ = place.enroll(server.enrollment, server.ca_file.read_text(), address="10.0.0.99")
    assert code == 1
    reason = "the certificate does not contain this pod's IP address 10.0.0.99\n"
    assert place.log.read_text() == reason
    assert not list(place.tls.iterdir())


@pytest.mark.parametrize(
    ("url", "address", "reason"),
    [
        (
            "http://localhost:1",
            ADDRESS,
            "RAYWARDEN_SIGNER_URL is not an https URL: http://localhost:1\n",
        ),
        (
            "https://localhost:1",
            ADDRESS,
            "RAYWARDEN_SIGNER_CA does not contain a PEM certificate\n",
        ),
        (
            "https://localhost:1",
            "nowhere",
            "RAYWARDEN_POD_IP is not an IP address: 'nowhere'\n",
        ),
        (
            "https://h:abc",
            ADDRESS,
            "RAYWARDEN_SIGNER_URL is not an https URL: https://h:abc\n",
        ),
        (
            "https://h:99999",
            ADDRESS,
            "RAYWARDEN_SIGNER_URL is not an https URL: https://h:99999\n",
        ),
        (
            "https://h/a b",
            ADDRESS,
            "RAYWARDEN_SIGNER_URL is not an https URL: https://h/a b\n",
        ),
        ("https://[::1", ADDRESS, "RAYWARDEN_SIGNER_URL is not an https URL: https://[::1\n"),
    ],
)
def test_a_wrong_setting_ends_it_immediately(
    place: PodVolumes, url: str, address: str, reason: str
) -> None:
    code, _ = place.enroll(url, "not PEM", address=address)
    assert (code, place.log.read_text()) == (1, reason)


def test_missing_settings_are_reported_together(place: PodVolumes) -> None:
    code, _ = place.enroll("", "\n", address="")
    reason = "not set: RAYWARDEN_SIGNER_URL, RAYWARDEN_SIGNER_CA, RAYWARDEN_POD_IP\n"
    assert (code, place.log.read_text()) == (1, reason)


def foreign_ca() -> str:
    trust = Trust(None, Domains(), 1)
    trust.adopt(Seed((live_objects.NEXT_GENERATION,)))
    return trust.serving_ca.decode()


def test_it_sends_nothing_to_a_server_it_does_not_trust(
    place: PodVolumes, server: RunningServer
) -> None:
    code, _ = place.enroll(server.enrollment, foreign_ca(), "--deadline", "1")
    assert code == 1
    untrusted = f"no certificate within 1 s: {server.enrollment}: its certificate is not trusted: "
    assert place.log.read_text().startswith(untrusted)


def test_a_failed_write_leaves_no_draft_behind(place: PodVolumes, server: RunningServer) -> None:
    (place.tls / "tls.crt").mkdir()
    code, _ = place.enroll(server.enrollment, server.ca_file.read_text())
    assert (code, place.log.read_text()) == (
        1,
        f"{place.tls / 'tls.crt'} cannot be written: Is a directory\n",
    )
    assert sorted(file.name for file in place.tls.iterdir()) == ["ca.crt", "tls.crt"]


def test_a_missing_folder_is_named(place: PodVolumes, server: RunningServer) -> None:
    place.tls.rmdir()
    code, _ = place.enroll(server.enrollment, server.ca_file.read_text())
    assert (code, place.log.read_text()) == (1, f"{place.tls} is not a folder\n")


def test_a_port_that_does_not_offer_enrollment_is_named(
    place: PodVolumes, server: RunningServer
) -> None:
    code, _ = place.enroll(server.admission, server.ca_file.read_text())
    assert code == 1
    assert place.log.read_text() == (
        f"{server.admission} does not offer enrollment: "
        "set RAYWARDEN_SIGNER_URL to the enrollment port\n"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"certificate": 1, "caBundle": 2}',
        b"\xff",
        b"<html>",
        b"[" * 100_000,
    ],
)
def test_a_response_from_another_server_is_refused(place: PodVolumes, body: bytes) -> None:
    with signer(always(body)) as (url, ca, _):
        code, _ = place.enroll(url, ca, "--deadline", "1")
    assert (code, place.log.read_text()) == (
        1,
        "no certificate within 1 s: the response is not from RayWarden\n",
    )


def test_a_wrong_certificate_is_not_written(place: PodVolumes, server: RunningServer) -> None:
    assert place.enroll(server.enrollment, server.ca_file.read_text())[0] == 0
    chain, bundle = ((place.tls / name).read_text() for name in ("tls.crt", "ca.crt"))
    before = {file.name: file.read_bytes() for file in place.tls.iterdir()}
    answers = [
        ({"certificate": chain, "caBundle": bundle}, "the certificate belongs to another key"),
        ({"certificate": "", "caBundle": bundle}, "cannot be read"),
    ]
    for answer, reason in answers:
        with signer(always(json.dumps(answer).encode())) as (url, ca, _):
            code, _ = place.enroll(url, ca)
        assert code == 1
        assert reason in place.log.read_text()
    assert {file.name: file.read_bytes() for file in place.tls.iterdir()} == before


def test_the_servers_reason_becomes_one_printable_line(place: PodVolumes) -> None:
    with signer(lambda n: (403, {}, problem("a\nb\x1b[31m" + "x" * 5000))) as (url, ca, _):
        place.enroll(url, ca)
    message = place.log.read_text()
    assert message.startswith("refused (403): a b [31mxxx")
    assert message.count("\n") == 1 and len(message) < 1100


def test_tls_1_1_is_not_used_and_only_the_given_ca_is_trusted(place: PodVolumes) -> None:
    trust = Trust(None, Domains(), 1)
    trust.adopt(live_objects.SEED)
    context = tls_context(trust.serving_ca.decode())
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    assert len(context.get_ca_certs()) == 1, "no CA but the given one"
