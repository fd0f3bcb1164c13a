"""The formats by name."""

from collections.abc import Callable
from enum import StrEnum

import orjson

from webhook.reports.json_report import json_document
from webhook.reports.text_report import text
from webhook.review.results import Results


class ReportFormat(StrEnum):
    """The format of a report."""

    TEXT = "text"
    JSON = "json"


def _text(results: Results) -> str:
    return "".join(f"{line}\n" for line in text(results))


def _json(results: Results) -> str:
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(json_document(results), option=options).decode()


_RENDERERS: dict[ReportFormat, Callable[[Results], str]] = {
    ReportFormat.TEXT: _text,
    ReportFormat.JSON: _json,
}


def render(format: ReportFormat, results: Results) -> str:
    """The results in a format, as the whole content of a file."""
    return _RENDERERS[format](results)
