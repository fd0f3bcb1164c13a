"""The formats by name."""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from rich.text import Text

from webhook.reports.github import github_commands
from webhook.reports.gitlab import gitlab_document
from webhook.reports.json_pieces import json_pieces
from webhook.reports.json_report import json_document
from webhook.reports.markdown_report import markdown
from webhook.reports.sarif import sarif_document
from webhook.reports.text_report import text
from webhook.review.finding import Level
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


def pieces(
    format: ReportFormat,
    results: Results,
    *,
    verbose: bool = False,
    fail_on: Level | None = Level.ERROR,
) -> Iterator[str]:
    """The results in a format, as the content of a file in pieces that UTF-8 can encode.

    `verbose` is for text. `fail_on` is the level from which on findings are failures in JUnit.
    """
    for piece in _pieces(format, results, verbose, fail_on):
        yield piece.encode(errors="replace").decode()


def _pieces(
    format: ReportFormat, results: Results, verbose: bool, fail_on: Level | None
) -> Iterable[str]:
    if format is ReportFormat.TEXT:
        return (f"{line.plain}\n" for line in text(results, verbose=verbose))
    if format is ReportFormat.JUNIT:
        # The library takes a while to import.
        from webhook.reports.junit import junit

        return [junit(results, fail_on)]
    return _RENDERERS[format](results)


def _html(results: Results) -> Iterable[str]:
    # The template engine takes a while to import.
    from webhook.reports.html_report import html

    return [html(results)]


_RENDERERS: dict[ReportFormat, Callable[[Results], Iterable[str]]] = {
    ReportFormat.JSON: lambda results: json_pieces(json_document(results)),
    ReportFormat.SARIF: lambda results: json_pieces(sarif_document(results)),
    ReportFormat.GITHUB: lambda results: (f"{line}\n" for line in github_commands(results)),
    ReportFormat.GITLAB: lambda results: json_pieces(gitlab_document(results)),
    ReportFormat.MARKDOWN: lambda results: [markdown(results)],
    ReportFormat.HTML: _html,
}


def text_lines(
    format: ReportFormat, results: Results, *, verbose: bool = False
) -> Iterator[Text] | None:
    """The lines of text with their colors; None for the other formats."""
    return text(results, verbose=verbose) if format is ReportFormat.TEXT else None
