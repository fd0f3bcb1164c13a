"""Pods get no certificate before their cluster's NetworkPolicies stand."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from certs.cache import Authorities
from certs.identity import Domains, NotAllowedError
from certs.profile import CertificateProfile
from policies.configured import NetworkIsolation
from tests.support import live_objects
from tests.support.enrollment_server import EnrollmentServer, ScriptedPolicies, enrollment_server
from tests.support.factory import changed
from tests.support.init_container import PodVolumes
from tests.webhook.enrollment.test_enrollment import BODY, PATH, bearer
from tests.webhook.enrollment.test_signing import CSR, ScriptedCluster
from webhook.enrollment.hold import HeldError
from webhook.enrollment.signing import Issued, Signing, TooOftenError
from webhook.manifests.cluster import ManifestCluster
from webhook.settings import Settings

MISSING = "raywarden-pods-demo does not exist"
START = NetworkIsolation(when_missing="start", hold_seconds=120)


class Clock:
    """Seconds that pass only while a request waits: each look at the clock takes `step`."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def signing(
    policies: ScriptedPolicies,
    clock: Callable[[], float] | None = None,
    isolation: Callable[[], NetworkIsolation] = NetworkIsolation,
    cluster: ManifestCluster | None = None,
    **settings: Any,
) -> Signing:
    authorities = Authorities(live_objects.SEED)
    return Signing(
        cluster or ScriptedCluster(),
        policies,
        isolation,
        lambda: authorities,
        Domains(),
        CertificateProfile(),
        Settings(**settings),
        lambda: live_objects.NOW,
        clock or Clock(0.5),
        lambda: 7,
    )


def sign(signer: Signing, token: str = "0", peer: str = "") -> Issued:
    return asyncio.run(signer.sign(token, CSR, peer))


def held(signer: Signing, token: str = "0", peer: str = "") -> str:
    """The reason for which the pod is held."""
    with pytest.raises(HeldError) as raised:
        sign(signer, token, peer)
    return str(raised.value)


def at(clock: Clock, seconds: float) -> None:
    """Let the clock stand at `seconds`."""
    clock.now, clock.step = seconds, 0.0


def long_held(policies: ScriptedPolicies, clock: Clock, **arguments: Any) -> Signing:
    """A signer that has held a pod of the cluster since the clock's 0."""
    signer = signing(policies, clock, **arguments)
    clock.step = 0.5
    held(signer)
    clock.step = 0.0
    return signer


def test_a_request_waits_while_the_policies_are_written() -> None:
    policies = ScriptedPolicies(MISSING, MISSING, "")
    issued = sign(signing(policies))
    assert (issued.identity.pod, issued.missing) == ("demo-head-abcde", "")
    assert policies.looks == [("team-a", "demo", live_objects.CLUSTER_UID)] * 3


def test_the_pod_is_told_what_it_waits_for_and_what_to_do() -> None:
    assert held(signing(ScriptedPolicies(MISSING))) == (
        "this pod waits for the NetworkPolicies of RayCluster demo: raywarden-pods-demo does not "
        "exist. If this lasts, run `raywarden check` and read the log of RayWarden's server"
    )


def test_requests_wait_only_at_first() -> None:
    policies, clock = ScriptedPolicies(MISSING), Clock()
    signer = long_held(policies, clock)
    assert len(policies.looks) > 1
    policies.looks.clear()
    at(clock, 10)
    held(signer)
    assert len(policies.looks) == 1


def test_it_holds_for_as_long_as_it_takes() -> None:
    policies, clock = ScriptedPolicies(MISSING), Clock()
    signer = long_held(policies, clock)
    for minute in range(10, 3000, 10):
        at(clock, 60 * minute)
        held(signer)
    policies.replies = [""]
    assert sign(signer).missing == ""


def test_pods_without_kuberay_are_not_held() -> None:
    policies = ScriptedPolicies(MISSING)
    assert sign(signing(policies), "3").identity.cluster.opted_in
    assert policies.looks == []


def test_a_pod_that_may_not_have_a_certificate_is_refused_and_not_held() -> None:
    orphan = changed(live_objects.pod(), {"/metadata/ownerReferences/0/uid": "deleted"})
    policies = ScriptedPolicies(MISSING)
    with pytest.raises(NotAllowedError):
        sign(signing(policies, cluster=ScriptedCluster(orphan)))
    assert policies.looks == []


class TestStart:
    """`whenMissing: start`: pods start after a bounded time."""

    def test_pods_start_after_the_hold(self) -> None:
        policies, clock = ScriptedPolicies(MISSING), Clock()
        signer = long_held(policies, clock, isolation=lambda: START)
        at(clock, 119)
        held(signer)
        at(clock, 125)
        assert sign(signer).missing == MISSING
        assert sign(signer, "1").missing == MISSING, "the cluster waits, not each of its pods"

    def test_the_policy_file_may_change_while_pods_wait(self) -> None:
        isolation, clock = NetworkIsolation(), Clock()
        signer = long_held(ScriptedPolicies(MISSING), clock, isolation=lambda: isolation)
        at(clock, 600)
        held(signer)
        isolation = START
        assert sign(signer).missing == MISSING

    def test_the_wait_starts_anew_after_the_policies_stood(self) -> None:
        policies, clock = ScriptedPolicies(MISSING), Clock()
        signer = long_held(policies, clock, isolation=lambda: START)
        policies.replies = [""]
        assert sign(signer).missing == ""
        policies.replies = [MISSING]
        clock.now, clock.step = 500.0, 0.5
        held(signer)

    def test_the_wait_starts_anew_after_an_hour_without_requests(self) -> None:
        policies, clock = ScriptedPolicies(MISSING), Clock()
        signer = long_held(policies, clock, isolation=lambda: START)
        clock.now, clock.step = 3600.0, 0.5
        held(signer)


class TestRateLimits:
    """Waiting costs a pod nothing, and hammering does not help."""

    def test_a_held_pod_is_not_locked_out(self) -> None:
        policies, clock = ScriptedPolicies(MISSING), Clock()
        signer = long_held(policies, clock, enrollments_per_minute=1)
        for second in range(10, 40):
            at(clock, second)
            held(signer)
        policies.replies = [""]
        assert sign(signer).missing == ""

    def test_held_pods_do_not_use_up_the_limit_of_their_address(self) -> None:
        pods = [live_objects.pod(f"w{number}", "worker", uid=f"u{number}") for number in range(20)]
        numbers = map(str, range(100))
        cluster = ManifestCluster([live_objects.ray_cluster(), *pods], lambda: next(numbers))
        policies, clock = ScriptedPolicies(MISSING), Clock()
        signer = long_held(policies, clock, cluster=cluster)
        at(clock, 70)

        async def ask() -> set[type]:
            requests = [
                signer.sign(str(pod), CSR, "10.9.9.9") for pod in range(20) for _ in range(40)
            ]
            outcomes = [
                await asyncio.gather(request, return_exceptions=True) for request in requests
            ]
            return {type(outcome) for (outcome,) in outcomes}

        assert asyncio.run(ask()) == {HeldError}
        policies.replies = [""]
        assert sign(signer, peer="10.9.9.9").missing == ""

    def test_a_pod_that_hammers_is_limited_before_it_is_looked_up(self) -> None:
        policies, clock, cluster = ScriptedPolicies(MISSING), Clock(), ScriptedCluster()
        signer = long_held(policies, clock, cluster=cluster)
        at(clock, 30)
        outcomes: list[type] = []
        for _ in range(200):
            with pytest.raises((HeldError, TooOftenError)) as raised:
                sign(signer)
            outcomes.append(raised.type)
        assert 50 <= outcomes.count(HeldError) <= 60
        assert cluster.looks <= 75


@contextmanager
def served(
    policies: ScriptedPolicies, isolation: NetworkIsolation | None = None
) -> Iterator[tuple[EnrollmentServer, list[Any]]]:
    """A server over HTTPS, and the events that it logs."""
    chosen = isolation or NetworkIsolation()
    with (
        structlog.testing.capture_logs() as events,
        enrollment_server(ScriptedCluster(), policies, lambda: chosen) as server,
    ):
        yield server, events


def post(server: EnrollmentServer, token: str = "0") -> httpx.Response:
    trust = ssl.create_default_context(cadata=server.ca)
    return httpx.post(server.url + PATH, json=BODY, headers=bearer(token), verify=trust)


def sample(server: EnrollmentServer, name: str, **labels: str) -> float | None:
    return server.metrics.registry.get_sample_value(name, labels)


def test_over_https_a_held_pod_gets_503_and_is_counted() -> None:
    policies = ScriptedPolicies(MISSING)
    with served(policies) as (server, events):
        response = post(server)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert MISSING in response.json()["detail"]
        assert sample(server, "raywarden_enrollments_total", outcome="held") == 1
        assert [event["event"] for event in events] == ["enrollment held"]
        policies.replies = [""]
        assert post(server).status_code == 200
        assert sample(server, "raywarden_open_pod_starts_total") == 0


def test_over_https_a_start_without_policies_is_logged_and_counted() -> None:
    isolation = NetworkIsolation(when_missing="start", hold_seconds=1)
    with served(ScriptedPolicies(MISSING), isolation) as (server, events):
        assert post(server).status_code == 200
        assert sample(server, "raywarden_open_pod_starts_total") == 1
    (warning,) = [event for event in events if event["log_level"] == "warning"]
    assert warning["event"] == "pod starts without its NetworkPolicies"
    assert (warning["cluster"], warning["missing"]) == ("demo", MISSING)


def test_held_pods_cannot_fill_the_log() -> None:
    with served(ScriptedPolicies(MISSING)) as (server, events):
        for _ in range(40):
            post(server)
    assert [event["event"] for event in events].count("enrollment held") == 30


class UntilHeld(ScriptedPolicies):
    """Policies that stand as soon as the server has held a pod."""

    server: EnrollmentServer | None = None

    def missing(self, namespace: str, cluster: str, uid: str) -> str:
        assert self.server
        count = sample(self.server, "raywarden_enrollments_total", outcome="held")
        return "" if count else super().missing(namespace, cluster, uid)


def test_the_init_container_waits_until_the_policies_stand(tmp_path: Path) -> None:
    place, policies = PodVolumes(tmp_path, "0"), UntilHeld(MISSING)
    with served(policies) as (server, _):
        policies.server = server
        code, output = place.enroll(server.url, server.ca)
    assert (code, place.log.read_text()) == (0, "")
    assert (place.tls / "tls.crt").exists()
    waiting, enrolled = sorted(output.splitlines(), reverse=True)
    reason = f"this pod waits for the NetworkPolicies of RayCluster demo: {MISSING}."
    assert waiting.startswith(f"raywarden enroll: no certificate yet: 503: {reason}")
    assert enrolled.startswith("enrolled 127.0.0.1 in ")
