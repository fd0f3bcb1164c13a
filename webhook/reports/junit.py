"""JUnit XML: a test suite for each file, a test case for each object.

One failure holds all errors of an object, because many readers show only one.
"""

import re
from collections.abc import Iterator
from itertools import groupby

from junitparser import Error, Failure, JUnitXml, SystemOut, TestCase, TestSuite

from webhook.manifests.read import UnreadableManifest
from webhook.reports.sentences import with_remedy
from webhook.review.finding import Level, ReviewFinding
from webhook.review.results import ObjectResult, Results

# XML cannot contain these characters in any form. Source: XML 1.0, production Char.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TOOL = "raywarden review"


def junit(results: Results) -> str:
    """The whole review as a document with test suites."""
    report = JUnitXml(_TOOL)
    suites = list(_suites(results))
    for suite in suites:
        # The method for suites compares each one with all others.
        report.append(suite)
    report.tests = sum(suite.tests for suite in suites)
    report.failures = sum(suite.failures for suite in suites)
    report.errors = sum(suite.errors for suite in suites)
    content: bytes = report.tostring()
    return f'<?xml version="1.0" encoding="utf-8"?>\n{content.decode()}\n'


def _suites(results: Results) -> Iterator[TestSuite]:
    for file, objects in groupby(results.objects, lambda reviewed: reviewed.place.file):
        yield _suite(file or "cluster", map(_reviewed, objects))
    for broken in results.unreadable:
        yield _suite(broken.source, iter([_unreadable(broken)]))
    if results.notes:
        suite = _suite("notes", iter(()))
        suite.append(SystemOut(_xml("\n".join(results.notes))))
        yield suite


def _suite(name: str, cases: Iterator[TestCase]) -> TestSuite:
    suite = TestSuite(_xml(name))
    suite.add_testcases(list(cases))
    return suite


def _reviewed(reviewed: ObjectResult) -> TestCase:
    case = TestCase(_xml(str(reviewed.subject)), _xml(reviewed.source), 0)
    errors = [finding for finding in reviewed.findings if _is_failure(finding)]
    others = [finding for finding in reviewed.findings if not _is_failure(finding)]
    if errors:
        rules = ", ".join(dict.fromkeys(finding.rule for finding in errors))
        failure = Failure(_xml(f"refused by {rules}"), "denied")
        failure.text = _xml("\n\n".join(map(_paragraph, errors)))
        case.result = failure
    if others:
        case.system_out = _xml("\n\n".join(map(_paragraph, others)))
    return case


def _unreadable(broken: UnreadableManifest) -> TestCase:
    case = TestCase("readable", _xml(broken.source), 0)
    case.result = Error(_xml(broken.why), "unreadable")
    return case


def _is_failure(finding: ReviewFinding) -> bool:
    return finding.counts and finding.level is Level.ERROR


def _paragraph(finding: ReviewFinding) -> str:
    suppression = finding.suppression
    level = str(finding.level) if suppression is None else f"suppressed by {suppression.by}"
    reason = "" if suppression is None else f"\nReason: {suppression.reason}"
    place = f"{finding.place}: " if finding.place.file else ""
    return f"{place}{level}: {finding.rule}: {with_remedy(finding)}{reason}"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
