"""Findings that a repository already had do not fail a review; new ones do."""

import json
import os
import stat
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support import factory, reviews
from tests.support.reviews import render
from webhook.commands.baselines import with_baseline
from webhook.manifests.read import UnreadableManifest
from webhook.reports.formats import ReportFormat
from webhook.review.baseline import Baseline
from webhook.review.finding import Level, SuppressedBy
from webhook.review.results import Results
from webhook.settings import SetupError

MONDAY, FRIDAY = date(2026, 11, 16), date(2026, 11, 20)
PUBLIC = {"/spec/headGroupSpec/serviceType": "LoadBalancer"}
PRIVILEGED = {
    "/spec/headGroupSpec/template/spec/containers/0/securityContext": {"privileged": True}
}


def review(
    tmp_path: Path, *changes: Any, prefix: str = "", policy: Mapping[str, Any] | None = None
) -> Results:
    cluster = factory.ray_cluster()
    for change in changes:
        cluster = factory.changed(cluster, change)
    text = f"{prefix}{json.dumps(cluster, indent=1)}"
    return reviews.review_of(tmp_path / "a.yaml", text, policy=policy)


def counting(results: Results) -> set[str]:
    return {finding.rule for finding in results.findings if finding.counts}


def entries(file: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(file.read_text())["findings"]
    return found


def test_old_findings_do_not_count_and_new_ones_do(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    old = review(tmp_path, PUBLIC)
    assert old.fails_at(Level.ERROR)
    assert not with_baseline(old, None, file, MONDAY).fails_at(Level.NOTE)
    new = with_baseline(review(tmp_path, PUBLIC, PRIVILEGED), file, None, FRIDAY)
    assert counting(new) == {"no-privileged", "no-privilege-escalation"}
    assert new.fails_at(Level.ERROR)
    suppressions = {finding.suppression for finding in new.findings if not finding.counts}
    assert {
        (suppression.by, suppression.reason) for suppression in suppressions if suppression
    } == {(SuppressedBy.BASELINE, "first seen on 2026-11-16")}
    assert not new.notes


def test_a_baseline_does_not_change_what_admission_says(tmp_path: Path) -> None:
    (reviewed,) = with_baseline(
        review(tmp_path, PUBLIC), None, tmp_path / "baseline.json", MONDAY
    ).objects
    assert not reviewed.allowed


def test_the_file_is_for_people_and_for_version_control(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    results = review(tmp_path, PUBLIC)
    with_baseline(results, None, file, MONDAY)
    assert json.loads(file.read_text())["schema"] == "raywarden.io/baseline/v1"
    found = entries(file)
    assert len(found) == len(results.findings)
    (public,) = (entry for entry in found if entry["rule"] == "no-public-head-service")
    assert public["object"] == "RayCluster team-a/demo"
    assert public["file"].endswith("a.yaml")
    assert public["message"].startswith("the head service is a LoadBalancer")
    assert public["firstSeen"] == "2026-11-16"
    order = [(entry["file"], entry["object"], entry["rule"], entry["message"]) for entry in found]
    assert order == sorted(order)


def test_findings_stay_in_the_baseline_when_lines_move(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    with_baseline(review(tmp_path, PUBLIC), None, file, MONDAY)
    moved = review(tmp_path, PUBLIC, prefix="# a comment\n\n")
    assert not counting(with_baseline(moved, file, None, FRIDAY))


def test_dates_stay_and_findings_that_no_longer_occur_go(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    with_baseline(review(tmp_path, PUBLIC), None, file, MONDAY)
    mended = with_baseline(review(tmp_path, PRIVILEGED), file, None, FRIDAY)
    assert mended.notes == [
        f"{file}: 1 of its findings no longer occur; update it with --write-baseline"
    ]
    for baseline in (file, None):
        results = with_baseline(review(tmp_path, PRIVILEGED), baseline, file, FRIDAY)
        assert not results.notes
    days = {entry["rule"]: entry["firstSeen"] for entry in entries(file)}
    assert "no-public-head-service" not in days
    assert days.pop("no-privileged") == "2026-11-20"
    assert days.pop("no-privilege-escalation") == "2026-11-20"
    assert set(days.values()) == {"2026-11-16"}


def test_nothing_is_dropped_while_a_file_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    with_baseline(review(tmp_path, PUBLIC), None, file, MONDAY)
    broken = reviews.results(unreadable=[UnreadableManifest("a.yaml", "not YAML")])
    before = entries(file)
    assert not with_baseline(broken, file, file, FRIDAY).notes
    assert entries(file) == before


def test_reports_say_that_a_finding_is_in_the_baseline(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    with_baseline(review(tmp_path, PUBLIC), None, file, MONDAY)
    results = with_baseline(review(tmp_path, PUBLIC, PRIVILEGED), file, None, FRIDAY)
    (run,) = json.loads(render(ReportFormat.SARIF, results))["runs"]
    states = {result["ruleId"]: result["baselineState"] for result in run["results"]}
    assert states["no-public-head-service"] == "unchanged"
    assert states["no-privileged"] == "new"


WARNS = {"profiles": {"enforce": "privileged", "warn": "baseline"}}
ENFORCES = {"profiles": {"enforce": "baseline"}}


def test_a_finding_counts_again_when_the_policy_makes_it_worse(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    with_baseline(review(tmp_path, PUBLIC, policy=WARNS), None, file, MONDAY)
    worse = with_baseline(review(tmp_path, PUBLIC, policy=ENFORCES), file, None, FRIDAY)
    assert "no-public-head-service" in counting(worse) and worse.fails_at(Level.ERROR)
    number = sum(finding.counts for finding in worse.findings)
    note = f"{file}: {number} of its findings count, because they have a worse level now"
    assert note in worse.notes
    assert not counting(with_baseline(review(tmp_path, PUBLIC, policy=WARNS), file, None, FRIDAY))
    with_baseline(review(tmp_path, PUBLIC, policy=ENFORCES), file, file, FRIDAY)
    (entry,) = (each for each in entries(file) if each["rule"] == "no-public-head-service")
    assert (entry["level"], entry["firstSeen"]) == ("error", "2026-11-16")
    assert not counting(with_baseline(review(tmp_path, PUBLIC, policy=WARNS), file, None, FRIDAY))


def test_a_baseline_without_levels_is_read_and_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    with_baseline(review(tmp_path, PUBLIC, policy=WARNS), None, file, MONDAY)
    document = json.loads(file.read_text())
    for entry in document["findings"]:
        del entry["level"]
    file.write_text(json.dumps(document))
    results = with_baseline(review(tmp_path, PUBLIC, policy=ENFORCES), file, None, FRIDAY)
    assert "no-public-head-service" not in counting(results)
    number = len(document["findings"])
    assert [note for note in results.notes if "have no level" in note] == [
        f"{file}: {number} of its findings have no level, so they stay hidden whatever the policy "
        "makes of them; update it with --write-baseline"
    ]


ENTRY = '{"file": "", "object": "", "rule": "", "message": "", "fingerprint": "f", "firstSeen": 3}'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not a baseline: Invalid JSON"),
        ("a: [", "not a baseline: Invalid JSON"),
        ("[]", "not a baseline: Input should be an object"),
        ("{}", "not a baseline: schema: Field required"),
        ('{"schema": "raywarden.io/baseline/v2", "findings": []}', "not a baseline: schema: "),
        ('{"schema": "raywarden.io/baseline/v1", "findings": [3]}', "not a baseline: findings.0: "),
        ('{"schema": "raywarden.io/baseline/v1", "findings": [], "x\\ny": 1}', "not a baseline: x"),
        (
            f'{{"schema": "raywarden.io/baseline/v1", "findings": [{ENTRY}]}}',
            "not a baseline: findings.0.firstSeen: ",
        ),
        ("[" * 100_000, "not a baseline: Invalid JSON"),
        (" " * (64 * 1024 * 1024 + 1), "larger than 64 MiB"),
    ],
)
def test_a_bad_baseline_is_one_clear_line(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "baseline.json"
    file.write_text(content)
    for read, written in ((file, None), (None, file)):
        with pytest.raises(SetupError) as caught:
            with_baseline(reviews.results(), read, written, MONDAY)
        assert str(caught.value).startswith(f"{file}: {problem}")
        assert "\n" not in str(caught.value)
    assert file.read_text() == content


def test_what_is_no_file_is_no_baseline(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "missing", tmp_path / "fifo" / "x"):
        with pytest.raises(
            SetupError, match=r"(not a file|No such file or directory|Not a directory)$"
        ):
            with_baseline(reviews.results(), path, None, MONDAY)
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "missing" / "x"):
        with pytest.raises(SetupError):
            Baseline().write(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo"]
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_a_link_to_the_baseline_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    Baseline().write(link)
    assert link.is_symlink()
    assert entries(tmp_path / "real.json") == []
