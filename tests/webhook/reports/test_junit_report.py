"""JUnit XML, which CI servers read."""

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support import reviews
from tests.support.reviews import EVERYTHING, FINDING, render
from tests.webhook.reports.reviews import everything_hostile
from webhook.reports.formats import ReportFormat
from webhook.review.finding import Level
from webhook.review.results import ObjectResult


def test_suites_of_junit() -> None:
    root = ElementTree.fromstring(render(ReportFormat.JUNIT, EVERYTHING))
    assert root.attrib["tests"] == "2"
    assert (root.attrib["failures"], root.attrib["errors"]) == ("1", "1")
    file, broken, notes = root
    (case,) = file
    assert case.attrib["name"] == "RayCluster team-a/demo"
    failure, out = case
    assert failure.attrib["message"] == "refused by no-root"
    assert str(failure.text).count("error: no-root") == 2
    assert "/repository/team/a.yaml:7:3: warning: no-root" in str(out.text)
    assert "suppressed by comment: no-root" in str(out.text)
    assert "Reason: the image needs it" in str(out.text)
    assert broken.find("testcase/error") is not None
    assert "expired on 2026-01-31" in notes.findtext("system-out", "")


@pytest.mark.parametrize(
    ("fail_on", "failures"),
    [
        (None, {}),
        (Level.ERROR, {"errors": "refused by no-root"}),
        (Level.WARNING, {"errors": "refused by no-root", "warnings": "findings of no-root"}),
    ],
)
def test_failures_of_junit_follow_the_level_that_fails_a_review(
    fail_on: Level | None, failures: Any
) -> None:
    objects: list[ObjectResult] = []
    for level in Level:
        subject = replace(FINDING.subject, name=f"{level}s")
        finding = replace(FINDING, level=level, subject=subject)
        objects += reviews.results(finding).objects
    written = render(ReportFormat.JUNIT, replace(EVERYTHING, objects=objects), fail_on=fail_on)
    cases = ElementTree.fromstring(written).findall("testsuite/testcase")
    found = {case.attrib["name"].partition("/")[2]: case.find("failure") for case in cases}
    messages = {name: each.attrib["message"] for name, each in found.items() if each is not None}
    assert messages == failures


def test_junit_stays_xml_whatever_authors_write() -> None:
    text = render(ReportFormat.JUNIT, everything_hostile())
    root = ElementTree.fromstring(text)
    case = root.find("testsuite/testcase")
    assert case is not None
    assert case.attrib["name"].endswith("]]><x> [a](b) {0}")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", text)
