"""The published JSON Schema describes every JSON report."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import orjson
import pytest

from tests.support import reviews
from tests.support.paths import GOLDEN
from tests.support.reviews import render
from webhook.reports import json_schema
from webhook.reports.formats import ReportFormat
from webhook.reports.json_report import SCHEMA

PUBLISHED = json.loads(json_schema.text())
VALIDATOR = jsonschema.Draft202012Validator(PUBLISHED)


def reports() -> Iterator[Any]:
    yield json.loads(render(ReportFormat.JSON, reviews.EVERYTHING))
    yield json.loads(render(ReportFormat.JSON, reviews.results()))


@pytest.mark.parametrize("report", list(reports()))
def test_a_report_follows_the_schema(report: Any) -> None:
    jsonschema.validate(report, PUBLISHED)
    assert report["schema"] == SCHEMA


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.json")), ids=lambda file: file.stem)
def test_golden_reports_follow_the_schema(file: Any) -> None:
    reviewed = orjson.loads(file.read_bytes())["report"]
    schema = {"$defs": PUBLISHED["$defs"], "$ref": "#/$defs/ReportedObject"}
    jsonschema.validate(reviewed, schema)


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a value."""
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from parts(member)
    if isinstance(value, list):
        for member in value:
            yield from parts(member)


def test_the_schema_allows_no_other_fields_and_needs_all() -> None:
    jsonschema.Draft202012Validator.check_schema(PUBLISHED)
    report = next(reports())
    for part in parts(report):
        part["extra"] = 1
        assert not VALIDATOR.is_valid(report)
        del part["extra"]
        for name in list(part):
            value = part.pop(name)
            assert not VALIDATOR.is_valid(report)
            part[name] = value
    assert VALIDATOR.is_valid(report)
