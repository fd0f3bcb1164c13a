"""JUnit XML: a test suite for each file, a test case for each object.

One failure holds all errors of an object, because many readers show only one.
"""

from collections.abc import Iterator
from itertools import groupby

from junitparser import Error, Failure, SystemOut, TestCase, TestSuite

from webhook.manifests.read import UnreadableManifest
from webhook.reports.junit_xml import junit_xml, xml_text
from webhook.reports.sentences import with_remedy
from webhook.review.finding import Level, ReviewFinding
from webhook.review.results import ObjectResult, Results

_TOOL = "raywarden review"


def junit(results: Results) -> str:
    """The whole review as a document with test suites."""
    return junit_xml(_TOOL, list(_suites(results)))


def _suites(results: Results) -> Iterator[TestSuite]:
    for file, objects in groupby(results.objects, lambda reviewed: reviewed.place.file):
        yield _suite(file or "cluster", map(_reviewed, objects))
    for broken in results.unreadable:
        yield _suite(broken.source, iter([_unreadable(broken)]))
    if results.notes:
        suite = _suite("notes", iter(()))
        suite.append(SystemOut(xml_text("\n".join(results.notes))))
        yield suite


def _suite(name: str, cases: Iterator[TestCase]) -> TestSuite:
    suite = TestSuite(xml_text(name))
    suite.add_testcases(list(cases))
    return suite


def _reviewed(reviewed: ObjectResult) -> TestCase:
    case = TestCase(xml_text(str(reviewed.subject)), xml_text(reviewed.source), 0)
    errors = [finding for finding in reviewed.findings if _is_failure(finding)]
    others = [finding for finding in reviewed.findings if not _is_failure(finding)]
    if errors:
        rules = ", ".join(dict.fromkeys(finding.rule for finding in errors))
        failure = Failure(xml_text(f"refused by {rules}"), "denied")
        failure.text = xml_text("\n\n".join(map(_paragraph, errors)))
        case.result = failure
    if others:
        case.system_out = xml_text("\n\n".join(map(_paragraph, others)))
    return case


def _unreadable(broken: UnreadableManifest) -> TestCase:
    case = TestCase("readable", xml_text(broken.source), 0)
    case.result = Error(xml_text(broken.why), "unreadable")
    return case


def _is_failure(finding: ReviewFinding) -> bool:
    return finding.counts and finding.level is Level.ERROR


def _paragraph(finding: ReviewFinding) -> str:
    suppression = finding.suppression
    level = str(finding.level) if suppression is None else f"suppressed by {suppression.by}"
    reason = "" if suppression is None else f"\nReason: {suppression.reason}"
    place = f"{finding.place}: " if finding.place.file else ""
    return f"{place}{level}: {finding.rule}: {with_remedy(finding)}{reason}"
