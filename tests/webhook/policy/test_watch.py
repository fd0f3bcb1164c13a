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
from tests.support.live_server import RunningServer, metric, serving
from webhook.admission.reviewer import Reviewer
from webhook.manifests.state import ManifestNamespaces
from webhook.policy.file import parse_policy, read_policy
from webhook.policy.watch import PolicyMetrics, PolicyWatch
from webhook.settings import SetupError

LOOSE, STRICT = b"profiles: {enforce: privileged}\n", b"profiles: {enforce: restricted}\n"
WRONG = b"profiles: {enforce: strict}\nrules: {tls-of: {}}\n"
WITH_EXPIRED = b"""\
exemptions:
- {names: [a], reason: for ever}
- {names: [b], reason: a test run, until: 2026-01-31}
- {names: [c], reason: until today, until: %s}
""" % str(TODAY).encode()


class PolicyFolder:
    """A watched policy file whose content and date a test sets."""

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

    def log_of(self, content: bytes | None) -> list[Any]:
        """The log of one check of the file with this content; None for a missing file."""
        self.content = content
        with capture_logs() as logs:
            asyncio.run(self.watch.check())
        return logs

    @property
    def enforced(self) -> str:
        return self.watch.policy.file.profiles.enforce

    def sample(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"raywarden_policy_{name}", labels)

    @property
    def exemptions(self) -> tuple[float | None, float | None]:
        """How many are active, and how many have expired."""
        return (
            self.sample("exemptions", state="active"),
            self.sample("exemptions", state="expired"),
        )

    @property
    def counts(self) -> tuple[float | None, ...]:
        return (
            self.sample("reloads_total", outcome="loaded"),
            self.sample("reloads_total", outcome="rejected"),
            self.sample("last_reload_successful"),
        )


def test_changed_content_is_loaded() -> None:
    folder = PolicyFolder()
    assert folder.log_of(LOOSE) == [] and folder.parses == 1, "the same content is not read again"
    assert folder.counts == (0, 0, 1)
    assert [log["event"] for log in folder.log_of(STRICT)] == ["policy loaded"]
    assert (folder.enforced, folder.counts) == ("restricted", (1, 0, 1))


def test_an_invalid_file_keeps_the_last_policy_and_is_logged_once() -> None:
    folder = PolicyFolder(STRICT)
    (log,) = folder.log_of(WRONG)
    assert (log["log_level"], log["event"]) == ("error", "policy rejected")
    assert log["problems"] == [
        "p:1:21: profiles.enforce: Input should be 'privileged', 'baseline' or 'restricted'",
        "p:2:9: rules.tls-of: no rule is called tls-of; did you mean tls-on?",
    ]
    assert folder.log_of(WRONG) == []
    assert (folder.enforced, folder.counts) == ("restricted", (0, 1, 0))
    assert len(folder.log_of(WRONG + b"# still\n")) == 1
    assert [log["event"] for log in folder.log_of(STRICT)] == ["policy loaded"]
    assert (folder.enforced, folder.counts) == ("restricted", (1, 2, 1))


def test_a_file_that_disappears_keeps_the_last_policy() -> None:
    folder = PolicyFolder(STRICT)
    (log,) = folder.log_of(None)
    assert log["problems"] == ["p: No such file or directory"]
    assert folder.log_of(None) == []
    assert (folder.enforced, folder.counts) == ("restricted", (0, 1, 0))
    folder.log_of(STRICT)
    assert folder.counts == (1, 1, 1)


def test_a_file_that_is_being_written_is_loaded_when_it_is_complete() -> None:
    folder = PolicyFolder(STRICT)
    halves = iter([b"", LOOSE[:-2], LOOSE, LOOSE])
    folder.watch = PolicyWatch(lambda: next(halves), folder._parse, lambda: TODAY)
    folder.parses = 0
    folder.log_of(None)
    assert (folder.parses, folder.enforced, folder.watch.reloads["rejected"]) == (
        1,
        "privileged",
        0,
    )


def test_the_cluster_domain_cannot_change_without_a_restart() -> None:
    folder = PolicyFolder()
    (log,) = folder.log_of(b"inject: {clusterDomain: other.local}\n")
    assert log["problems"][0].startswith(
        "p:1:25: inject.clusterDomain: certificates contain names in cluster.local"
    )
    assert folder.watch.policy.inject.cluster_domain == "cluster.local"


def test_an_invalid_policy_at_the_start_raises() -> None:
    with pytest.raises(SetupError):
        PolicyFolder(WRONG)


def test_without_a_file_the_default_policy_is_active() -> None:
    watch = PolicyWatch(partial(read_policy, None), partial(parse_policy, None), lambda: TODAY)
    with capture_logs() as logs:
        asyncio.run(watch.check())
    assert (logs, watch.policy.file, watch.up_to_date) == ([], Policy.parse(None).file, True)


class TestExpiredExemptions:
    def reported(self, logs: list[Any]) -> list[tuple[int, str, str]]:
        for log in logs:
            assert (log["event"], log["log_level"]) == ("exemption expired", "warning")
        return [(log["exemption"], log["reason"], log["until"]) for log in logs]

    def test_are_reported_at_the_start_and_once_a_day(self) -> None:
        folder = PolicyFolder(WITH_EXPIRED)
        first = (2, "a test run", "2026-01-31")
        assert self.reported(folder.log_of(WITH_EXPIRED)) == [first]
        assert folder.log_of(WITH_EXPIRED) == []
        folder.today += timedelta(days=1)
        assert self.reported(folder.log_of(WITH_EXPIRED)) == [first, (3, "until today", str(TODAY))]
        assert folder.log_of(WITH_EXPIRED) == []

    def test_are_reported_with_each_new_policy(self) -> None:
        folder = PolicyFolder()
        assert folder.log_of(LOOSE) == []
        loaded, *expired = folder.log_of(WITH_EXPIRED)
        assert loaded["event"] == "policy loaded"
        assert [number for number, *_ in self.reported(expired)] == [2]

    def test_are_counted_by_the_current_date(self) -> None:
        folder = PolicyFolder(WITH_EXPIRED)
        assert folder.exemptions == (2, 1)
        folder.today = date(2026, 1, 31)
        assert folder.exemptions == (3, 0)


def test_a_request_is_decided_by_a_single_policy() -> None:
    token = Policy.parse({"inject": {"auth": "token"}, "profiles": {"enforce": "privileged"}})
    default = Policy.parse({"inject": {"auth": "off"}})
    policies = iter([token, default, token, default])
    reviewer = Reviewer(
        lambda: next(policies), lambda: factory.SIGNER, ManifestNamespaces(()), lambda: TODAY
    )
    change = {"/spec/headGroupSpec/serviceType": "LoadBalancer", "/spec/authOptions": None}
    document = changed(factory.ray_cluster(), change)
    mutated = [reviewer.mutated(factory.request(document)) for _ in range(2)]
    annotations = [result.document["metadata"]["annotations"] for result in mutated]
    hints = [orjson.loads(annotation["raywarden.io/injected"]) for annotation in annotations]
    assert ["auth-token" in hint["mutations"] for hint in hints] == [True, False]
    assert [hint["hash"] for hint in hints] == [
        contract_hash(factory.SIGNER, policy.inject) for policy in (token, default)
    ]
    stored = factory.request(dict(mutated[1].document))
    assert [bool(reviewer.verdict(stored).denied) for _ in range(2)] == [False, True]
    assert next(policies, None) is None


@pytest.fixture
def mounted(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes a policy as the kubelet mounts a ConfigMap: behind links that change atomically."""

    def put(content: bytes) -> Path:
        (version := tmp_path / f"..{time.monotonic_ns()}").mkdir()
        (version / "policy.yaml").write_bytes(content)
        # The kubelet's files may have the same size and modification time as the previous ones.
        os.utime(version / "policy.yaml", (0, 0))
        (tmp_path / "..data_tmp").symlink_to(version.name)
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
        if not (file := tmp_path / "policy.yaml").is_symlink():
            file.symlink_to("..data/policy.yaml")
        return file

    return put


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def allowed(server: RunningServer) -> bool:
    change = {"/spec/headGroupSpec/serviceType": "LoadBalancer", "/spec/authOptions": None}
    document = changed(factory.ray_cluster(), change)
    with httpx.Client(base_url=server.admission, verify=server.trust) as client:
        answer = client.post("/validate", json=factory.review(document)).json()
    return bool(answer["response"]["allowed"])


def test_a_running_server_loads_a_new_policy_and_rejects_an_invalid_one(
    mounted: Callable[[bytes], Path],
) -> None:
    loaded = 'raywarden_policy_reloads_total{outcome="loaded"}'
    rejected = 'raywarden_policy_reloads_total{outcome="rejected"}'
    successful = "raywarden_policy_last_reload_successful"
    file = mounted(LOOSE)
    with serving({"RAYWARDEN_POLICY_FILE": str(file), "RAYWARDEN_RESYNC_SECONDS": "0.1"}) as server:
        assert allowed(server)
        assert (metric(server, loaded), metric(server, successful)) == (0, 1)
        mounted(b"profiles: {enforce: baseline  }\n")
        until(lambda: metric(server, loaded) == 1)
        assert not allowed(server)
        mounted(WRONG)
        until(lambda: metric(server, rejected) == 1)
        assert not allowed(server) and metric(server, successful) == 0
        file.unlink()
        until(lambda: metric(server, rejected) == 2)
        assert not allowed(server)
        mounted(LOOSE + WITH_EXPIRED)
        until(lambda: metric(server, loaded) == 2)
        assert allowed(server) and metric(server, successful) == 1
        assert metric(server, 'raywarden_policy_exemptions{state="expired"}') >= 1
        problems = [
            event["problems"] for event in server.log() if event["event"] == "policy rejected"
        ]
        expected = f"{file}:2:9: rules.tls-of: no rule is called tls-of; did you mean tls-on?"
        assert problems[0][1] == expected
        assert problems[1:] == [[f"{file}: No such file or directory"]]
        expired = [event for event in server.log() if event["event"] == "exemption expired"]
        assert {(event["exemption"], event["reason"]) for event in expired} >= {(2, "a test run")}
        assert server.stop() == 0
