"""The policy file changes under a running server."""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from policies.config import Policy
from policies.injection.contract import contract_hash
from tests.support import factory
from tests.support.factory import TODAY, changed
from tests.support.live_server import Live, metric, serving
from webhook.admission.reviewer import Reviewer
from webhook.manifests.state import ManifestNamespaces
from webhook.policy.file import parse_policy, read_policy
from webhook.policy.watch import PolicyMetrics, PolicyWatch
from webhook.settings import SetupError

LOOSE, STRICT = b"profiles: {enforce: privileged}\n", b"profiles: {enforce: restricted}\n"
WRONG = b"profiles: {enforce: strict}\nrules: {tls-of: {}}\n"
ENDED = b"""\
exemptions:
- {names: [a], reason: for ever}
- {names: [b], reason: a test run, until: 2026-01-31}
- {names: [c], reason: until today, until: %s}
""" % str(TODAY).encode()


class Desk:
    """A policy file and a calendar, on a table."""

    def __init__(self, content: bytes = LOOSE) -> None:
        self.content: bytes | None = content
        self.today = TODAY
        self.reads = self.parses = 0
        with capture_logs():
            self.watch = PolicyWatch(self._read, self._parse, lambda: self.today)
        self.registry = CollectorRegistry(auto_describe=True)
        self.registry.register(PolicyMetrics(self.watch, lambda: self.today))

    def _read(self) -> bytes:
        self.reads += 1
        if self.content is None:
            raise SetupError("p: No such file or directory")
        return self.content

    def _parse(self, content: bytes, running: Policy | None) -> Policy:
        self.parses += 1
        return parse_policy(Path("p"), content, running)

    def look(self, content: bytes | None) -> list[Any]:
        """What is logged when the watch looks at this content."""
        self.content = content
        with capture_logs() as logs:
            asyncio.run(self.watch.look())
        return logs

    @property
    def enforced(self) -> str:
        return self.watch.policy.file.profiles.enforce

    def sample(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"raywarden_policy_{name}", labels)

    @property
    def counts(self) -> tuple[float | None, ...]:
        return (
            self.sample("reloads_total", outcome="loaded"),
            self.sample("reloads_total", outcome="rejected"),
            self.sample("current"),
        )


def test_other_content_is_another_policy() -> None:
    desk = Desk()
    assert desk.look(LOOSE) == [] and desk.parses == 1, "the same content is not read again"
    assert desk.counts == (0, 0, 1)
    assert [log["event"] for log in desk.look(STRICT)] == ["policy loaded"]
    assert (desk.enforced, desk.counts) == ("restricted", (1, 0, 1))


def test_a_wrong_file_keeps_the_last_good_one_and_is_said_once() -> None:
    desk = Desk(STRICT)
    (log,) = desk.look(WRONG)
    assert (log["log_level"], log["event"]) == (
        "error",
        "policy rejected, the last good one stays in force",
    )
    assert log["problems"] == [
        "p:1:21: profiles.enforce: Input should be 'privileged', 'baseline' or 'restricted'",
        "p:2:9: rules.tls-of: no rule is called tls-of; did you mean tls-on?",
    ]
    assert desk.look(WRONG) == []
    assert (desk.enforced, desk.counts) == ("restricted", (0, 1, 0))
    assert len(desk.look(WRONG + b"# still\n")) == 1
    assert [log["event"] for log in desk.look(STRICT)] == ["policy loaded"]
    assert (desk.enforced, desk.counts) == ("restricted", (1, 2, 1))


def test_a_file_that_is_gone_for_a_moment_keeps_the_last_good_one() -> None:
    desk = Desk(STRICT)
    (log,) = desk.look(None)
    assert log["problems"] == ["p: No such file or directory"]
    assert desk.look(None) == []
    assert (desk.enforced, desk.counts) == ("restricted", (0, 1, 0))
    desk.look(STRICT)
    assert desk.counts == (1, 1, 1)


def test_a_file_that_is_being_written_is_taken_when_it_is_whole() -> None:
    desk = Desk(STRICT)
    halves = iter([b"", LOOSE[:-2], LOOSE, LOOSE])
    desk.watch = PolicyWatch(lambda: next(halves), desk._parse, lambda: TODAY)
    desk.parses = 0
    desk.look(None)
    assert (desk.parses, desk.enforced, desk.watch.reloads["rejected"]) == (1, "privileged", 0)


def test_the_cluster_domain_stays_what_it_was_at_start() -> None:
    desk = Desk()
    (log,) = desk.look(b"inject: {clusterDomain: other.local}\n")
    assert log["problems"][0].startswith(
        "p:1:25: inject.clusterDomain: certificates hold names in cluster.local"
    )
    assert desk.watch.policy.inject.cluster_domain == "cluster.local"


def test_nothing_starts_with_a_wrong_policy() -> None:
    with pytest.raises(SetupError):
        Desk(WRONG)


def test_without_a_file_the_default_policy_holds() -> None:
    watch = PolicyWatch(partial(read_policy, None), partial(parse_policy, None), lambda: TODAY)
    with capture_logs() as logs:
        asyncio.run(watch.look())
    assert (logs, watch.policy.file, watch.current) == ([], Policy.parse(None).file, True)


class TestEndedExemptions:
    def named(self, logs: list[Any]) -> list[tuple[int, str, str]]:
        assert all(
            (log["event"], log["log_level"]) == ("exemption ended", "warning") for log in logs
        )
        return [(log["exemption"], log["reason"], log["until"]) for log in logs]

    def test_are_named_at_first_and_once_a_day(self) -> None:
        desk = Desk(ENDED)
        first = (2, "a test run", "2026-01-31")
        assert self.named(desk.look(ENDED)) == [first]
        assert desk.look(ENDED) == []
        desk.today += timedelta(days=1)
        assert self.named(desk.look(ENDED)) == [first, (3, "until today", str(TODAY))]
        assert desk.look(ENDED) == []

    def test_are_named_with_another_policy(self) -> None:
        desk = Desk()
        assert desk.look(LOOSE) == []
        loaded, *ended = desk.look(ENDED)
        assert loaded["event"] == "policy loaded"
        assert [number for number, *_ in self.named(ended)] == [2]

    def test_are_counted_on_the_day_that_is(self) -> None:
        desk = Desk(ENDED)
        assert (
            desk.sample("exemptions", state="in force"),
            desk.sample("exemptions", state="ended"),
        ) == (2, 1)
        desk.today = date(2026, 1, 31)
        assert (
            desk.sample("exemptions", state="in force"),
            desk.sample("exemptions", state="ended"),
        ) == (3, 0)


def test_one_request_sees_one_policy() -> None:
    token, default = (
        Policy.parse({"inject": {"auth": "token"}, "profiles": {"enforce": "privileged"}}),
        Policy.parse({}),
    )
    asked = iter([token, default, token, default])
    reviewer = Reviewer(
        lambda: next(asked), lambda: factory.SIGNER, ManifestNamespaces(()), lambda: TODAY
    )
    change = {"/spec/headGroupSpec/serviceType": "LoadBalancer", "/spec/authOptions": None}
    document = changed(factory.ray_cluster(), change)
    mutated = [reviewer.mutated(factory.request(document)) for _ in range(2)]
    hints = [
        orjson.loads(one.document["metadata"]["annotations"]["raywarden.io/injected"])
        for one in mutated
    ]
    assert ["auth-token" in hint["mutations"] for hint in hints] == [True, False]
    assert [hint["hash"] for hint in hints] == [
        contract_hash(factory.SIGNER, one.inject) for one in (token, default)
    ]
    stored = factory.request(dict(mutated[1].document))
    assert [bool(reviewer.verdict(stored).denied) for _ in range(2)] == [False, True]
    assert next(asked, None) is None


@pytest.fixture
def mounted(tmp_path: Path) -> Callable[[bytes], Path]:
    """Puts a policy where the kubelet would mount a ConfigMap: behind links that change all at once."""

    def put(content: bytes) -> Path:
        (version := tmp_path / f"..{time.monotonic_ns()}").mkdir()
        (version / "policy.yaml").write_bytes(content)
        # The kubelet's files may well have the same size and time as those before them.
        os.utime(version / "policy.yaml", (0, 0))
        (tmp_path / "..data_tmp").symlink_to(version.name)
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
        if not (file := tmp_path / "policy.yaml").is_symlink():
            file.symlink_to("..data/policy.yaml")
        return file

    return put


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def allowed(live: Live) -> bool:
    change = {"/spec/headGroupSpec/serviceType": "LoadBalancer", "/spec/authOptions": None}
    document = changed(factory.ray_cluster(), change)
    with httpx.Client(base_url=live.admission, verify=live.trust) as client:
        answer = client.post("/validate", json=factory.review(document)).json()
    return bool(answer["response"]["allowed"])


def test_a_running_server_takes_a_new_policy_and_refuses_a_wrong_one(
    mounted: Callable[[bytes], Path],
) -> None:
    loaded, rejected = (
        f'raywarden_policy_reloads_total{{outcome="{one}"}}' for one in ("loaded", "rejected")
    )
    file = mounted(LOOSE)
    with serving({"RAYWARDEN_POLICY_FILE": str(file), "RAYWARDEN_RESYNC_SECONDS": "0.1"}) as live:
        assert allowed(live)
        assert (metric(live, loaded), metric(live, "raywarden_policy_current")) == (0, 1)
        mounted(b"profiles: {enforce: baseline  }\n")
        until(lambda: metric(live, loaded) == 1)
        assert not allowed(live)
        mounted(WRONG)
        until(lambda: metric(live, rejected) == 1)
        assert not allowed(live) and metric(live, "raywarden_policy_current") == 0
        file.unlink()
        until(lambda: metric(live, rejected) == 2)
        assert not allowed(live)
        mounted(LOOSE + ENDED)
        until(lambda: metric(live, loaded) == 2)
        assert allowed(live) and metric(live, "raywarden_policy_current") == 1
        assert metric(live, 'raywarden_policy_exemptions{state="ended"}') >= 1
        problems = [
            event["problems"]
            for event in live.log()
            if event["event"].startswith("policy rejected")
        ]
        assert (
            problems[0][1]
            == f"{file}:2:9: rules.tls-of: no rule is called tls-of; did you mean tls-on?"
        )
        assert problems[1:] == [[f"{file}: No such file or directory"]]
        ended = [event for event in live.log() if event["event"] == "exemption ended"]
        assert {(event["exemption"], event["reason"]) for event in ended} >= {(2, "a test run")}
        assert live.stop() == 0
