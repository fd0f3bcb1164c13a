"""JSON is written piece by piece, with the bytes of the whole document."""

import json
from dataclasses import replace

import pytest

from tests.support.reviews import EVERYTHING, render
from tests.webhook.reports.reviews import everything_hostile
from webhook.reports.formats import ReportFormat, pieces
from webhook.reports.gitlab import gitlab_document
from webhook.reports.json_report import json_document
from webhook.review.results import Results


@pytest.mark.parametrize("results", [EVERYTHING, everything_hostile(), Results([])])
def test_json_in_pieces_is_the_whole_document(results: Results) -> None:
    document = json_document(results)
    document["objects"] = list(document["objects"])
    for format, whole in (
        (ReportFormat.JSON, document),
        (ReportFormat.GITLAB, list(gitlab_document(results))),
    ):
        text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
        assert render(format, results) == text.encode(errors="replace").decode()


def test_json_is_written_object_by_object() -> None:
    objects = list(EVERYTHING.objects) * 1000
    written = pieces(ReportFormat.JSON, replace(EVERYTHING, objects=objects))
    assert max(map(len, written)) < 10_000
