"""The code quality report of GitLab, which a merge request shows beside the changed lines."""

import hashlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from policies.model import Severity
from webhook.manifests.read import UnreadableManifest
from webhook.reports.locations import location_of
from webhook.reports.sentences import with_remedy
from webhook.review.files import file_in
from webhook.review.finding import Level, ReviewFinding
from webhook.review.results import Results

_SEVERITIES = {
    Severity.CRITICAL: "blocker",
    Severity.HIGH: "critical",
    Severity.MEDIUM: "major",
    Severity.LOW: "minor",
}


def gitlab_document(results: Results) -> Iterator[dict[str, Any]]:
    """Every finding that counts, and what could not be read."""
    for broken in results.unreadable:
        yield _unreadable(broken, results.folder)
    for finding in results.findings:
        if finding.counts:
            yield _finding(finding, results.folder)


def _finding(finding: ReviewFinding, folder: PurePath) -> dict[str, Any]:
    # GitLab needs a path also for an object of a live cluster.
    path, line = str(finding.subject), 1
    if finding.place.file:
        location = location_of(finding.place, folder)
        path, line = location.path, location.line
    severity = _SEVERITIES[finding.severity]
    return {
        "type": "issue",
        "check_name": finding.rule,
        "description": f"{finding.subject}: {with_remedy(finding)}",
        "categories": ["Security"],
        "fingerprint": finding.fingerprint,
        "severity": "info" if finding.level is Level.NOTE else severity,
        "location": {"path": path, "lines": {"begin": line}},
    }


def _unreadable(broken: UnreadableManifest, folder: PurePath) -> dict[str, Any]:
    path = file_in(folder, broken.source.partition("#")[0])
    text = f"{path}\0{broken.source}\0{broken.why}"
    return {
        "type": "issue",
        "check_name": "unreadable",
        "description": f"{broken.source}: could not be read: {broken.why}",
        "categories": ["Bug Risk"],
        "fingerprint": hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32],
        "severity": "blocker",
        "location": {"path": path, "lines": {"begin": 1}},
    }
