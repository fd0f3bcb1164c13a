"""One HTML page for people, which needs no network and no other file."""

from webhook.reports.html_document import html_document
from webhook.reports.html_page import page_of
from webhook.review.results import Results


def html(results: Results) -> str:
    """The whole review as one page; everything from manifests is escaped by the template."""
    return html_document("review.html.jinja", page_of(results))
