"""The two loops: every mutation in order over one draft, every rule over one object."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import orjson

from policies.cluster.related_object import RelatedObject
from policies.config import Policy
from policies.documents.draft import Draft, Operation
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str
from policies.injection.contract import (
    INJECTED_ANNOTATION,
    MANAGED,
    MARKER_LABEL,
    TlsBy,
    is_opted_out,
    tls_by,
)
from policies.model import Facts, Mode, Profile, Rule, Violation
from policies.ray.pod import PodRole
from policies.ray.workload import Kind, Workload
from policies.registry import MUTATIONS
from policies.size import MOST_CHARACTERS, MOST_CONTAINERS, MOST_GROUPS, excess, values_of

# With service account credentials of its own, or without (kube-controller-manager --use-service-account-credentials).
_JOB_CONTROLLERS = (
    "system:serviceaccount:kube-system:job-controller",
    "system:kube-controller-manager",
)
_MOST_FINDINGS = 500
# Ours is shorter, and whoever makes it longer has nothing to say to us.
_LONGEST_HINT = 4096
_ANNOTATION = Pointer(("metadata", "annotations", INJECTED_ANNOTATION))


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule or mutation that raised, and where: the kind of error and its line, never a value from the object."""

    member: str
    at: str

    @classmethod
    def of(cls, member: str, error: Exception) -> "Failure":
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "nowhere"
        return cls(member, f"{type(error).__name__} at {place}")


@dataclass(frozen=True, slots=True)
class Mutated:
    """The object as it will be, the operations that lead there, and which mutations made them.

    `failed` names mutations that raised: theirs is left out, and the rules judge what is missing.
    """

    document: Mapping[str, Any]
    operations: list[Operation] = field(default_factory=list)
    mutations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say, sorted by what is done about it; the request is refused when `denied` is not empty.

    `exempted` pairs each violation that would have counted with the reason it does not. `failed` names rules that
    raised: each also stands among the violations, because a rule that cannot answer does not say yes.
    """

    denied: tuple[Violation, ...] = ()
    warned: tuple[Violation, ...] = ()
    audited: tuple[Violation, ...] = ()
    exempted: tuple[tuple[Violation, str], ...] = ()
    failed: tuple[Failure, ...] = ()


def mutate(kind: Kind, document: Mapping[str, Any], facts: Facts) -> Mutated:
    """Write every default that is missing into one object. The caller's document is left as it is."""
    workload = Workload.of(kind, document)
    if workload is None:
        return Mutated(document)
    if message := excess(workload, facts.size):
        return Mutated(
            document, warnings=(f"RayWarden left this alone: it has too many {message}",)
        )
    if not _ours_to_mutate(workload, facts):
        return Mutated(document)
    draft = Draft(document)
    warnings: list[str] = []
    changed: list[str] = []
    failed: list[Failure] = []
    for mutation in MUTATIONS:
        written = len(draft.operations)
        try:
            with draft.all_or_nothing():
                warnings += mutation.mutate(draft, workload, facts)
        except Exception as error:
            failed.append(Failure.of(mutation.id, error))
        if len(draft.operations) > written:
            changed.append(mutation.id)
    if changed:
        with draft.all_or_nothing():
            draft.set(_ANNOTATION, _hint(draft, changed, facts))
    warnings += dict.fromkeys(
        f"RayWarden left this alone: {problem}" for problem in draft.left_alone
    )
    return Mutated(draft.document, draft.operations, tuple(changed), tuple(warnings), tuple(failed))


def _ours_to_mutate(workload: Workload, facts: Facts) -> bool:
    """New RayClusters whose TLS nobody else sees to, stored ones that carry our marker, and new pods of these.

    A cluster that was born without us is left alone: half a cluster with TLS is a broken cluster.
    """
    if workload.kind == "RayCluster" and facts.operation == "UPDATE":
        return facts.before is not None and facts.before.labels.get(MARKER_LABEL) == MANAGED
    if facts.operation != "CREATE":
        return False
    if is_opted_out(workload, facts):
        return False
    if workload.kind == "RayCluster":
        return tls_by(workload) in (TlsBy.NOBODY, TlsBy.RAYWARDEN)
    return workload.kind == "Pod" and (
        tls_by(workload) is TlsBy.RAYWARDEN or workload.pods[0].role is PodRole.SUBMITTER
    )


def _hint(draft: Draft, changed: list[str], facts: Facts) -> str:
    """What stands in `raywarden.io/injected`: for people to read, never a proof, and kept as stored on UPDATE."""
    stored = as_str(_ANNOTATION.read(facts.before.document)) if facts.before else ""
    if stored:
        return stored
    named = {*changed, *map(as_str, _named(draft))}
    names = [mutation.id for mutation in MUTATIONS if mutation.id in named]
    hint = {"version": facts.signer.version, "hash": facts.contract_hash, "mutations": names}
    return orjson.dumps(hint).decode()


def _named(draft: Draft) -> list[Any]:
    """The mutations an earlier call for the same request named (`reinvocationPolicy: IfNeeded`)."""
    written = as_str(_ANNOTATION.read(draft.document))
    try:
        names = as_dict(orjson.loads(written if len(written) <= _LONGEST_HINT else "")).get(
            "mutations"
        )
    except ValueError:
        return []
    return names if isinstance(names, list) else []


def validate(kind: Kind, document: Mapping[str, Any], policy: Policy, facts: Facts) -> Verdict:
    """Hold one object against every rule. All violations are found; what is done about each is the policy's choice.

    An object too large to be judged is refused unjudged. On UPDATE a violation the stored object already had warns
    where it would refuse (ratcheting). An object that is being deleted and asks for nothing new is never refused, and
    neither is KubeRay's Redis clean-up pod: both only stand in the way of an end.
    """
    subject = _subject(kind, document, facts)
    if subject is None or _only_ends_something(subject, facts):
        return Verdict()
    # What KubeRay's operator writes into a cluster that was there before us must not fail.
    if (
        message := excess(subject, facts.size)
    ) and facts.user not in facts.namespace_state.rights.operators:
        return Verdict(denied=(_too_large(message, values_of(subject)),))
    violations, failed = _violations(subject, policy, facts)
    violations += policy.expressions.violations(kind.kind, document, facts)
    stored = (
        Counter(map(_identity, _stored_violations(kind, policy, facts)))
        if violations
        else Counter()
    )
    verdict = _Sorted()
    for violation in violations:
        known = stored[_identity(violation)] > 0
        stored[_identity(violation)] -= 1
        verdict.sort(violation, known, subject.name, policy, facts)
    return Verdict(
        tuple(verdict.denied),
        tuple(verdict.warned),
        tuple(verdict.audited),
        tuple(verdict.exempted),
        tuple(failed),
    )


def is_subject(kind: Kind, document: Mapping[str, Any]) -> bool:
    """Any rule may have an opinion on this object."""
    return Workload.of(kind, document) is not None or RelatedObject.of(kind, document) is not None


def _subject(
    kind: Kind, document: Mapping[str, Any], facts: Facts
) -> Workload | RelatedObject | None:
    workload = Workload.of(kind, document)
    if workload is None and facts.before and facts.before.kind == "Pod":
        # A pod that was in our care is judged once more, lest it take off the labels that put it there.
        workload = facts.before.continued(document)
    return workload or RelatedObject.of(kind, document)


def _stored_violations(kind: Kind, policy: Policy, facts: Facts) -> Iterator[Violation]:
    """Those the stored object has; none on CREATE."""
    if facts.stored is None:
        return
    before = facts.before or RelatedObject.of(kind, facts.stored)
    if before and not excess(before, facts.size):
        yield from _violations(before, policy, facts)[0]
    yield from policy.expressions.violations(kind.kind, facts.stored, facts)


def _only_ends_something(subject: Workload | RelatedObject, facts: Facts) -> bool:
    if isinstance(subject, Workload) and any(pod.role is PodRole.CLEANUP for pod in subject.pods):
        # KubeRay makes a Job, and the job controller its pod; a label alone is nobody's word.
        return facts.user in (
            _JOB_CONTROLLERS if subject.kind == "Pod" else facts.namespace_state.rights.operators
        )
    deleting = facts.operation != "CREATE" and subject.metadata.get("deletionTimestamp") is not None
    try:
        return (
            deleting and facts.stored is not None and _says(subject.document) == _says(facts.stored)
        )
    except RecursionError:
        return False


def _says(document: Mapping[str, Any]) -> dict[str, Any]:
    """What an object asks for. A finalizer keeps one that is being deleted in use, for as long as its author likes."""
    metadata = as_dict(document.get("metadata"))
    asked = {name: as_dict(metadata.get(name)) for name in ("labels", "annotations")}
    rest = {name: value for name, value in document.items() if name not in ("metadata", "status")}
    return {**rest, **asked, "owners": metadata.get("ownerReferences") or []}


def _violations(
    subject: Workload | RelatedObject, policy: Policy, facts: Facts
) -> tuple[list[Violation], list[Failure]]:
    found: list[Violation] = []
    failed: list[Failure] = []
    for rule in policy.rules:
        try:
            listed = (
                rule.check(subject, facts)
                if isinstance(subject, Workload)
                else rule.check_related_object(subject, facts)
            )
            some = list(islice(listed, _MOST_FINDINGS + 1))
            found += some[:_MOST_FINDINGS]
            if len(some) > _MOST_FINDINGS:
                found.append(_too_many(rule))
        except Exception as error:
            failed.append(Failure.of(rule.id, error))
            found.append(_unanswered(rule))
    return found, failed


def _too_large(message: str, most_values: int) -> Violation:
    limits = f"{MOST_GROUPS} worker groups, {MOST_CONTAINERS} containers, {most_values} values"
    remediation = f"split it: {limits} and {MOST_CHARACTERS} characters are looked at"
    return Violation(
        "size", f"there are too many {message} to be judged", ROOT, remediation, Profile.PRIVILEGED
    )


def _too_many(rule: Rule) -> Violation:
    """What is not looked at any more could be of any level, and new since the object was stored."""
    message, remediation = (
        f"there are more than {_MOST_FINDINGS} findings of this rule",
        "mend those that are shown first",
    )
    return rule.violation(message, ROOT, remediation, profile=rule.from_level)


def _unanswered(rule: Rule) -> Violation:
    # At the lowest level of what it was to find.
    return rule.violation(
        "this rule failed on the object, so nothing can be said for it",
        ROOT,
        "this is a defect of RayWarden: report it, and exempt the object from this rule meanwhile",
        profile=rule.from_level,
    )


def _identity(violation: Violation) -> tuple[str, str, str, Profile, bool]:
    """What makes two violations the same in two versions of an object; list positions may differ."""
    return (
        violation.rule,
        violation.message,
        violation.evidence,
        violation.profile,
        violation.advisory,
    )


@dataclass(slots=True)
class _Sorted:
    denied: list[Violation] = field(default_factory=list)
    warned: list[Violation] = field(default_factory=list)
    audited: list[Violation] = field(default_factory=list)
    exempted: list[tuple[Violation, str]] = field(default_factory=list)

    def sort(
        self, violation: Violation, known: bool, name: str, policy: Policy, facts: Facts
    ) -> None:
        modes = policy.modes(violation, facts.namespace_state.labels)
        if not modes:
            return
        exemption = policy.exemption(violation, facts.namespace, name, facts.user, facts.today)
        if exemption and exemption.holds(facts.today):
            self.exempted.append((violation, exemption.reason))
            return
        if exemption:
            violation = replace(
                violation,
                message=f"{violation.message} (an exemption from this ended on {exemption.until})",
            )
        if Mode.ENFORCE in modes and not known:
            self.denied.append(violation)
        elif Mode.ENFORCE in modes or Mode.WARN in modes:
            self.warned.append(violation)
        if Mode.AUDIT in modes:
            self.audited.append(violation)
