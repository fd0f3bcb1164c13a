"""What the HTML page of `raywarden check` shows, bounded in size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.documents.metadata import name_of, namespace_of
from policies.documents.untyped import as_dict, as_str, printable
from policies.model import Mode
from webhook.check.coverage import ray_namespaces
from webhook.check.deployment import ServerDeployment
from webhook.check.facts import CheckFacts, or_empty
from webhook.check.findings import Finding, Section, Status, count
from webhook.check.installation import policy_of
from webhook.check.kuberay import images_of
from webhook.check.meanings import meaning_of

# An installation has a few; a cluster may have thousands of pods with the same problem.
_MAX_FINDINGS = 100
_MAX_CHARACTERS = 1_000
_MAX_FIRST = 5
_MAX_FACTS = 5
_UNKNOWN = "unknown"
# The CSS class of each status.
_KINDS: Mapping[Status, str] = {
    Status.FAILED: "error",
    Status.WARNING: "warning",
    Status.UNKNOWN: "unknown",
    Status.NOTE: "note",
    Status.OK: "good",
}
_GROUPS = {
    Status.FAILED: ("Failed", "This does not do its job. Fix it now."),
    Status.WARNING: ("Warnings", "This works, but is weak or will stop working."),
    Status.UNKNOWN: ("Unknown", "This could not be checked with your permissions, or from here."),
    Status.NOTE: ("Notes", "Somebody chose this. Verify from time to time that it is still right."),
}


@dataclass(frozen=True, slots=True)
class RemedyView:
    """The messages of findings with the same remediation."""

    messages: Sequence[str]
    remediation: str


@dataclass(frozen=True, slots=True)
class CheckView:
    """The findings of one check that have the same status; `id` is its anchor in the page."""

    id: str
    section: str
    check: str
    title: str
    meaning: str
    status: str
    kind: str
    findings: Sequence[RemedyView]
    total: int
    left_out: int


@dataclass(frozen=True, slots=True)
class GroupView:
    """The checks with one status."""

    status: str
    title: str
    about: str
    checks: Sequence[CheckView]


@dataclass(frozen=True, slots=True)
class CheckPage:
    """The whole page; `first` is what to do first."""

    verdict: str
    is_allowed: bool
    made: str
    totals: Sequence[tuple[str, int, str]]
    facts: Sequence[tuple[str, str]]
    first: Sequence[CheckView]
    sections: Sequence[tuple[str, Sequence[int]]]
    statuses: Sequence[tuple[str, str]]
    groups: Sequence[GroupView]
    passed: Sequence[tuple[str, str]]


def page_of(sections: Sequence[Section], facts: CheckFacts) -> CheckPage:
    """The page of these findings; `facts` are what they were made from."""
    shown = [status for status in reversed(Status) if status is not Status.OK]
    groups = [
        GroupView(str(status), *_GROUPS[status], list(_checks(sections, status)))
        for status in shown
    ]
    urgent = [check for group in groups[:2] for check in group.checks]
    return CheckPage(
        verdict=_verdict(sections),
        is_allowed=not (count(sections, Status.FAILED) or count(sections, Status.WARNING)),
        made=f"{facts.now:%Y-%m-%d %H:%M} UTC",
        totals=[
            (str(status), count(sections, status), _KINDS[status]) for status in reversed(Status)
        ],
        facts=[(name, _clipped(text)) for name, text in _facts(facts)],
        first=urgent[:_MAX_FIRST],
        sections=[_area(section, shown) for section in sections],
        statuses=[(str(status), _GROUPS[status][0]) for status in shown],
        groups=[group for group in groups if group.checks],
        passed=list(_passed(sections)),
    )


def _passed(sections: Sequence[Section]) -> Iterator[tuple[str, str]]:
    """The section and the message of each finding that needs no action."""
    for section in sections:
        for finding in section.findings:
            if finding.status is Status.OK:
                yield _clipped(section.title), _clipped(finding.message)


def _area(section: Section, statuses: Sequence[Status]) -> tuple[str, Sequence[int]]:
    return _clipped(section.title), [count([section], status) for status in statuses]


def _verdict(sections: Sequence[Section]) -> str:
    failed, weak = count(sections, Status.FAILED), count(sections, Status.WARNING)
    if failed:
        things = "1 check has" if failed == 1 else f"{failed} checks have"
        return f"{things} failed" + (f", and {_warnings(weak)}" if weak else "")
    if weak:
        return f"RayWarden works, with {_warnings(weak)}"
    if count(sections, Status.UNKNOWN):
        return "Nothing that could be checked is wrong"
    return "RayWarden works, and nothing is weak"


def _warnings(number: int) -> str:
    return "1 warning" if number == 1 else f"{number} warnings"


def _checks(sections: Sequence[Section], status: Status) -> Iterator[CheckView]:
    """The checks with findings of this status, in the order in which to fix them."""
    for section in sections:
        by_id: dict[str, list[Finding]] = {}
        for finding in section.findings:
            if finding.status is status:
                by_id.setdefault(finding.id, []).append(finding)
        for id, findings in by_id.items():
            meaning = meaning_of(section.title, id)
            shown = findings[:_MAX_FINDINGS]
            yield CheckView(
                id=f"{status}-{_clipped(section.title)}-{id}".replace(" ", "-"),
                section=_clipped(section.title),
                check=id,
                title=meaning.title,
                meaning=meaning.text,
                status=str(status),
                kind=_KINDS[status],
                findings=list(_by_remediation(shown)),
                total=len(findings),
                left_out=len(findings) - len(shown),
            )


def _by_remediation(findings: Sequence[Finding]) -> Iterator[RemedyView]:
    messages: dict[str, list[str]] = {}
    for finding in findings:
        messages.setdefault(_clipped(finding.remediation), []).append(_clipped(finding.message))
    for remediation, texts in messages.items():
        yield RemedyView(texts, remediation)


def _facts(facts: CheckFacts) -> Iterator[tuple[str, str]]:
    """What was looked at, and its versions."""
    version = as_dict(facts.server_version).get("gitVersion")
    yield "Kubernetes", as_str(version) or _UNKNOWN
    deployment = facts.deployment
    server = deployment.image if isinstance(deployment, ServerDeployment) else _UNKNOWN
    yield f"RayWarden in {facts.namespace}", server
    yield "This command", f"raywarden {facts.own_version}"
    for operator in or_empty(facts.operators)[:_MAX_FACTS]:
        title = f"{namespace_of(operator)}/{name_of(operator)}"
        yield f"KubeRay {title}", ", ".join(images_of(operator))
    policy = policy_of(facts)
    yield "Enforced profile", str(policy.floor(Mode.ENFORCE)) if policy else _UNKNOWN
    counted = [f"{_number(objects)} {kind}" for kind, objects in facts.ray_objects.items()]
    counted.append(f"{_number(facts.ray_pods)} pods")
    namespaces = ray_namespaces((*facts.ray_objects.values(), facts.ray_pods))
    yield "Ray", f"{', '.join(counted)} in {len(namespaces)} namespaces"


def _number(objects: object) -> str:
    return str(len(objects)) if isinstance(objects, Sequence) else _UNKNOWN


def _clipped(text: str) -> str:
    """Untrusted text on one printable line."""
    return printable(text, _MAX_CHARACTERS)
