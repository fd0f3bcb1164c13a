"""The findings of `raywarden check`: each says what is true, and what to do if it is wrong."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from webhook.check.facts import Unavailable

# A sentence with more names than this is hard to read.
_MAX_NAMES = 5


class Status(StrEnum):
    """The status of a finding, best first.

    `note` is a choice of an administrator that makes RayWarden weaker than it can be; `unknown`
    means it could not be checked from here.
    """

    OK = "ok"
    NOTE = "note"
    UNKNOWN = "unknown"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: `id` is for programs, `message` and `remediation` are for people."""

    id: str
    status: Status
    message: str
    remediation: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """The findings about one part of the installation."""

    title: str
    findings: tuple[Finding, ...]


def ok(id: str, message: str) -> Finding:
    """A finding that needs no action."""
    return Finding(id, Status.OK, message)


def note(id: str, message: str, remediation: str) -> Finding:
    """A finding about a choice that can stay, but should be known."""
    return Finding(id, Status.NOTE, message, remediation)


def warning(id: str, message: str, remediation: str) -> Finding:
    """A finding about something that works but should change."""
    return Finding(id, Status.WARNING, message, remediation)


def failed(id: str, message: str, remediation: str) -> Finding:
    """A finding about something that does not do its job."""
    return Finding(id, Status.FAILED, message, remediation)


def unknown(id: str, subject: str, unavailable: Unavailable) -> Finding:
    """A finding about something that could not be checked: `subject`."""
    message = f"could not check {subject}: {unavailable.reason}"
    return Finding(id, Status.UNKNOWN, message, unavailable.remediation)


def or_ok(findings: Iterable[Finding], id: str, message: str) -> Iterator[Finding]:
    """The findings, or a single `ok` if there are none."""
    problems = list(findings)
    yield from problems or [ok(id, message)]


def can_i(permission: str) -> str:
    """The kubectl command that verifies a permission.

    A permission reads like `update secrets raywarden-seed in namespace raywarden-system`.
    """
    words, _, namespace = permission.partition(" in namespace ")
    verb, *resource = words.split(" ")
    command = f"kubectl auth can-i {verb} {'/'.join(resource)}"
    if namespace:
        return f"{command} -n {namespace}"
    # A path such as /version does not belong to a namespace.
    return command if resource[0].startswith("/") else f"{command} -A"


def count(sections: Iterable[Section], status: Status) -> int:
    """How many findings have this status."""
    total = 0
    for section in sections:
        total += sum(finding.status is status for finding in section.findings)
    return total


def enumerated(names: Sequence[str]) -> str:
    """Names for a sentence: the first five, then how many more there are."""
    text = ", ".join(names[:_MAX_NAMES])
    hidden = len(names) - _MAX_NAMES
    return f"{text} and {hidden} more" if hidden > 0 else text
