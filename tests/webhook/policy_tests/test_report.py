"""The formats for programs, and the JSON Schema of a test file."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from junitparser import Error, Failure, JUnitXml

from tests.support.paths import REPOSITORY
from tests.webhook.policy_tests.cases import PUBLIC, run
from webhook.policy.schema import text_of
from webhook.policy_tests.cases import PolicyTest
from webhook.policy_tests.report import PolicyTestFormat, render
from webhook.policy_tests.results import PolicyTestRun
from webhook.policy_tests.session import exit_code

GOOD = {"name": "good", "objects": [PUBLIC], "expect": {"verdict": "denied"}}
DIFFERENT = {"name": "different", "objects": [PUBLIC], "expect": {"verdict": "allowed"}}
BROKEN = {"name": "broken", "objects": ["x.yaml"], "expect": {"verdict": "allowed"}}


@pytest.fixture
def ran(tmp_path: Path) -> PolicyTestRun:
    below = tmp_path / "below"
    below.mkdir()
    (below / "raywarden-test.yaml").write_text("a: [")
    return run(tmp_path, GOOD, DIFFERENT, BROKEN)


def test_junit_has_a_suite_for_each_file(ran: PolicyTestRun) -> None:
    suites = list(JUnitXml.fromstring(render(PolicyTestFormat.JUNIT, ran).encode()))
    assert [(suite.tests, suite.failures, suite.errors) for suite in suites] == [
        (3, 1, 1),
        (1, 0, 1),
    ]
    good, different, broken = suites[0]
    assert (good.name, good.result) == ("good", [])
    (failure,) = different.result
    assert isinstance(failure, Failure)
    assert failure.message == "verdict: not as expected"
    assert "\n-verdict: allowed\n+verdict: denied\ndenies no-public-head-service: " in failure.text
    (error,) = broken.result
    assert isinstance(error, Error)
    assert "x.yaml: No such file or directory" in error.message


def test_json_has_every_field(ran: PolicyTestRun) -> None:
    document = json.loads(render(PolicyTestFormat.JSON, ran))
    assert document["schema"] == "raywarden.io/test/v1"
    assert document["summary"] == {"passed": 1, "failed": 1, "unreadable": 2}
    _, different, broken = document["cases"]
    assert different["differences"] == [
        {"field": "verdict", "expected": "allowed", "actual": "denied"}
    ]
    assert different["line"] > 2
    finding = different["findings"][0]
    assert finding["rule"] == "no-public-head-service"
    assert finding["pointer"] == "/spec/headGroupSpec/serviceType"
    assert (finding["level"], finding["suppression"]) == ("error", None)
    assert (broken["status"], broken["differences"]) == ("unreadable", [])
    assert [entry["reason"] for entry in document["unreadable"]]


@pytest.mark.parametrize(
    ("cases", "code"), [([GOOD], 0), ([GOOD, DIFFERENT], 1), ([DIFFERENT, BROKEN], 2)]
)
def test_the_exit_code_says_how_it_ended(
    cases: list[dict[str, Any]], code: int, tmp_path: Path
) -> None:
    assert exit_code(run(tmp_path, *cases)) == code


VALID = yaml.safe_load((REPOSITORY / "deploy/policy-tests/raywarden-test.yaml").read_text())


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"cases": []}, False),
        ({"polcy": "x"}, False),
        ({"today": "2027-01-31"}, True),
        ({"today": "tomorrow"}, False),
        ({"policy": {"profiles": {}}}, True),
        ({"policy": 1}, False),
        ({"cases": [{**GOOD, "expect": {"denies": ["no-rot"]}}]}, False),
        ({"cases": [{**GOOD, "expect": {"denies": ["own-x", "size"]}}]}, True),
        ({"cases": [{**GOOD, "expect": {"mutates": ["ray-tsl"]}}]}, False),
        ({"cases": [{**GOOD, "expect": {"stored": [PUBLIC]}}]}, True),
        ({"cases": [{**GOOD, "expect": {"stored": 1}}]}, False),
    ],
)
def test_the_json_schema_agrees_with_the_parser(change: dict[str, Any], accepted: bool) -> None:
    schema = json.loads(text_of(PolicyTest, "test"))
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads(json.dumps({**VALID, **change}, default=str))
    assert jsonschema.Draft202012Validator(schema).is_valid(document) is accepted
    content = json.dumps(document)
    try:
        PolicyTest.model_validate_json(content, strict=True, by_alias=True, by_name=False)
        parsed = True
    except ValueError:
        parsed = False
    assert parsed is accepted
