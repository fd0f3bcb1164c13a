"""What code scanning, merge requests and CI servers read."""

import json
import os
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support import factory, reviews
from tests.support.reviews import EVERYTHING, FINDING, render
from tests.webhook.reports.reviews import everything_hostile, synthetic
from webhook.reports.formats import ReportFormat
from webhook.reports.sarif import sarif_document
from webhook.review.finding import Level, Place

_SCHEMAS = os.environ.get("RAYWARDEN_REPORT_SCHEMAS", "")
official = pytest.mark.skipif(
    not _SCHEMAS,
    reason="RAYWARDEN_REPORT_SCHEMAS names no folder with sarif.json, gitlab.json and junit.xsd",
)


def sarif(results: Any) -> Any:
    (run,) = sarif_document(results)["runs"]
    return run


def schema(name: str) -> Any:
    return json.loads((Path(_SCHEMAS) / name).read_text())


@official
@pytest.mark.parametrize("results", [EVERYTHING, everything_hostile(), reviews.results()])
def test_sarif_follows_the_schema_of_oasis(results: Any) -> None:
    jsonschema.validate(sarif_document(results), schema("sarif.json"))


@official
@pytest.mark.parametrize("results", [EVERYTHING, everything_hostile(), reviews.results()])
def test_gitlab_accepts_every_entry(results: Any) -> None:
    for entry in json.loads(render(ReportFormat.GITLAB, results)):
        jsonschema.validate(entry, schema("gitlab.json"))


@official
@pytest.mark.skipif(not shutil.which("xmllint"), reason="xmllint (libxml2) is not installed")
@pytest.mark.parametrize("results", [EVERYTHING, everything_hostile(), reviews.results()])
def test_junit_follows_the_schema_of_jenkins(results: Any) -> None:
    checked = subprocess.run(
        ["xmllint", "--noout", "--schema", f"{_SCHEMAS}/junit.xsd", "-"],
        input=render(ReportFormat.JUNIT, results).encode(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr.decode()


def test_code_scanning_shows_the_rule_and_its_remedy() -> None:
    results = reviews.results(FINDING, rules_url="https://docs.example/rules")
    (rule,) = sarif(results)["tool"]["driver"]["rules"]
    assert rule["id"] == "no-root"
    assert rule["shortDescription"]["text"].startswith("Refuses containers that run as root")
    assert "\n\n**Fix:** set `runAsNonRoot: true`" in rule["help"]["markdown"]
    assert "\n\nFix: set `runAsNonRoot: true`" in rule["help"]["text"]
    assert rule["helpUri"] == "https://docs.example/rules#no-root"
    assert rule["defaultConfiguration"] == {"level": "error"}
    assert float(rule["properties"]["security-severity"]) >= 7
    assert "security" in rule["properties"]["tags"]


def test_without_published_documentation_the_tool_itself_explains_a_rule() -> None:
    (rule,) = sarif(reviews.results(FINDING))["tool"]["driver"]["rules"]
    assert "helpUri" not in rule
    assert "`raywarden rules explain no-root` shows" in rule["help"]["markdown"]
    assert "http" not in render(ReportFormat.SARIF, reviews.results(FINDING)).partition("runs")[2]


def test_a_result_of_sarif_has_its_place_and_its_object() -> None:
    (result,) = sarif(reviews.results(FINDING))["results"]
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("no-root", 0, "error")
    assert result["message"]["text"] == f"{FINDING.message}\nFix: {FINDING.remediation}"
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "team/a.yaml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 7, "startColumn": 3},
    }
    names = [logical["fullyQualifiedName"] for logical in location["logicalLocations"]]
    subject = "RayCluster team-a/demo"
    assert names == [subject, f"{subject}#/spec/workerGroupSpecs/0"]
    assert result["partialFingerprints"] == {"raywarden/v1": "f" * 32}
    assert result["suppressions"] == []
    assert "baselineState" not in result


def test_sarif_shows_suppressed_findings_as_such() -> None:
    results = sarif(EVERYTHING)["results"]
    shown = [(entry["kind"], entry["justification"]) for result in results
             for entry in result["suppressions"]]  # fmt: skip
    assert shown == [
        ("external", "exemption: a test run"),
        ("inSource", "comment: the image needs it"),
        ("external", "baseline: since 2026-11-22"),
    ]
    states = [result["baselineState"] for result in results]
    assert states == ["new"] * 6 + ["unchanged"]


def test_sarif_notes_what_could_not_be_read() -> None:
    (invocation,) = sarif(EVERYTHING)["invocations"]
    assert invocation["executionSuccessful"] is False
    note, broken = invocation["toolExecutionNotifications"]
    assert (note["level"], broken["level"]) == ("note", "error")
    (location,) = broken["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "b.yaml"
    (invocation,) = sarif(reviews.results(FINDING))["invocations"]
    assert invocation["executionSuccessful"] is True


@pytest.mark.parametrize(
    ("file", "artifact"),
    [
        ("/repository/a b#é.yaml", {"uri": "a%20b%23%C3%A9.yaml", "uriBaseId": "%SRCROOT%"}),
        ("team/../a.yaml", {"uri": "a.yaml", "uriBaseId": "%SRCROOT%"}),
        ("/elsewhere/a.yaml", {"uri": "file:///elsewhere/a.yaml"}),
    ],
)
def test_sarif_names_files_relative_to_the_repository(file: str, artifact: Any) -> None:
    (result,) = sarif(reviews.results(replace(FINDING, place=Place(file, 1, 1))))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == artifact


def test_an_object_of_a_cluster_has_no_file() -> None:
    results = reviews.results(replace(FINDING, place=Place("", 1, 1)))
    (result,) = sarif(results)["results"]
    assert list(result["locations"][0]) == ["logicalLocations"]
    assert "file=" not in render(ReportFormat.GITHUB, results)
    (entry,) = json.loads(render(ReportFormat.GITLAB, results))
    assert entry["location"]["path"] == "RayCluster team-a/demo"


def test_a_pipe_from_helm_is_shown_at_its_template() -> None:
    place = Place("stdin", 40, 5, "ray/templates/cluster.yaml")
    results = reviews.results(replace(FINDING, place=place))
    (entry,) = json.loads(render(ReportFormat.GITLAB, results))
    assert entry["location"] == {"path": "ray/templates/cluster.yaml", "lines": {"begin": 1}}


def test_github_gets_no_more_results_than_it_accepts() -> None:
    warnings = [replace(FINDING, level=Level.WARNING)] * 25_000
    run = sarif(reviews.results(*warnings, FINDING))
    assert len(run["results"]) == 25_000
    assert run["results"][0]["level"] == "error"
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("1 findings are left out")


def test_sarif_has_no_links_and_placeholders_of_authors() -> None:
    message = "x [text](https://evil.example) {0} {mode: token}"
    (result,) = sarif(reviews.results(replace(FINDING, message=message)))["results"]
    text = result["message"]["text"].partition("\n")[0]
    assert text == r"x \[text\](https://evil.example) {{0}} {mode: token}"


def test_annotations_of_github() -> None:
    first, *_ = render(ReportFormat.GITHUB, reviews.results(FINDING)).splitlines()
    assert first == (
        "::error file=team/a.yaml,line=7,col=3,title=no-root in RayCluster team-a/demo"
        "::container ray-worker of the worker group small runs as root"
        "%0AFix: set runAsNonRoot: true"
    )


def test_annotations_are_of_findings_that_count_worst_first() -> None:
    lines = render(ReportFormat.GITHUB, EVERYTHING).splitlines()
    commands = [line.split()[0] for line in lines]
    assert commands == ["::error"] * 3 + ["::warning"] + ["::notice"] * 2


def test_authors_cannot_write_workflow_commands() -> None:
    text = render(ReportFormat.GITHUB, everything_hostile())
    assert "\r" not in text
    lines = text.split("\n")
    assert lines.pop() == ""
    for line in lines:
        properties = line.removeprefix("::").split("::")[0].partition(" ")[2]
        keys = [pair.partition("=")[0] for pair in properties.split(",")]
        assert set(keys) <= {"file", "line", "col", "title"}
    assert len(lines) == 3


def test_entries_of_gitlab() -> None:
    entries = json.loads(render(ReportFormat.GITLAB, EVERYTHING))
    broken, error, warning, note, derived = entries
    assert (broken["check_name"], broken["location"]["path"]) == ("unreadable", "b.yaml")
    assert error["check_name"] == "no-root"
    assert error["location"] == {"path": "team/a.yaml", "lines": {"begin": 7}}
    severities = [entry["severity"] for entry in (broken, error, warning, note)]
    assert severities == ["blocker", "critical", "minor", "info"]
    assert "(in the Pod demo-head- that KubeRay creates)" in derived["description"]
    assert max(Counter(entry["fingerprint"] for entry in entries).values()) == 1


@pytest.mark.parametrize("format", ReportFormat)
def test_every_format_can_be_written_whatever_files_are_called(format: ReportFormat) -> None:
    assert render(format, everything_hostile()).encode()


def test_the_name_of_a_file_keeps_its_bytes_in_sarif() -> None:
    results = reviews.results(replace(FINDING, place=Place("\udcff.yaml", 1, 1)))
    (result,) = sarif(results)["results"]
    artifact = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact["uri"] == "%FF.yaml"


def test_every_format_of_a_real_review(tmp_path: Path) -> None:
    public = {"/spec/headGroupSpec/serviceType": "LoadBalancer"}
    results = reviews.review_of(tmp_path / "a.yaml", factory.changed(factory.ray_cluster(), public))
    line = results.findings[0].place.line
    assert line > 1
    assert f",line={line},col=" in render(ReportFormat.GITHUB, results)
    assert f"a.yaml:{line}:" in render(ReportFormat.JUNIT, results)
    entries = json.loads(render(ReportFormat.GITLAB, results))
    assert {"begin": line} in [entry["location"]["lines"] for entry in entries]
    regions = [
        result["locations"][0]["physicalLocation"]["region"]["startLine"]
        for result in json.loads(render(ReportFormat.SARIF, results))["runs"][0]["results"]
    ]
    assert line in regions


def test_annotations_have_no_escapes_of_terminals() -> None:
    written = render(ReportFormat.GITHUB, synthetic(10, "a\x1b[31m\u202eb\nc"))
    assert "a [31m" in written and "%0A" in written
    assert not [line for line in written.splitlines() if not line.isprintable()]
