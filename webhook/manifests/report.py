"""The outcome of `raywarden review`, as text for people and JSON for programs."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from policies.config import Policy
from policies.model import Violation
from webhook.manifests.dry_run import ReviewedManifest, ReviewedObject
from webhook.manifests.read import UnreadableManifest


def policy_notes(policy: Policy, today: date) -> list[str]:
    """A line for each exemption that has ended: it does nothing any more, and should be taken out or renewed."""
    return [
        f"exemption {number} ({' '.join(exemption.reason.split())}) ended on {exemption.until}"
        for number, exemption in policy.ended(today)
    ]


def as_json(
    examined: Sequence[ReviewedManifest],
    unreadable: Sequence[UnreadableManifest],
    skipped: int,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The whole run as one JSON object; `notes` are about the policy."""
    return {
        "objects": [
            {"source": str(one.manifest), "allowed": one.allowed, **_outcome(one.outcome)}
            | {"derived": [_outcome(made) for made in one.derived]}
            for one in examined
        ],
        "unreadable": [{"source": one.source, "reason": one.why} for one in unreadable],
        "notes": list(notes),
        "summary": _summary(examined, unreadable, skipped),
    }


def as_text(
    examined: Sequence[ReviewedManifest], unreadable: Sequence[UnreadableManifest], skipped: int
) -> Iterator[str]:
    """The same, line by line."""
    for one in examined:
        outcome = one.outcome
        verdict = "allowed" if one.allowed else "DENIED"
        yield f"{one.manifest}: {outcome.kind} {outcome.place}: {verdict}"
        yield from _lines(outcome, "")
        for made in one.derived:
            yield from _lines(made, _made(made))
    for broken in unreadable:
        yield f"{broken.source}: could not be read: {broken.why}"
    counts = _summary(examined, unreadable, skipped)
    yield ", ".join(f"{number} {name}" for name, number in counts.items())


def findings(one: ReviewedManifest) -> Iterator[str]:
    """What is refused or warned about, line by line, and nothing else."""
    yield from _findings(one.outcome, "")
    for made in one.derived:
        yield from _findings(made, _made(made))


def _made(outcome: ReviewedObject) -> str:
    return f"{outcome.kind} {outcome.name} made of it: "


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


def _outcome(outcome: ReviewedObject) -> dict[str, Any]:
    return {
        "kind": outcome.kind,
        "namespace": outcome.namespace,
        "name": outcome.name,
        "mutations": list(outcome.mutations),
        "violations": [
            *(_violation(violation, "enforce") for violation in outcome.denied),
            *(_violation(violation, "warn") for violation in outcome.warned),
        ],
        "exempted": [
            {**_violation(violation, "exempt"), "reason": reason}
            for violation, reason in outcome.exempted
        ],
        "notes": list(outcome.notes),
    }


def _violation(violation: Violation, mode: str) -> dict[str, str]:
    return {
        "rule": violation.rule,
        "mode": mode,
        "message": violation.message,
        "pointer": str(violation.pointer),
        "remediation": violation.remediation,
    }


def _summary(
    examined: Sequence[ReviewedManifest], unreadable: Sequence[UnreadableManifest], skipped: int
) -> dict[str, int]:
    outcomes = [outcome for one in examined for outcome in (one.outcome, *one.derived)]
    return {
        "reviewed": len(examined),
        "denied": sum(not one.allowed for one in examined),
        "warnings": sum(len(outcome.warned) for outcome in outcomes),
        "unreadable": len(unreadable),
        "not Ray": skipped,
    }
