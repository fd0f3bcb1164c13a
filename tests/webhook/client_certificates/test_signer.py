"""The signer's limits, and what happens when replicas and API servers come and go."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certs.client import ClusterName
from certs.identity import Domains
from tests.support import live_objects
from tests.support.kube_conversation import until
from tests.webhook.client_certificates.fake_requests import (
    AUTHORITIES,
    UNAVAILABLE,
    FakeRequests,
    request,
)
from webhook.client_certificates import signer as signer_module
from webhook.client_certificates.decision import ClientRefusal
from webhook.client_certificates.signer import ClientSigner
from webhook.client_certificates.signing import ClientCertificate, ClientSigning
from webhook.ports import ClientRequest, ConflictError


class Seen:
    """What the signer reports, as (what, name of the request)."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, str]] = []

    def client_certificate_issued(
        self, request: ClientRequest, certificate: ClientCertificate
    ) -> None:
        self.reports.append(("issued", request.name))

    def client_certificate_refused(
        self, request: ClientRequest, cluster: ClusterName | None, refusal: ClientRefusal
    ) -> None:
        self.reports.append((refusal.outcome, request.name))

    def client_request_delayed(self, request: ClientRequest, reason: str) -> None:
        self.reports.append(("delayed", request.name))

    def client_request_crashed(self, request: ClientRequest, error: Exception) -> None:
        self.reports.append(("crashed", request.name))


def running(
    fake: FakeRequests, done: Callable[[Seen], bool], per_minute: int = 100, **more: Any
) -> Seen:
    """Run a signer until `done`, or for `seconds`; returns what it reported."""

    async def ready() -> None:
        pass

    async def main() -> Seen:
        seen, now = Seen(), more.get("now", lambda: live_objects.NOW)
        signing = ClientSigning(
            fake, lambda: AUTHORITIES, Domains(), timedelta(hours=8), now, lambda: 7
        )
        clock = asyncio.get_running_loop().time
        signer = ClientSigner(fake, signing, seen, per_minute, now, clock)
        task = asyncio.create_task(signer.run(ready))
        try:
            await until(lambda: done(seen))
            await asyncio.sleep(more.get("seconds", 0.05))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return seen

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signer_module, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(signer_module, "_TAKE_OVER_SECONDS", 0.1)


def test_an_issued_certificate_is_reported_and_recorded_on_the_cluster() -> None:
    fake = FakeRequests(request())
    seen = running(fake, lambda seen: "event" in fake.of("one"))
    assert seen.reports == [("issued", "one")]
    assert fake.written[-1][2].startswith("alice got a client certificate of this cluster until")


def test_old_requests_are_left_alone() -> None:
    """They were made while no signer ran, and nobody waits for them any more."""
    fake = FakeRequests(request("old"), request("new", created=live_objects.NOW))
    old = replace(fake.stored["old"], created=live_objects.NOW - timedelta(minutes=11))
    fake.stored["old"] = old
    running(fake, lambda seen: ("issued", "new") in seen.reports)
    assert fake.of("old") == []


def test_one_user_cannot_delay_the_others() -> None:
    flood = [request(f"bob-{number}", "bob") for number in range(1500)]
    fake = FakeRequests(*flood, request("alices"))
    seen = running(fake, lambda seen: ("issued", "alices") in seen.reports, per_minute=3)
    assert sum(what == "denied" for what, _ in seen.reports) <= 3


def test_a_short_outage_delays_the_answer() -> None:
    fake = FakeRequests(request())
    fake.faults += [UNAVAILABLE, UNAVAILABLE, UNAVAILABLE]
    seen = running(fake, lambda seen: ("issued", "one") in seen.reports)
    assert [what for what, _ in seen.reports] == ["delayed"] * 3 + ["issued"]


def test_another_replica_that_is_faster_wins() -> None:
    fake = FakeRequests(request())
    decided = replace(request(), version="5", decided=True)

    async def read(request: ClientRequest) -> ClientRequest | None:
        return decided

    fake.read = read  # type: ignore[method-assign]  # the other replica has decided
    seen = running(fake, lambda seen: True)
    assert seen.reports == [] and fake.written == []


def test_a_replica_that_stops_between_approval_and_signature_is_replaced() -> None:
    fake = FakeRequests(request())
    fake.faults.append(ConflictError("the other approved first"))
    fake.stored["one"] = replace(request(), version="2", approved=True)
    seen = running(fake, lambda seen: ("issued", "one") in seen.reports)
    assert seen.reports == [("issued", "one")] and fake.of("one")[:1] == ["issued"]


def test_a_restart_takes_up_what_was_approved() -> None:
    fake = FakeRequests(request(approved=True))
    running(fake, lambda seen: ("issued", "one") in seen.reports)
    assert fake.of("one") == ["issued", "event"]


def test_a_defect_leaves_one_request_alone_and_not_the_others() -> None:
    fake = FakeRequests(request("broken"))
    fake.faults.append(KeyError("a defect"))

    def crashed(seen: Seen) -> bool:
        if ("crashed", "broken") in seen.reports and "fine" not in fake.stored:
            fake.stored["fine"] = request("fine")
            fake.offer(fake.stored["fine"])
        return ("issued", "fine") in seen.reports

    assert running(fake, crashed).reports[0] == ("crashed", "broken")
