"""What `raywarden check` finds, as values: a finding says what is so, and what to do where it should not be."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from policies.cluster.rbac import RbacGrants
from webhook.check.deployed import Deployed, PolicyText
from webhook.ports import StoredSeed

T = TypeVar("T")

Object = Mapping[str, Any]
Objects = Sequence[Object]

MUTATING, VALIDATING = "mutating", "validating"
# KubeRay's kinds; the last came later than the others, and is not everywhere.
RAY_KINDS = ("rayclusters", "rayjobs", "rayservices", "raycronjobs")


class Status(StrEnum):
    """How it stands with one thing, best first; `unknown` is what could not be asked or reached from here."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `id` for programs, `what` for people, `fix` where something is to be done."""

    id: str
    status: Status
    message: str
    remediation: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """The findings of one part."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Unavailable:
    """In place of what was asked for: why there is no answer, and what would get one."""

    why: str
    remediation: str


@dataclass(frozen=True, slots=True)
class DryRunAnswer:
    """What came of an object that was sent as a dry run: the object as it would be stored, or why it is refused."""

    document: Object | None = None
    said: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckFacts:
    """Everything that was asked of a cluster, each answer or why there is none. None is "there is no such object".

    `rights` says of each right the server needs whether it has it, None where it is not known whose rights those are;
    `configurations` are by MUTATING and VALIDATING; `ray_objects` by their plural, as far as the API server knows it;
    `dry_runs` are the pod that must be refused and the RayCluster that must be completed, in `dry_run_namespace`.
    """

    namespace: str
    now: datetime
    version: str
    server: Object | Unavailable
    deployed: Deployed | Unavailable | None
    services: Mapping[str, Object | Unavailable | None]
    policy: PolicyText | Unavailable | None
    rights: Mapping[str, bool] | Unavailable | None
    configurations: Mapping[str, Object | Unavailable | None]
    seed: StoredSeed | Unavailable | None = field(repr=False)
    namespaces: Objects | Unavailable
    ray_kinds: frozenset[str] | Unavailable
    ray_objects: Mapping[str, Objects | Unavailable]
    ray_pods: Objects | Unavailable
    operators: Objects | Unavailable
    rbac: RbacGrants | Unavailable
    dry_run_namespace: str
    dry_runs: Mapping[str, DryRunAnswer | Unavailable]


def ok(id: str, message: str) -> Finding:
    """All is well with it."""
    return Finding(id, Status.OK, message)


def warning(id: str, message: str, remediation: str) -> Finding:
    """It works, and should not stay like this."""
    return Finding(id, Status.WARNING, message, remediation)


def failed(id: str, message: str, remediation: str) -> Finding:
    """It does not do what it is there for."""
    return Finding(id, Status.FAILED, message, remediation)


def unknown(id: str, message: str, missing: Unavailable) -> Finding:
    """It could not be looked at."""
    return Finding(id, Status.UNKNOWN, f"{message}: {missing.why}", missing.remediation)


def or_ok(findings: Iterable[Finding], id: str, message: str) -> Iterator[Finding]:
    """The findings, or where there are none that all is well."""
    listed = list(findings)
    yield from listed or [ok(id, message)]


def known(value: Sequence[T] | Unavailable | None) -> Sequence[T]:
    """What is listed; nothing where that is not known, which is said where it matters."""
    return () if value is None or isinstance(value, Unavailable) else value


def can_i(right: str) -> str:
    """The command that asks for a right, as `update secrets raywarden-seed in namespace raywarden-system`."""
    words, _, namespace = right.partition(" in namespace ")
    verb, *resource = words.split(" ")
    everywhere = "" if resource[0].startswith("/") else " -A"
    return f"kubectl auth can-i {verb} {'/'.join(resource)}" + (
        f" -n {namespace}" if namespace else everywhere
    )


def count(sections: Iterable[Section], status: Status) -> int:
    """How many findings have a status."""
    return sum(finding.status is status for section in sections for finding in section.findings)


def named(listed: Sequence[str], most: int = 5) -> str:
    """Names for a sentence, and how many more there are."""
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
