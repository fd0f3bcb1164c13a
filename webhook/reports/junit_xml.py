"""What all our documents of JUnit XML have in common."""

import re
from collections.abc import Sequence

from junitparser import JUnitXml, TestSuite

# XML cannot contain these characters in any form. Source: XML 1.0, production Char.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(tool: str, suites: Sequence[TestSuite]) -> str:
    """The document with these test suites, as the whole content of a file."""
    report = JUnitXml(tool)
    for suite in suites:
        # The method for suites compares each one with all others.
        report.append(suite)
    report.tests = sum(suite.tests for suite in suites)
    report.failures = sum(suite.failures for suite in suites)
    report.errors = sum(suite.errors for suite in suites)
    content: bytes = report.tostring()
    return f'<?xml version="1.0" encoding="utf-8"?>\n{content.decode()}\n'


def xml_text(text: str) -> str:
    """`text` with a replacement for each character that XML cannot contain."""
    return _NOT_XML.sub("\ufffd", text)
