"""Text and Markdown for people: what they say, how long they get, and what cannot break them."""

import re
import time
from itertools import chain
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.support.paths import REPOSITORY
from tests.support.reviews import render
from tests.webhook.reports.reviews import HOSTILE, sample, synthetic
from webhook.reports.formats import ReportFormat
from webhook.review.results import Results

GOLDEN = REPOSITORY / "tests/webhook/reports/golden"
# The limit of a comment on GitHub.
MAX_COMMENT = 65_536
# HTML that the report itself writes.
OWN_HTML = {
    *("<br>", "<code>", "</code>", "<b>", "</b>", "<details>", "</details>"),
    *("<summary>", "</summary>"),
}


@pytest.mark.parametrize(
    ("name", "format", "verbose"),
    [
        ("text.txt", ReportFormat.TEXT, False),
        ("verbose.txt", ReportFormat.TEXT, True),
        ("markdown.txt", ReportFormat.MARKDOWN, False),
    ],
)
def test_the_report_is_the_golden_file(
    name: str,
    format: ReportFormat,
    verbose: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rewrite_golden: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    written = render(format, sample(tmp_path), verbose=verbose)
    file = GOLDEN / name
    if rewrite_golden:
        file.write_text(written)
    assert written == file.read_text(), "run make golden, and read the difference"


def test_text_counts_equal_findings_once_and_lists_all_with_verbose() -> None:
    results = synthetic(10_000)
    lines = render(ReportFormat.TEXT, results).splitlines()
    assert len(lines) < 60
    assert any(line.startswith("    667 findings, also at plain:") for line in lines)
    assert "1000 findings suppressed, 1000 by comment (--verbose lists them)" in lines
    verbose = render(ReportFormat.TEXT, results, verbose=True).splitlines()
    assert sum("Fix: plain" in line for line in verbose) == 9_000
    assert sum(line.startswith("  ignore ") for line in verbose) == 1_000


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("verbose", [False, True])
def test_untrusted_text_stays_within_its_line(text: str, verbose: bool) -> None:
    written = render(ReportFormat.TEXT, synthetic(10, text), verbose=verbose)
    assert all(line.isprintable() for line in written.split("\n"))
    plain = render(ReportFormat.TEXT, synthetic(10, "plain"), verbose=verbose)
    assert written.count("\n") == plain.count("\n")
    assert len(written) < 200_000
    written.encode()


def _html_of(markdown: str) -> set[str]:
    """The HTML tags that a parser of Markdown passes through."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    every = list(chain(tokens, *(token.children or [] for token in tokens)))
    inline = {token.content for token in every if token.type == "html_inline"}
    blocks = [token.content for token in every if token.type == "html_block"]
    for block in blocks:
        inline |= {f"<{part.partition('>')[0]}>" for part in block.split("<")[1:]}
    return inline


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_untrusted_text_cannot_become_markdown(text: str) -> None:
    written = render(ReportFormat.MARKDOWN, synthetic(10, text, distinct=True))
    assert _html_of(written) <= OWN_HTML
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(written)
    kinds = [token.type for token in tokens]
    inline = [child for token in tokens for child in token.children or []]
    assert kinds.count("heading_open") == 1
    assert kinds.count("td_open") == 4 * 9, "nine findings, four columns"
    assert not {"em_open", "image", "s_open", "code_inline"} & {token.type for token in inline}
    links = {str(token.attrs["href"]) for token in inline if token.type == "link_open"}
    assert not [link for link in links if "://" in link]


def test_mentions_and_references_are_broken() -> None:
    text = "@team #12 !34 GH-56 $78 https://evil.example www.evil.example ray@sha256:12"
    written = render(ReportFormat.MARKDOWN, synthetic(1, text))
    shown = "".join(
        child.content
        for token in MarkdownIt("commonmark").enable("table").parse(written)
        for child in token.children or []
        if child.type == "text"
    )
    for reference in ("@team", "#12", "!34", "GH-56", "$78", "ray@sha256"):
        mark = max(place for place, character in enumerate(reference) if character in "@#!$-") + 1
        assert f"{reference[:mark]}\u200b{reference[mark:]}" in shown
    without_addresses = re.sub(r"\]\([^)]*\)", "", written)
    assert "https://evil" not in without_addresses and "www.evil" not in without_addresses


@pytest.mark.parametrize("text", ["plain", *HOSTILE], ids=range(len(HOSTILE) + 1))
@pytest.mark.parametrize("distinct", [False, True])
def test_a_comment_fits_and_says_what_is_left_out(text: str, distinct: bool) -> None:
    started = time.monotonic()
    written = render(
        ReportFormat.MARKDOWN, synthetic(10_000 if len(text) < 1_000 else 50, text, distinct)
    )
    assert len(written) < MAX_COMMENT
    assert written.count("<details>") == written.count("</details>")
    if distinct and len(text) < 1_000:
        assert "more groups left out: this comment has room for no more." in written
    # Ten times what it takes on two busy cores.
    assert time.monotonic() - started < 30


def test_links_are_relative_and_only_into_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = render(ReportFormat.MARKDOWN, sample(tmp_path))
    assert "](deploy/train.yaml#L8)" in written
    absolute = synthetic(1, "/etc/a.yaml")
    for results in (absolute, synthetic(1, "../a.yaml"), synthetic(1, "stdin")):
        assert "#L" not in render(ReportFormat.MARKDOWN, results)
    assert "](a%20b%29.yaml#L1)" in render(ReportFormat.MARKDOWN, synthetic(1, "a b).yaml"))


def test_a_review_without_findings_says_so() -> None:
    written = render(ReportFormat.MARKDOWN, Results(objects=[]))
    assert "Admission would allow all of 0 objects." in written
    assert "<details>" not in written


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("text", ["::stop-commands::x", "a ##[add-mask]x"])
def test_text_in_a_log_of_github_runs_no_command(text: str, verbose: bool) -> None:
    written = render(ReportFormat.TEXT, synthetic(10, text), verbose=verbose)
    assert "##[" not in written
    assert not [line for line in written.splitlines() if line.lstrip().startswith("::")]
