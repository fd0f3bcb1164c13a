"""The init container's program, as a process, against the real server and against bad ones."""

import json
import os
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs.identity import Domains
from certs.seed import Seed
from tests.support import live_objects
from tests.support.factory import changed
from tests.support.init_container import ADDRESS, Place, always, problem, signer
from tests.support.live_server import Live, serving
from webhook.ca.trust import Trust

POD = "demo-head-abcde"


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    stranger = changed(live_objects.pod("spoof", uid="p"), {"/metadata/ownerReferences": []})
    with serving(
        {"RAYWARDEN_ENROLLMENTS_PER_MINUTE": "1000"}, [*live_objects.objects(), stranger]
    ) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, live: Live) -> Place:
    return Place(tmp_path, live.token(POD))


def test_it_leaves_key_chain_and_bundle_for_ray_to_read(place: Place, live: Live) -> None:
    code, said = place.enroll(live.enrollment, live.ca_file.read_text())
    assert (code, place.log.read_text()) == (0, "")
    assert said.startswith("enrolled 127.0.0.1 in ") and "the certificate ends 20" in said
    assert sorted(file.name for file in place.tls.iterdir()) == ["ca.crt", "tls.crt", "tls.key"]
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in place.tls.iterdir()}
    assert modes == {"ca.crt": 0o444, "tls.crt": 0o444, "tls.key": 0o400}
    key = load_pem_private_key((place.tls / "tls.key").read_bytes(), None)
    leaf = x509.load_pem_x509_certificate((place.tls / "tls.crt").read_bytes())
    assert leaf.public_key() == key.public_key()


@pytest.mark.parametrize("mode", ["0400", "0440", "0444"])
def test_the_key_has_the_mode_it_was_told_whatever_the_umask(
    place: Place, live: Live, mode: str
) -> None:
    before = os.umask(0o077)
    try:
        code, _ = place.enroll(live.enrollment, live.ca_file.read_text(), "--key-mode", mode)
    finally:
        os.umask(before)
    assert code == 0
    assert stat.S_IMODE((place.tls / "tls.key").stat().st_mode) == int(mode, 8)


def test_a_restarted_init_container_replaces_what_is_there(place: Place, live: Live) -> None:
    keys = []
    (place.tls / ".tls.key.new").write_text("left behind")
    for _ in range(2):
        assert place.enroll(live.enrollment, live.ca_file.read_text())[0] == 0
        keys.append((place.tls / "tls.key").read_bytes())
    assert keys[0] != keys[1]
    assert len(list(place.tls.iterdir())) == 3


def test_it_imports_neither_server_nor_client() -> None:
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
    }
    assert not heavy & set(modules)


def test_proxies_in_the_environment_are_not_asked(place: Place, live: Live) -> None:
    proxies = {name: "http://127.0.0.1:9" for name in ("https_proxy", "HTTPS_PROXY", "all_proxy")}
    assert place.enroll(live.enrollment, live.ca_file.read_text(), **proxies)[0] == 0


def test_a_refusal_ends_it_at_once_with_the_reason(tmp_path: Path, live: Live) -> None:
    place = Place(tmp_path, live.token("spoof"))
    code, said = place.enroll(live.enrollment, live.ca_file.read_text())
    reason = "refused (403): the pod has the label ray.io/cluster: demo but is not owned by that RayCluster\n"
    assert (code, said, place.log.read_text()) == (1, f"raywarden enroll: {reason}", reason)
    assert not list(place.tls.iterdir())


def test_an_address_the_certificate_does_not_hold_ends_it(place: Place, live: Live) -> None:
    code, _ = place.enroll(live.enrollment, live.ca_file.read_text(), address="10.0.0.99")
    assert code == 1
    assert place.log.read_text() == "the certificate does not hold this pod's address 10.0.0.99\n"
    assert not list(place.tls.iterdir())


@pytest.mark.parametrize(
    ("url", "ca", "address", "reason"),
    [
        (
            "http://localhost:1",
            "no PEM",
            ADDRESS,
            "RAYWARDEN_SIGNER_URL is no https URL: http://localhost:1\n",
        ),
        (
            "https://localhost:1",
            "no PEM",
            ADDRESS,
            "RAYWARDEN_SIGNER_CA holds no certificate in PEM form\n",
        ),
        (
            "https://localhost:1",
            "no PEM",
            "nowhere",
            "RAYWARDEN_POD_IP is no IP address: 'nowhere'\n",
        ),
        ("", "\n", "", "not set: RAYWARDEN_SIGNER_URL, RAYWARDEN_SIGNER_CA, RAYWARDEN_POD_IP\n"),
        (
            "https://h:abc",
            "no PEM",
            ADDRESS,
            "RAYWARDEN_SIGNER_URL is no https URL: https://h:abc\n",
        ),
        (
            "https://h:99999",
            "no PEM",
            ADDRESS,
            "RAYWARDEN_SIGNER_URL is no https URL: https://h:99999\n",
        ),
        ("https://[::1", "no PEM", ADDRESS, "RAYWARDEN_SIGNER_URL is no https URL: https://[::1\n"),
    ],
)
def test_wrong_settings_end_it_at_once(
    place: Place, url: str, ca: str, address: str, reason: str
) -> None:
    code, _ = place.enroll(url, ca, address=address)
    assert (code, place.log.read_text()) == (1, reason)


def foreign_ca() -> str:
    trust = Trust(None, Domains(), 1)
    trust.adopt(Seed((live_objects.NEXT_GENERATION,)))
    return trust.serving_ca.decode()


def test_it_gives_up_at_its_deadline_and_says_why(place: Place) -> None:
    code, _ = place.enroll("https://localhost:1", foreign_ca(), "--deadline", "1")
    assert code == 1
    assert (
        place.log.read_text()
        == "no certificate within 1 s: https://localhost:1: Connection refused\n"
    )


def test_it_talks_to_nobody_but_whom_it_was_told_to_trust(place: Place, live: Live) -> None:
    code, _ = place.enroll(live.enrollment, foreign_ca(), "--deadline", "1")
    assert code == 1
    untrusted = f"no certificate within 1 s: {live.enrollment}: its certificate is not trusted: "
    assert place.log.read_text().startswith(untrusted)


def test_what_cannot_be_written_leaves_nothing_behind(place: Place, live: Live) -> None:
    (place.tls / "tls.crt").mkdir()
    code, _ = place.enroll(live.enrollment, live.ca_file.read_text())
    assert (code, place.log.read_text()) == (
        1,
        f"{place.tls / 'tls.crt'} cannot be written: Is a directory\n",
    )
    assert sorted(file.name for file in place.tls.iterdir()) == ["ca.crt", "tls.crt"]


def test_without_a_token_it_waits_for_one_and_then_says_so(place: Place, live: Live) -> None:
    place.token.write_text("\n")
    code, _ = place.enroll(live.enrollment, live.ca_file.read_text(), "--deadline", "1")
    assert (code, place.log.read_text()) == (
        1,
        f"no certificate within 1 s: there is no token in {place.token}\n",
    )


def test_a_folder_that_is_not_there_is_named(place: Place, live: Live) -> None:
    place.tls.rmdir()
    code, _ = place.enroll(live.enrollment, live.ca_file.read_text())
    assert (code, place.log.read_text()) == (1, f"{place.tls} is no folder\n")


def test_it_comes_again_as_often_as_it_takes(place: Place) -> None:
    statuses = {1: 503, 2: 429, 3: 500, 4: 408}
    with signer(lambda n: (statuses.get(n, 403), {"Retry-After": "0"}, problem(f"number {n}"))) as (
        url,
        ca,
        tokens,
    ):
        code, _ = place.enroll(url, ca, "--deadline", "20")
    assert (code, len(tokens), place.log.read_text()) == (1, 5, "refused (403): number 5\n")


def test_it_waits_as_long_as_it_is_asked_to_unless_that_is_too_long(place: Place) -> None:
    with signer(lambda n: (503, {"Retry-After": "30"}, problem("not yet"))) as (url, ca, tokens):
        code, _ = place.enroll(url, ca, "--deadline", "5")
    assert (code, len(tokens), place.log.read_text()) == (
        1,
        1,
        "no certificate within 5 s: 503: not yet\n",
    )


def test_what_the_server_said_outlives_an_attempt_that_is_cut_short(place: Place) -> None:
    def answer(number: int) -> tuple[int, dict[str, str], bytes]:
        if number > 1:
            time.sleep(3)
        return (
            503,
            {"Retry-After": "0"},
            problem("the API server does not know the pod's IP address yet"),
        )

    with signer(answer) as (url, ca, _):
        code, _ = place.enroll(url, ca, "--deadline", "2")
    assert code == 1
    assert place.log.read_text() == (
        "no certificate within 2 s: 503: the API server does not know the pod's IP address yet\n"
    )


def test_a_port_that_does_not_enroll_is_named(place: Place, live: Live) -> None:
    code, _ = place.enroll(live.admission, live.ca_file.read_text())
    assert code == 1
    assert place.log.read_text() == (
        f"nobody enrolls at {live.admission}: is RAYWARDEN_SIGNER_URL the enrollment port?\n"
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
def test_an_answer_from_somebody_else_is_no_certificate(place: Place, body: bytes) -> None:
    with signer(always(body)) as (url, ca, _):
        code, _ = place.enroll(url, ca, "--deadline", "1")
    assert (code, place.log.read_text()) == (
        1,
        "no certificate within 1 s: the answer is not one of RayWarden\n",
    )


def test_a_certificate_that_does_not_fit_is_not_written(place: Place, live: Live) -> None:
    assert place.enroll(live.enrollment, live.ca_file.read_text())[0] == 0
    chain, bundle = ((place.tls / name).read_text() for name in ("tls.crt", "ca.crt"))
    before = {file.name: file.read_bytes() for file in place.tls.iterdir()}
    answers = [
        ({"certificate": chain, "caBundle": bundle}, "the certificate is for another key"),
        ({"certificate": chain, "caBundle": foreign_ca()}, "does not verify against its CA bundle"),
        ({"certificate": "", "caBundle": bundle}, "cannot be read"),
    ]
    for answer, reason in answers:
        with signer(always(json.dumps(answer).encode())) as (url, ca, _):
            code, _ = place.enroll(url, ca)
        assert code == 1
        assert reason in place.log.read_text()
    assert {file.name: file.read_bytes() for file in place.tls.iterdir()} == before


def test_what_a_server_says_is_one_printable_line(place: Place) -> None:
    with signer(lambda n: (403, {}, problem("a\nb\x1b[31m" + "x" * 5000))) as (url, ca, _):
        place.enroll(url, ca)
    said = place.log.read_text()
    assert (
        said.startswith("refused (403): a b [31mxxx") and said.count("\n") == 1 and len(said) < 1100
    )


def test_the_token_is_read_anew_for_every_attempt(tmp_path: Path) -> None:
    place = Place(tmp_path, "first")

    def answer(number: int) -> tuple[int, dict[str, str], bytes]:
        place.token.write_text("second")
        return (503, {}, b"") if number == 1 else (403, {}, b"")

    with signer(answer) as (url, ca, tokens):
        place.enroll(url, ca)
    assert tokens == ["Bearer first", "Bearer second"]


def test_only_tls_1_2_and_later_will_do(place: Place) -> None:
    from webhook.agent.enroll import _trusting

    trust = Trust(None, Domains(), 1)
    trust.adopt(live_objects.SEED)
    context = _trusting(trust.serving_ca.decode())
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    assert len(context.get_ca_certs()) == 1, "our CA and no other"
