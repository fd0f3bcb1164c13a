"""Reviews of manifests in the process of the test, and findings made up for reports."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import yaml

from policies.config import Policy
from policies.documents.pointer import ROOT
from policies.model import Severity
from tests.support import factory
from webhook.manifests.read import UnreadableManifest
from webhook.reports.formats import ReportFormat, pieces
from webhook.review.finding import (
    Level,
    Place,
    ReviewFinding,
    Subject,
    SuppressedBy,
    Suppression,
)
from webhook.review.results import ObjectResult, Results
from webhook.review.run import ReadSources, ReviewBasis, review_manifests
from webhook.review.suppressions import IgnoreComments

SUBJECT = Subject("RayCluster", "team-a", "demo")
FINDING = ReviewFinding(
    rule="no-root",
    level=Level.ERROR,
    severity=Severity.HIGH,
    message="container ray-worker of the worker group small runs as root",
    remediation="set runAsNonRoot: true",
    pointer=ROOT / "spec" / "workerGroupSpecs" / 0,
    place=Place("/repository/team/a.yaml", 7, 3),
    subject=SUBJECT,
    fingerprint="f" * 32,
)


def suppressed(finding: ReviewFinding, by: SuppressedBy, reason: str) -> ReviewFinding:
    """The finding as something other than an administrator's fix keeps it from counting."""
    return replace(finding, suppression=Suppression(by, reason), fingerprint=by.value)


# One of everything that a format must be able to say.
FINDINGS = (
    FINDING,
    replace(FINDING, level=Level.WARNING, severity=Severity.LOW, fingerprint="1" * 32),
    replace(FINDING, level=Level.NOTE, fingerprint="2" * 32, pointer=ROOT),
    replace(FINDING, derived=Subject("Pod", "team-a", "demo-head-"), fingerprint="3" * 32),
    suppressed(FINDING, SuppressedBy.EXEMPTION, "a test run"),
    suppressed(FINDING, SuppressedBy.COMMENT, "the image needs it"),
    suppressed(FINDING, SuppressedBy.BASELINE, "since 2026-11-22"),
)


def results(*findings: ReviewFinding, **fields: Any) -> Results:
    """The results of a review of one object in /repository."""
    reviewed = ObjectResult(
        source="/repository/team/a.yaml",
        place=Place("/repository/team/a.yaml", 1, 1),
        subject=findings[0].subject if findings else SUBJECT,
        allowed=False,
        mutations=(),
        operations=0,
        notes=(),
        findings=findings,
    )
    return Results([reviewed], folder=PurePath("/repository"), **fields)


EVERYTHING = results(
    *FINDINGS,
    unreadable=[UnreadableManifest("/repository/b.yaml#2", "line 3, column 1: not an object")],
    notes=["exemption 2 (a test run) expired on 2026-01-31"],
)


def render(format: ReportFormat, results: Results, **options: Any) -> str:
    """The whole report."""
    return "".join(pieces(format, results, **options))


def review_of(file: Path, *manifests: Any, policy: Mapping[str, Any] | None = None) -> Results:
    """The results for a file with these manifests, or with this text."""
    texts = [text if isinstance(text, str) else yaml.safe_dump(text) for text in manifests]
    file.write_text("---\n".join(texts))
    basis = ReviewBasis(
        lambda states: factory.reviewer(policy),
        suppressions=IgnoreComments(Policy.parse(policy)),
    )
    run = review_manifests(ReadSources.of([str(file)]), basis)
    return run.results
