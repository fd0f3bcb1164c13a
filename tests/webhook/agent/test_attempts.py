"""How the init container's program tries again, and when it gives up."""

import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from policies.configured import NetworkIsolation
from tests.support import live_objects
from tests.support.init_container import PodVolumes, problem, signer
from tests.support.live_server import RunningServer, serving
from webhook.agent.enroll import Enrollment, Runtime, enroll
from webhook.agent.options import DEADLINE_SECONDS
from webhook.agent.signer_client import EnrollError

POD = "demo-head-abcde"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving(objects=live_objects.objects()) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, server: RunningServer) -> PodVolumes:
    return PodVolumes(tmp_path, server.token(POD))


def test_it_gives_up_at_its_deadline_with_the_reason(
    place: PodVolumes, server: RunningServer
) -> None:
    code, _ = place.enroll("https://localhost:1", server.ca_file.read_text(), "--deadline", "1")
    assert code == 1
    assert (
        place.log.read_text()
        == "no certificate within 1 s: https://localhost:1: Connection refused\n"
    )


def test_it_waits_for_a_token_until_its_deadline(place: PodVolumes, server: RunningServer) -> None:
    place.token.write_text("\n")
    code, _ = place.enroll(server.enrollment, server.ca_file.read_text(), "--deadline", "1")
    assert (code, place.log.read_text()) == (
        1,
        f"no certificate within 1 s: {place.token} does not contain a token\n",
    )


def test_it_tries_again_after_temporary_failures(place: PodVolumes) -> None:
    statuses = {1: 503, 2: 429, 3: 500, 4: 408}

    def answer(number: int) -> tuple[int, dict[str, str], bytes]:
        return statuses.get(number, 403), {"Retry-After": "0"}, problem(f"number {number}")

    with signer(answer) as (url, ca, tokens):
        code, _ = place.enroll(url, ca, "--deadline", "20")
    assert (code, len(tokens), place.log.read_text()) == (1, 5, "refused (403): number 5\n")


def test_a_retry_after_beyond_the_deadline_ends_it(place: PodVolumes) -> None:
    with signer(lambda n: (503, {"Retry-After": "30"}, problem("not yet"))) as (url, ca, tokens):
        code, _ = place.enroll(url, ca, "--deadline", "5")
    assert (code, len(tokens), place.log.read_text()) == (
        1,
        1,
        "no certificate within 5 s: 503: not yet\n",
    )


def test_the_servers_reason_is_kept_if_the_last_attempt_times_out(place: PodVolumes) -> None:
    def answer(number: int) -> tuple[int, dict[str, str], bytes]:
        if number > 1:
            time.sleep(3)
        reason = "the API server does not know the pod's IP address yet"
        return 503, {"Retry-After": "0"}, problem(reason)

    with signer(answer) as (url, ca, _):
        code, _ = place.enroll(url, ca, "--deadline", "2")
    assert code == 1
    assert place.log.read_text() == (
        "no certificate within 2 s: 503: the API server does not know the pod's IP address yet\n"
    )


def test_the_token_is_read_again_for_every_attempt(tmp_path: Path) -> None:
    place = PodVolumes(tmp_path, "first")

    def answer(number: int) -> tuple[int, dict[str, str], bytes]:
        place.token.write_text("second")
        return (503, {}, b"") if number == 1 else (403, {}, b"")

    with signer(answer) as (url, ca, tokens):
        place.enroll(url, ca)
    assert tokens == ["Bearer first", "Bearer second"]


def test_a_long_deadline_allows_thousands_of_attempts(
    tmp_path: Path, server: RunningServer
) -> None:
    elapsed: list[float] = []
    runtime = Runtime(lambda: sum(elapsed), elapsed.append, lambda: 0.0)
    token = tmp_path / "token"
    token.write_text("t")
    ca, address = server.ca_file.read_text(), IPv4Address("127.0.0.1")
    enrollment = Enrollment(
        "https://localhost:1", ca, address, str(token), str(tmp_path), 0o400, 7_000
    )
    said: list[str] = []
    with pytest.raises(EnrollError, match="no certificate within 7000 s"):
        enroll(enrollment, runtime, said.append)
    assert len(elapsed) > 1_100
    assert set(said) == {"no certificate yet: https://localhost:1: Connection refused"}
    assert 100 < len(said) < 120


HELD = "this pod waits for the NetworkPolicies of RayCluster demo: raywarden-pods-demo is missing"


def test_its_log_says_at_once_what_it_waits_for(place: PodVolumes) -> None:
    statuses = {1: 503, 2: 503, 3: 503}

    def answer(number: int) -> tuple[int, dict[str, str], bytes]:
        return statuses.get(number, 403), {"Retry-After": "0"}, problem(HELD)

    with signer(answer) as (url, ca, tokens):
        code, output = place.enroll(url, ca)
    assert (code, len(tokens)) == (1, 4)
    lines = [
        f"raywarden enroll: no certificate yet: 503: {HELD}",
        f"raywarden enroll: refused (403): {HELD}",
    ]
    assert output.splitlines() == lines


def test_it_waits_as_long_as_the_default_hold(tmp_path: Path) -> None:
    elapsed: list[float] = []
    runtime = Runtime(lambda: sum(elapsed), elapsed.append, lambda: 0.0)
    token = tmp_path / "token"
    token.write_text("t")
    address = IPv4Address("127.0.0.1")
    held = NetworkIsolation().hold_seconds

    def answer(number: int) -> tuple[int, dict[str, str], bytes]:
        if sum(elapsed) < held:
            return 503, {"Retry-After": "5"}, problem(HELD)
        return 403, {}, problem("issued")

    with signer(answer) as (url, ca, _):
        enrollment = Enrollment(
            url, ca, address, str(token), str(tmp_path), 0o400, DEADLINE_SECONDS
        )
        with pytest.raises(EnrollError, match="issued"):
            enroll(enrollment, runtime, lambda line: None)
    assert held <= sum(elapsed) < held + 10
