"""Reports of `raywarden review`: text for people, JSON for programs."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from policies.config import Policy
from policies.model import Violation
from webhook.manifests.dry_run import ReviewedManifest, ReviewedObject
from webhook.manifests.read import UnreadableManifest


def policy_notes(policy: Policy, today: date) -> list[str]:
    """A line for each expired exemption: it has no effect, so remove or renew it."""
    notes = []
    for number, exemption in policy.expired(today):
        reason = " ".join(exemption.reason.split())
        notes.append(f"exemption {number} ({reason}) expired on {exemption.until}")
    return notes


def as_json(
    reviewed: Sequence[ReviewedManifest],
    unreadable: Sequence[UnreadableManifest],
    skipped: int,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The whole run as one JSON object; `notes` are about the policy."""
    return {
        "objects": [_manifest_as_json(manifest) for manifest in reviewed],
        "unreadable": [{"source": broken.source, "reason": broken.why} for broken in unreadable],
        "notes": list(notes),
        "summary": _summary(reviewed, unreadable, skipped),
    }


def _manifest_as_json(reviewed: ReviewedManifest) -> dict[str, Any]:
    return {
        "source": str(reviewed.manifest),
        "allowed": reviewed.allowed,
        **_object_as_json(reviewed.outcome),
        "derived": [_object_as_json(derived) for derived in reviewed.derived],
    }


def as_text(
    reviewed: Sequence[ReviewedManifest], unreadable: Sequence[UnreadableManifest], skipped: int
) -> Iterator[str]:
    """The whole run as lines of text."""
    for manifest in reviewed:
        outcome = manifest.outcome
        verdict = "allowed" if manifest.allowed else "DENIED"
        yield f"{manifest.manifest}: {outcome.kind} {outcome.place}: {verdict}"
        yield from _lines(outcome, "")
        for derived in manifest.derived:
            yield from _lines(derived, _derived_prefix(derived))
    for broken in unreadable:
        yield f"{broken.source}: could not be read: {broken.why}"
    counts = _summary(reviewed, unreadable, skipped)
    line = ", ".join(f"{number} {name}" for name, number in counts.items())
    yield f"{line} (not Ray)"


def findings(reviewed: ReviewedManifest) -> Iterator[str]:
    """Only the denials and warnings, as lines of text."""
    yield from _findings(reviewed.outcome, "")
    for derived in reviewed.derived:
        yield from _findings(derived, _derived_prefix(derived))


def _derived_prefix(outcome: ReviewedObject) -> str:
    return f"derived {outcome.kind} {outcome.name}: "


def _lines(outcome: ReviewedObject, prefix: str) -> Iterator[str]:
    if outcome.mutations:
        yield f"  inject  {prefix}{', '.join(outcome.mutations)} ({outcome.operations} operations)"
    yield from _findings(outcome, prefix)
    for violation, reason in outcome.exempted:
        yield f"  exempt  {prefix}{violation.rule}: {violation.message} (exempted: {reason})"
    for note in outcome.notes:
        yield f"  note    {prefix}{note}"


def _findings(outcome: ReviewedObject, prefix: str) -> Iterator[str]:
    for label, violations in (("deny", outcome.denied), ("warn", outcome.warned)):
        for violation in violations:
            place = f" (at {violation.pointer})" if violation.pointer else ""
            yield f"  {label:<6}  {prefix}{violation.rule}: {violation.message}{place}"
            yield f"          Fix: {violation.remediation}"


def _object_as_json(outcome: ReviewedObject) -> dict[str, Any]:
    denied = [_violation_as_json(violation, "enforce") for violation in outcome.denied]
    warned = [_violation_as_json(violation, "warn") for violation in outcome.warned]
    return {
        "kind": outcome.kind,
        "namespace": outcome.namespace,
        "name": outcome.name,
        "mutations": list(outcome.mutations),
        "violations": denied + warned,
        "exempted": [
            {**_violation_as_json(violation, "exempt"), "reason": reason}
            for violation, reason in outcome.exempted
        ],
        "notes": list(outcome.notes),
    }


def _violation_as_json(violation: Violation, mode: str) -> dict[str, str]:
    return {
        "rule": violation.rule,
        "mode": mode,
        "message": violation.message,
        "pointer": str(violation.pointer),
        "remediation": violation.remediation,
    }


def _summary(
    reviewed: Sequence[ReviewedManifest], unreadable: Sequence[UnreadableManifest], skipped: int
) -> dict[str, int]:
    warnings = 0
    for manifest in reviewed:
        for outcome in (manifest.outcome, *manifest.derived):
            warnings += len(outcome.warned)
    return {
        "reviewed": len(reviewed),
        "denied": sum(not manifest.allowed for manifest in reviewed),
        "warnings": warnings,
        "unreadable": len(unreadable),
        "skipped": skipped,
    }
