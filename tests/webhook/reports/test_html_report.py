"""The HTML page: whole, self-contained, bounded, and harmless whatever a manifest holds."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support.html_page import Page
from tests.support.reviews import render
from tests.webhook.reports.reviews import HOSTILE, reviewed, sample, synthetic
from webhook.manifests.source_text import SourceText
from webhook.reports.excerpts import Excerpts
from webhook.reports.formats import ReportFormat
from webhook.review.finding import Place
from webhook.review.results import Results


def page_of(results: Results) -> Page:
    page = Page(render(ReportFormat.HTML, results))
    assert page.unbalanced == [] and page.open == []
    return page


def test_the_page_needs_nothing_else_and_allows_only_its_own_code() -> None:
    page_of(synthetic(10)).check_self_contained()


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_untrusted_text_adds_no_element_and_no_attribute(text: str) -> None:
    hostile, plain = page_of(synthetic(10, text)), page_of(synthetic(10, "plain"))
    shape = [(tag, sorted(attributes)) for tag, attributes in hostile.elements]
    assert shape == [(tag, sorted(attributes)) for tag, attributes in plain.elements]
    assert hostile.own == plain.own
    links = {str(link["href"]) for link in hostile.all("a")}
    assert all(link.startswith("#") for link in links)
    assert "".join(hostile.text.split()).isprintable()


def test_a_finding_has_its_lines_its_remedy_and_its_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = page_of(sample(tmp_path))
    assert "Admission would deny 2 of 2 objects" in page.text
    assert "container logs of the head is privileged" in page.text
    assert "deploy/train.yaml:21:43" in page.text
    assert "21  securityContext: {privileged: true}" in page.text
    assert "Fix set privileged: false" in page.text
    assert "suppressed by exemption: the load balancer is internal" in page.text
    assert "broken.yaml: line 2, column 1: did not find expected" in page.text
    assert {"class": "row"} in page.all("mark")
    assert {str(link["href"])[0] for link in page.all("a")} == {"#"}
    assert "no-privileged" in page.text


def test_rules_link_to_their_published_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = page_of(replace(sample(tmp_path), rules_url="https://docs.example/rules"))
    links = page.all("a").count({"href": "https://docs.example/rules#no-privileged"})
    assert links == 5, "in the table, and at each of four findings"


def test_headings_labels_and_anchors_are_complete() -> None:
    page_of(synthetic(30)).check_structure()


@pytest.mark.parametrize("text", ["plain", "<" * 2_000, "&" * 100_000])
def test_ten_thousand_findings_are_bounded_worst_first(text: str) -> None:
    started = time.monotonic()
    source = render(ReportFormat.HTML, synthetic(10_000, text))
    assert len(source) < 40_000_000
    assert re.search(r"\d+ findings of 9000 are left out; the page shows the worst ones\.", source)
    shown = re.findall(r'class="finding (\w+)"', source)
    assert shown.count("error") >= min(3_000, len(shown) - shown.count("suppressed"))
    # Ten times what it takes on two busy cores.
    assert time.monotonic() - started < 60


_CREDENTIALS = """\
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: train, namespace: ml}
spec:
  rayVersion: "2.58.0"
  gcsFaultToleranceOptions:
    redisAddress: redis:6379
    redisPassword:
      value: hunter-a
  headGroupSpec:
    rayStartParams: {redis-password: hunter-b}
    template:
      metadata:
        annotations:
          kubectl.kubernetes.io/last-applied-configuration: |
            {"password": "hunter-c"}
      spec:
        containers:
          - name: ray-head
            image: rayproject/ray:2.58.0
            # password: hunter-d
            env:
              - name: PART
                value: &part hunter-e
              - {name: WANDB_API_KEY, value: hunter-f}
              - value: >-
                  hunter-g
                  hunter-h
                name: DB_PASSWORD
              - {name: MY_TOKEN, value: $(PART)}
              - {name: THEIR_TOKEN, value: *part}
              - {name: URL, value: "postgres://me:hunter-i@db/x"}
            command: [train, --api-key, hunter-j]
            args: ["--token=hunter-k"]
            securityContext: {privileged: true}
          - {name: b, image: "rayproject/ray:2.58.0", securityContext: {privileged: true}}
---
apiVersion: v1
kind: Secret
metadata: {name: a}
data: {x: hunter-l}
stringData:
  y: |
    hunter-m
"""


@pytest.mark.parametrize("layout", ["yaml", "json"])
def test_no_credential_is_printed(layout: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{layout}"
    file.write_text(_CREDENTIALS if layout == "yaml" else _as_json(_CREDENTIALS))
    results = reviewed(str(file))
    excerpts = Excerpts(results.texts, results.findings)
    number = len(results.texts[str(file)].lines)
    every = [excerpts.around(Place(str(file), line + 1, 1)) for line in range(number)]
    shown = {line.text for excerpt in every for line in excerpt}
    assert not [text for text in shown if "hunter" in text]
    assert "hunter" not in render(ReportFormat.HTML, results)
    assert any("privileged: true" in text or '"privileged": true' in text for text in shown)


def _as_json(documents: str) -> str:
    items = list(yaml.safe_load_all(documents))
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)


def test_nothing_is_shown_from_where_a_file_cannot_be_parsed() -> None:
    text = SourceText("a.yaml", b"a: 1\n---\nb: [\n---\npass\n  : hunter\n")
    shown = [line.text for line in Excerpts({"a.yaml": text}).around(Place("a.yaml", 4, 1))]
    assert shown[0] == "---" and "hunter" not in "".join(shown)


def test_an_excerpt_of_one_long_line_is_the_part_around_the_column() -> None:
    line = f'{{"a": "{"x" * 500_000}", "privileged": true, "b": "{"y" * 500_000}"}}'
    text = SourceText("a.json", line.encode())
    (shown,) = Excerpts({"a.json": text}).around(Place("a.json", 1, line.index("true") + 1))
    assert '"privileged": true' in shown.text and len(shown.text) < 200


@pytest.mark.parametrize(
    "line", ["a" * 1_000_000, "a:" * 500_000, "a.b-" * 250_000, 'a"  :' * 200_000, "://" * 300_000]
)
def test_the_search_for_credentials_is_linear(line: str) -> None:
    started = time.monotonic()
    text = SourceText("a.yaml", f"# {line}\nb: '{line}'\n".encode())
    Excerpts({"a.yaml": text}).around(Place("a.yaml", 2, 4))
    assert time.monotonic() - started < 20
