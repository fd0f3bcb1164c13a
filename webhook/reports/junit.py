"""JUnit XML: a test suite for each file, a test case for each object.

One failure holds all findings of an object that fail it, because many readers show only one.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

from junitparser import Error, Failure, SystemOut, TestCase, TestSuite

from webhook.manifests.read import UnreadableManifest
from webhook.reports.junit_xml import junit_xml, xml_text
from webhook.reports.sentences import with_remedy
from webhook.review.finding import Level, ReviewFinding
from webhook.review.results import ObjectResult, Results

_TOOL = "raywarden review"


def junit(results: Results, fail_on: Level | None) -> str:
    """The whole review as a document with test suites.

    Findings from the level `fail_on` on are failures; None means that no finding is one.
    """
    return junit_xml(_TOOL, list(_suites(results, fail_on)))


def _suites(results: Results, fail_on: Level | None) -> Iterator[TestSuite]:
    for file, objects in groupby(results.objects, lambda reviewed: reviewed.place.file):
        yield _suite(file or "cluster", map(partial(_reviewed, fail_on), objects))
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


def _reviewed(fail_on: Level | None, reviewed: ObjectResult) -> TestCase:
    case = TestCase(xml_text(str(reviewed.subject)), xml_text(reviewed.source), 0)
    failures = [finding for finding in reviewed.findings if finding.fails_at(fail_on)]
    others = [finding for finding in reviewed.findings if not finding.fails_at(fail_on)]
    if failures:
        case.result = _failure(failures)
    if others:
        case.system_out = xml_text("\n\n".join(map(_paragraph, others)))
    return case


def _unreadable(broken: UnreadableManifest) -> TestCase:
    case = TestCase("readable", xml_text(broken.source), 0)
    case.result = Error(xml_text(broken.why), "unreadable")
    return case


def _failure(findings: Sequence[ReviewFinding]) -> Failure:
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    rules = ", ".join(dict.fromkeys(finding.rule for finding in errors or findings))
    if errors:
        failure = Failure(xml_text(f"refused by {rules}"), "denied")
    else:
        failure = Failure(xml_text(f"findings of {rules}"), "found")
    failure.text = xml_text("\n\n".join(map(_paragraph, findings)))
    return failure


def _paragraph(finding: ReviewFinding) -> str:
    suppression = finding.suppression
    level = str(finding.level) if suppression is None else f"suppressed by {suppression.by}"
    reason = "" if suppression is None else f"\nReason: {suppression.reason}"
    place = f"{finding.place}: " if finding.place.file else ""
    return f"{place}{level}: {finding.rule}: {with_remedy(finding)}{reason}"
