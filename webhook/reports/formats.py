"""The formats by name."""

from collections.abc import Callable, Iterator
from enum import StrEnum

import orjson
from rich.text import Text

from webhook.reports.json_report import json_document
from webhook.reports.markdown_report import markdown
from webhook.reports.text_report import text
from webhook.review.results import Results


class ReportFormat(StrEnum):
    """The format of a report."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


def _text(results: Results, *, verbose: bool = False) -> str:
    return "".join(f"{line.plain}\n" for line in text(results, verbose=verbose))


def _json(results: Results) -> str:
    return orjson.dumps(json_document(results), option=orjson.OPT_INDENT_2).decode() + "\n"


def _html(results: Results) -> str:
    # The template engine takes a while to import.
    from webhook.reports.html_report import html

    return html(results)


_RENDERERS: dict[ReportFormat, Callable[[Results], str]] = {
    ReportFormat.JSON: _json,
    ReportFormat.MARKDOWN: markdown,
    ReportFormat.HTML: _html,
}


def render(format: ReportFormat, results: Results, *, verbose: bool = False) -> str:
    """The results in a format, as the whole content of a file. `verbose` is for text."""
    if format is ReportFormat.TEXT:
        return _text(results, verbose=verbose)
    return _RENDERERS[format](results)


def text_lines(
    format: ReportFormat, results: Results, *, verbose: bool = False
) -> Iterator[Text] | None:
    """The lines of text with their colors; None for the other formats."""
    return text(results, verbose=verbose) if format is ReportFormat.TEXT else None
