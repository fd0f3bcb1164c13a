"""Comments of authors that suppress findings, where the policy file lets them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import factory, reviews
from webhook.manifests.comments import Comment, comments_with
from webhook.review.finding import Level, ReviewFinding, SuppressedBy
from webhook.review.results import Results

ALLOWED = {"authorSuppressions": {"rules": ["no-root", "no-public-head-service"]}}
MANIFEST = """\
apiVersion: ray.io/v1
kind: RayCluster
metadata:
  name: demo
  namespace: team-a
spec:
  rayVersion: 2.60.0
  headGroupSpec:
    serviceType: LoadBalancer{value}
    rayStartParams: {{}}
    template:
      spec:
        containers:
          - name: ray-head
            image: rayproject/ray:2.60.0
            securityContext:
              runAsUser: 0
"""
RULE = "no-public-head-service"


def manifest(value: str = "") -> str:
    return MANIFEST.format(value=value and f"  # {value}")


def review(tmp_path: Path, *texts: Any, policy: Any = None) -> Results:
    return reviews.review_of(tmp_path / "a.yaml", *texts, policy=policy or ALLOWED)


def by_comment(results: Results) -> list[tuple[str, str]]:
    """The rules that comments suppress, and the reasons."""
    return [
        (finding.rule, finding.suppression.reason)
        for finding in results.findings
        if finding.suppression and finding.suppression.by is SuppressedBy.COMMENT
    ]


def problems(results: Results) -> Iterator[ReviewFinding]:
    return (finding for finding in results.findings if finding.rule == "author-suppressions")


def test_a_comment_at_the_end_of_the_line_suppresses(tmp_path: Path) -> None:
    text = manifest(value=f"raywarden: ignore[{RULE}] only for the fair")
    results = review(tmp_path, text)
    assert by_comment(results) == [(RULE, "only for the fair")]
    assert RULE not in {finding.rule for finding in results.findings if finding.counts}
    assert results.suppressed == 1
    assert not list(problems(results))


def test_admission_would_still_refuse(tmp_path: Path) -> None:
    text = manifest(value=f"raywarden: ignore[{RULE}] only for the fair")
    (reviewed,) = review(tmp_path, text).objects
    (finding,) = (finding for finding in reviewed.findings if finding.rule == RULE)
    assert finding.level is Level.ERROR
    assert not reviewed.allowed


def test_a_comment_on_the_line_above_suppresses(tmp_path: Path) -> None:
    above = f"    # raywarden: ignore[{RULE}]: only for the fair\n    # until June\n"
    text = manifest().replace("    serviceType", f"{above}    serviceType")
    assert by_comment(review(tmp_path, text)) == [(RULE, "only for the fair")]


def test_a_comment_beside_the_key_suppresses(tmp_path: Path) -> None:
    comment = f"# raywarden: ignore[{RULE}] only for the fair"
    text = manifest().replace("serviceType:", f"serviceType: {comment}\n     ")
    assert by_comment(review(tmp_path, text)) == [(RULE, "only for the fair")]


@pytest.mark.parametrize("header", ["{comment}", "---\n{comment}", "--- {comment}", "#\n{comment}"])
def test_a_comment_above_the_document_is_for_all_of_it(tmp_path: Path, header: str) -> None:
    comment = f"# raywarden: ignore[no-root, {RULE}] a test cluster"
    policy = {**ALLOWED, "profiles": {"enforce": "restricted"}}
    text = f"{header.format(comment=comment)}\n{manifest()}"
    second = manifest().replace("name: demo", "name: other")
    results = review(tmp_path, text, second, policy=policy)
    first, other = results.objects
    assert {rule for rule, _ in by_comment(results)} == {"no-root", RULE}
    assert RULE not in {finding.rule for finding in first.findings if finding.counts}
    assert RULE in {finding.rule for finding in other.findings if finding.counts}


def test_a_comment_at_the_end_of_a_document_is_not_for_the_next(tmp_path: Path) -> None:
    first = f"{manifest()}# raywarden: ignore[{RULE}] a test cluster\n"
    results = review(tmp_path, first, manifest().replace("name: demo", "name: other"))
    assert not by_comment(results)
    (problem,) = problems(results)
    assert problem.place.line == first.count("\n")


@pytest.mark.parametrize(
    ("policy", "comment", "message"),
    [
        (ALLOWED, f"ignore[{RULE}]", f"the comment to ignore {RULE} has no reason"),
        (ALLOWED, "ignore because", "the comment to ignore findings names no rule"),
        (ALLOWED, "ignore[] because", "the comment to ignore findings names no rule"),
        (ALLOWED, "ignore[no-rot] because", "no rule is called no-rot; did you mean no-root?"),
        (ALLOWED, "ignore[tls-on] because", "the policy does not let authors ignore tls-on"),
        (ALLOWED, "ignore[no-root] because", "the comment to ignore no-root suppresses no finding"),
        ({}, f"ignore[{RULE}] because", f"the policy does not let authors ignore {RULE}"),
    ],
)
def test_comments_without_effect_are_noted(
    tmp_path: Path, policy: Any, comment: str, message: str
) -> None:
    policy = {"profiles": {"enforce": "baseline"}, **policy}
    results = review(tmp_path, manifest(value=f"raywarden: {comment}"), policy=policy)
    assert not by_comment(results)
    (problem,) = problems(results)
    assert (problem.message, problem.level) == (message, Level.NOTE)
    line = manifest().splitlines()[problem.place.line - 1]
    assert problem.place.column == len(line) + 3
    assert line.endswith("LoadBalancer")


def test_all_rules_may_be_suppressed(tmp_path: Path) -> None:
    policy = {"authorSuppressions": {"rules": "all"}}
    text = manifest(value=f"raywarden: ignore[{RULE}] only for the fair")
    assert by_comment(review(tmp_path, text, policy=policy)) == [(RULE, "only for the fair")]


def test_an_exemption_comes_first(tmp_path: Path) -> None:
    exemption = {"rules": [RULE], "reason": "agreed"}
    text = manifest(value=f"raywarden: ignore[{RULE}] only for the fair")
    results = review(tmp_path, text, policy={**ALLOWED, "exemptions": [exemption]})
    assert not by_comment(results)
    assert len(list(problems(results))) == 1


def test_the_findings_of_derived_objects_are_suppressed_where_they_come_from(
    tmp_path: Path,
) -> None:
    job = factory.changed(
        factory.ray_job(), {"/spec/rayClusterSpec/headGroupSpec/serviceType": "LoadBalancer"}
    )
    plain = reviews.review_of(tmp_path / "a.yaml", job, policy=ALLOWED)
    (line, *_) = {finding.place.line for finding in plain.findings if finding.rule == RULE}
    lines = (tmp_path / "a.yaml").read_text().splitlines()
    lines[line - 1] += f" # raywarden: ignore[{RULE}] only for the fair"
    assert RULE in {rule for rule, _ in by_comment(review(tmp_path, "\n".join(lines)))}


COMMENTS = """\
# x top
--- # x start
# x above
a: "x # x no" # x quoted
b: |  # x header
  text # x no
  # x no

# x after
c: [1, # x flow
  2]
d: plain#x no
e: # x key
  - 'it''s # x no
    # x no' # x two lines
f: plain # x plain
  # x below
... # x end
--- >- # x folded
  # x no
---
"""


def test_comments_are_found_by_structure() -> None:
    found = [
        (comment.text, comment.document, comment.is_above, comment.is_alone)
        for comment in comments_with("x", COMMENTS.encode())
    ]
    assert found == [
        ("x top", 0, True, True),
        ("x start", 0, True, False),
        ("x above", 0, True, True),
        ("x quoted", 0, False, False),
        ("x header", 0, False, False),
        ("x after", 0, False, True),
        ("x flow", 0, False, False),
        ("x key", 0, False, False),
        ("x two lines", 0, False, False),
        ("x plain", 0, False, False),
        ("x below", 0, False, True),
        ("x end", 1, False, False),
        ("x folded", 1, False, False),
    ]
    lines = COMMENTS.splitlines()
    for comment in comments_with("x", COMMENTS.encode()):
        assert lines[comment.line - 1][comment.column - 1 :] == f"# {comment.text}"


@pytest.mark.parametrize(
    ("prefix", "line"), [("", 1), ("\ufeff", 1), ("é: 1\r\n", 2), ("b: 2\x85", 2), ("\u2028", 2)]
)
def test_lines_are_those_of_the_parser(prefix: str, line: int) -> None:
    (comment,) = comments_with("x", f"{prefix}a: 1 # x".encode())
    assert comment == Comment("x", line, 6, 0, is_above=False, is_alone=False)


@pytest.mark.parametrize(
    "content",
    [
        b"# raywarden: ignore[a] b\n" * 100_000,
        b"[" + b"1, " * 300_000 + b"'raywarden: ignore[a]']",
        b"a: 1 # raywarden: ignore[" + b"no-rot," * 100_000 + b"] b",
        b"a: 1 # raywarden: ignore" + b" :-" * 300_000,
    ],
)
def test_many_comments_take_linear_time(tmp_path: Path, content: bytes) -> None:
    start = time.process_time()
    review(tmp_path, f"{manifest()}---\n{content.decode()}\n---\n{manifest()}")
    assert time.process_time() - start < 20


def test_a_text_that_is_not_yaml_has_no_comments() -> None:
    assert not list(comments_with("x", b"a: [ # y\n\x00 # x"))


def test_a_reason_that_nobody_can_see_is_none(tmp_path: Path) -> None:
    results = review(tmp_path, manifest(value=f"raywarden: ignore[{RULE}] \u200b\u2060"))
    assert not by_comment(results)
    assert [finding.message for finding in problems(results)] == [
        f"the comment to ignore {RULE} has no reason"
    ]
