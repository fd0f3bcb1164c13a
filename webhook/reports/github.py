"""Workflow commands of GitHub Actions, which become annotations in a pull request.

GitHub shows the first ten errors, warnings and notices of a step.
"""

from collections.abc import Iterator

from policies.documents.untyped import one_line
from webhook.reports.locations import location_of
from webhook.reports.sentences import with_remedy
from webhook.review.files import file_in
from webhook.review.finding import Level, ReviewFinding
from webhook.review.results import Results

_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}


def github_commands(results: Results) -> Iterator[str]:
    """A line for each finding that counts, the worst first, then what could not be read."""
    findings = [finding for finding in results.findings if finding.counts]
    # GitHub keeps only the first ones.
    findings.sort(key=lambda finding: finding.level.rank)
    for broken in results.unreadable:
        properties = {"file": file_in(results.folder, broken.source.partition("#")[0])}
        yield _command("error", f"could not be read: {broken.why}", properties)
    for finding in findings:
        text = with_remedy(finding)
        yield _command(_COMMANDS[finding.level], text, _properties(finding, results))
    for note in results.notes:
        yield _command("notice", note, {"title": "RayWarden"})


def _properties(finding: ReviewFinding, results: Results) -> dict[str, str]:
    title = f"{finding.rule} in {finding.subject}"
    if not finding.place.file:
        return {"title": title}
    location = location_of(finding.place, results.folder)
    return {
        "file": location.path,
        "line": str(location.line),
        "col": str(location.column),
        "title": title,
    }


def _command(name: str, text: str, properties: dict[str, str]) -> str:
    pairs = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {pairs}::{_data(text)}"


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _data(text: str) -> str:
    """Untrusted text; a line break begins another command, and logs are read on terminals."""
    lines = map(one_line, text.replace("%", "%25").split("\n"))
    return "%0A".join(lines)
