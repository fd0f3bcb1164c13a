"""The formats by name."""

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import orjson

from webhook.reports.github import github_commands
from webhook.reports.gitlab import gitlab_document
from webhook.reports.json_report import json_document
from webhook.reports.junit import junit
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


def _text(results: Results) -> str:
    return "".join(f"{line}\n" for line in text(results))


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


_RENDERERS: dict[ReportFormat, Callable[[Results], str]] = {
    ReportFormat.TEXT: _text,
    ReportFormat.JSON: lambda results: _json(json_document(results)),
    ReportFormat.SARIF: lambda results: _json(sarif_document(results)),
    ReportFormat.JUNIT: junit,
    ReportFormat.GITHUB: _github,
    ReportFormat.GITLAB: lambda results: _json(gitlab_document(results)),
}


def render(format: ReportFormat, results: Results) -> str:
    """The results in a format, as the whole content of a file: text that UTF-8 can encode."""
    return _RENDERERS[format](results).encode(errors="replace").decode()
