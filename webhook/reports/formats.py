"""The formats by name."""

import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

import orjson
from rich.text import Text

from webhook.reports.github import github_commands
from webhook.reports.gitlab import gitlab_document
from webhook.reports.json_report import json_document
from webhook.reports.markdown_report import markdown
from webhook.reports.sarif import sarif_document
from webhook.reports.text_report import text
from webhook.review.results import Results


class ReportFormat(StrEnum):
    """The format of a report."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"
    GITHUB = "github"
    GITLAB = "gitlab"
    MARKDOWN = "markdown"
    HTML = "html"


def _text(results: Results, *, verbose: bool = False) -> str:
    return "".join(f"{line.plain}\n" for line in text(results, verbose=verbose))


def _github(results: Results) -> str:
    return "".join(f"{command}\n" for command in github_commands(results))


def _json(document: Any) -> str:
    try:
        # A large report must not be copied once more for its last line end.
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(document, option=options).decode()
    except orjson.JSONEncodeError:
        # The name of a file is not UTF-8.
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _junit(results: Results) -> str:
    # The library takes a while to import.
    from webhook.reports.junit import junit

    return junit(results)


def _html(results: Results) -> str:
    # The template engine takes a while to import.
    from webhook.reports.html_report import html

    return html(results)


_RENDERERS: dict[ReportFormat, Callable[[Results], str]] = {
    ReportFormat.JSON: lambda results: _json(json_document(results)),
    ReportFormat.SARIF: lambda results: _json(sarif_document(results)),
    ReportFormat.JUNIT: _junit,
    ReportFormat.GITHUB: _github,
    ReportFormat.GITLAB: lambda results: _json(gitlab_document(results)),
    ReportFormat.MARKDOWN: markdown,
    ReportFormat.HTML: _html,
}


def render(format: ReportFormat, results: Results, *, verbose: bool = False) -> str:
    """The results in a format, as the whole content of a file: text that UTF-8 can encode.

    `verbose` is for text.
    """
    if format is ReportFormat.TEXT:
        content = _text(results, verbose=verbose)
    else:
        content = _RENDERERS[format](results)
    return content.encode(errors="replace").decode()


def text_lines(
    format: ReportFormat, results: Results, *, verbose: bool = False
) -> Iterator[Text] | None:
    """The lines of text with their colors; None for the other formats."""
    return text(results, verbose=verbose) if format is ReportFormat.TEXT else None
