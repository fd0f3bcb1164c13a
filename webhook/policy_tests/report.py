"""Reports of policy tests: text for people, JSON and JUnit for programs."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby
from typing import Any

import orjson
from junitparser import Error, Failure, TestCase, TestSuite

from policies.documents.untyped import one_line
from webhook.policy_tests.results import CaseResult, CaseStatus, PolicyTestRun, effect_of
from webhook.reports.json_report import finding_document
from webhook.reports.junit_xml import junit_xml, xml_text
from webhook.review.finding import ReviewFinding

SCHEMA = "raywarden.io/test/v1"
_LABELS = {CaseStatus.PASSED: "ok", CaseStatus.FAILED: "FAIL", CaseStatus.UNREADABLE: "ERROR"}
# Enough to see why a case differs.
_MAX_FINDINGS = 20


class PolicyTestFormat(StrEnum):
    """The format of a report of tests."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"


def render(format: PolicyTestFormat, run: PolicyTestRun) -> str:
    """The report in a format, as the whole content of a file."""
    if format is PolicyTestFormat.JSON:
        return orjson.dumps(json_document(run), option=orjson.OPT_INDENT_2).decode() + "\n"
    if format is PolicyTestFormat.JUNIT:
        return junit(run)
    return "".join(f"{line}\n" for line in text(run))


def text(run: PolicyTestRun) -> Iterator[str]:
    """A line for each case, with what differs below it; the last line has the totals."""
    for case in run.cases:
        yield f"{_LABELS[case.status]:<5}  {case.file}:{case.line}: {one_line(case.name)}"
        yield from (f"       {line}" for line in _details(case))
    for broken in run.unreadable:
        for line in broken.why.splitlines():
            yield f"{_LABELS[CaseStatus.UNREADABLE]:<5}  {one_line(line)}"
    for note in run.notes:
        yield f"note: {note}"
    yield ", ".join(f"{number} {status}" for status, number in totals(run).items())


def _details(case: CaseResult) -> Iterator[str]:
    """Why a case did not pass."""
    if case.problem:
        yield one_line(case.problem)
    yield from case.diff
    for finding in case.unexpected[:_MAX_FINDINGS]:
        yield _explained(finding)
    hidden = len(case.unexpected) - _MAX_FINDINGS
    if hidden > 0:
        yield f"... and {hidden} more findings"


def _explained(finding: ReviewFinding) -> str:
    about = f"{finding.subject}, derived {finding.derived}" if finding.derived else finding.subject
    return one_line(f"{effect_of(finding)} {finding.rule}: {finding.message} ({about})")


def totals(run: PolicyTestRun) -> dict[str, int]:
    """The number of cases by how they ended."""
    return {str(status): run.count(status) for status in CaseStatus}


def json_document(run: PolicyTestRun) -> dict[str, Any]:
    """The whole run as one JSON object."""
    return {
        "schema": SCHEMA,
        "cases": [_case(case) for case in run.cases],
        "unreadable": [{"file": broken.file, "reason": broken.why} for broken in run.unreadable],
        "notes": list(run.notes),
        "summary": totals(run),
    }


def _case(case: CaseResult) -> dict[str, Any]:
    return {
        "file": case.file,
        "line": case.line,
        "name": case.name,
        "status": str(case.status),
        "problem": case.problem or None,
        "differences": [
            {"field": found.field, "expected": found.expected, "actual": found.actual}
            for found in case.differences
        ],
        "diff": list(case.diff),
        "findings": [finding_document(finding) for finding in case.findings],
    }


def junit(run: PolicyTestRun) -> str:
    """JUnit XML: a suite for each file."""
    return junit_xml("raywarden test", list(_suites(run)))


def _suites(run: PolicyTestRun) -> Iterator[TestSuite]:
    for file, cases in groupby(run.cases, lambda case: case.file):
        suite = TestSuite(xml_text(file))
        suite.add_testcases([_test_case(case) for case in cases])
        yield suite
    for broken in run.unreadable:
        suite = TestSuite(xml_text(broken.file))
        case = TestCase(xml_text(broken.file), classname=xml_text(broken.file))
        case.result = [_element(Error, broken.why.splitlines()[0], broken.why)]
        suite.add_testcase(case)
        yield suite


def _test_case(case: CaseResult) -> TestCase:
    element = TestCase(xml_text(case.name), classname=xml_text(case.file))
    if case.problem:
        element.result = [_element(Error, case.problem, case.problem)]
    elif case.differences:
        fields = ", ".join(difference.field for difference in case.differences)
        content = "\n".join(_details(case))
        element.result = [_element(Failure, f"{fields}: not as expected", content)]
    return element


def _element(kind: type[Error] | type[Failure], message: str, content: str) -> Error | Failure:
    element = kind(xml_text(message))
    element.text = xml_text(content)
    return element
