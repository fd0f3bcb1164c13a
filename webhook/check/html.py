"""The findings as one HTML page, to look at, send and print."""

from collections.abc import Sequence

from webhook.check.facts import CheckFacts
from webhook.check.findings import Section
from webhook.check.page import page_of
from webhook.reports.html_document import html_document


def html(sections: Sequence[Section], facts: CheckFacts) -> str:
    """The page, in characters that UTF-8 can encode."""
    page = html_document("check.html.jinja", page_of(sections, facts))
    return page.encode(errors="replace").decode()
