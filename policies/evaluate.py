"""The loop over the rules: what each says about one object, and what the policy does about it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from operator import methodcaller
from typing import Any

from policies.cluster.related_object import RelatedObject
from policies.cluster.size import (
    MAX_CHARACTERS,
    MAX_CONTAINERS,
    MAX_GROUPS,
    exceeded_limit,
    max_values_of,
)
from policies.config import Policy
from policies.deletion import only_ends_something
from policies.documents.pointer import ROOT
from policies.model import Facts, Failure, Mode, Profile, Rule, Violation
from policies.ray.workload import Kind, Workload

# More than anyone reads, and few enough that one object cannot fill the server's memory.
_MAX_FINDINGS = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """All violations, sorted by their effect. The request is refused when `denied` is not empty.

    `exempted` pairs each exempt violation with the reason of its exemption. `failed` lists rules
    that raised. Each of them is also among the violations: a rule without an answer does not pass.
    """

    denied: tuple[Violation, ...] = ()
    warned: tuple[Violation, ...] = ()
    audited: tuple[Violation, ...] = ()
    exempted: tuple[tuple[Violation, str], ...] = ()
    failed: tuple[Failure, ...] = ()


def validate(kind: Kind, document: Mapping[str, Any], policy: Policy, facts: Facts) -> Verdict:
    """Check one object against every rule, report all violations, and apply the policy's modes.

    An object that is too large is refused without a check. On UPDATE a violation that the stored
    object already had warns instead of denying (ratcheting). Two things are never refused, because
    a refusal would only block a deletion: an object that is being deleted and requests nothing new,
    and KubeRay's Redis clean-up pod.
    """
    subject = _subject(kind, document, facts)
    if subject is None or only_ends_something(subject, facts):
        return Verdict()
    too_many = exceeded_limit(subject, facts.size)
    only_connects = isinstance(subject, RelatedObject) and subject.only_connects
    # KubeRay's operator must still be able to write to large clusters that predate RayWarden.
    may_be_large = only_connects or facts.user in facts.namespace_state.rbac.operators
    if too_many and not may_be_large:
        return Verdict(denied=(_too_large(too_many, max_values_of(subject)),))
    violations, failed = _violations(subject, policy.rules_for[type(subject)], facts)
    # The administrator's expressions are about Ray, not about programs that connect to it.
    if policy.expressions and not only_connects:
        violations += policy.expressions.violations(kind.kind, document, facts)
    verdict = _VerdictBuilder(policy, facts, subject.name)
    for violation, was_stored in _ratcheted(violations, kind, policy, facts):
        verdict.add(violation, was_stored)
    return Verdict(
        tuple(verdict.denied),
        tuple(verdict.warned),
        tuple(verdict.audited),
        tuple(verdict.exempted),
        tuple(failed),
    )


def is_subject(kind: Kind, document: Mapping[str, Any]) -> bool:
    """At least one rule may have something to say about this object."""
    return Workload.of(kind, document) is not None or RelatedObject.of(kind, document) is not None


def _subject(
    kind: Kind, document: Mapping[str, Any], facts: Facts
) -> Workload | RelatedObject | None:
    workload = Workload.of(kind, document)
    if workload is None and facts.before and facts.before.kind == "Pod":
        # A stored pod that was a workload is still checked as one. Otherwise its author could
        # escape the rules by removing the labels that make it a workload.
        workload = facts.before.as_later_version(document)
    return workload or RelatedObject.of(kind, document)


def _ratcheted(
    violations: Sequence[Violation], kind: Kind, policy: Policy, facts: Facts
) -> Iterator[tuple[Violation, bool]]:
    """Each violation, and whether the stored object already has it; on CREATE none is stored."""
    if not violations or facts.stored is None:
        for violation in violations:
            yield violation, False
        return
    rules = {violation.rule for violation in violations}
    stored = Counter(map(_identity, _stored_violations(rules, kind, policy, facts)))
    for violation in violations:
        identity = _identity(violation)
        yield violation, stored[identity] > 0
        stored[identity] -= 1


def _stored_violations(
    ids: Set[str], kind: Kind, policy: Policy, facts: Facts
) -> Iterator[Violation]:
    """The violations of the stored object, by the rules with these ids."""
    stored = facts.stored or {}
    before = facts.before or RelatedObject.of(kind, stored)
    if before and not exceeded_limit(before, facts.size):
        rules = [rule for rule in policy.rules_for[type(before)] if rule.id in ids]
        yield from _violations(before, rules, facts)[0]
    yield from policy.expressions.violations(kind.kind, stored, facts)


def _violations(
    subject: Workload | RelatedObject, rules: Sequence[Rule], facts: Facts
) -> tuple[list[Violation], list[Failure]]:
    violations: list[Violation] = []
    failed: list[Failure] = []
    name = "check" if isinstance(subject, Workload) else "check_related_object"
    check = methodcaller(name, subject, facts)
    for rule in rules:
        try:
            first = list(islice(check(rule), _MAX_FINDINGS + 1))
            if first:
                violations += first[:_MAX_FINDINGS]
            if len(first) > _MAX_FINDINGS:
                violations.append(_too_many_findings(rule))
        except Exception as error:
            failed.append(Failure.of(rule.id, error))
            violations.append(_crashed(rule))
    return violations, failed


def _too_large(too_many: str, max_values: int) -> Violation:
    return Violation(
        "size",
        f"the object has too many {too_many} to be checked",
        ROOT,
        f"split the object; RayWarden checks at most {MAX_GROUPS} worker groups, "
        f"{MAX_CONTAINERS} containers, {max_values} values and {MAX_CHARACTERS} characters",
        Profile.PRIVILEGED,
    )


def _too_many_findings(rule: Rule) -> Violation:
    # At the rule's lowest level: a finding that is not reported could be of any level, and could
    # be new since the object was stored.
    return rule.violation(
        f"this rule has more than {_MAX_FINDINGS} findings",
        ROOT,
        "fix those that are shown, then send the object again",
        profile=rule.from_level,
    )


def _crashed(rule: Rule) -> Violation:
    # At the rule's lowest level: it is unknown which level its findings would have had.
    return rule.violation(
        "this rule crashed on this object, which counts as a violation (fail closed)",
        ROOT,
        "report this defect of RayWarden, and exempt the object from this rule until it is fixed",
        profile=rule.from_level,
    )


def _identity(violation: Violation) -> tuple[str, str, str, Profile, bool]:
    """What is equal for the same violation in two versions of an object.

    The pointer is left out because list positions may differ.
    """
    return (
        violation.rule,
        violation.message,
        violation.evidence,
        violation.profile,
        violation.advisory,
    )


@dataclass(slots=True)
class _VerdictBuilder:
    """Sorts violations of the object called `name` by what the policy does about them."""

    policy: Policy
    facts: Facts
    name: str
    denied: list[Violation] = field(default_factory=list)
    warned: list[Violation] = field(default_factory=list)
    audited: list[Violation] = field(default_factory=list)
    exempted: list[tuple[Violation, str]] = field(default_factory=list)
    # Most violations of a rule count in the same modes.
    known_modes: dict[tuple[str, Profile, bool], Sequence[Mode]] = field(default_factory=dict)

    def add(self, violation: Violation, was_stored: bool) -> None:
        """Add one violation; `was_stored` is true when the stored object has it too."""
        facts = self.facts
        kind = (violation.rule, violation.profile, violation.advisory)
        modes = self.known_modes.get(kind)
        if modes is None:
            modes = self.policy.modes(violation, facts.namespace_state.labels)
            self.known_modes[kind] = modes
        if not modes:
            return
        exemption = self.policy.exemption(
            violation, facts.namespace, self.name, facts.user, facts.today
        )
        if exemption and exemption.holds(facts.today):
            self.exempted.append((violation, exemption.reason))
            return
        if exemption:
            message = f"{violation.message} (its exemption expired on {exemption.until})"
            violation = violation._replace(message=message)
        if Mode.ENFORCE in modes and not was_stored:
            self.denied.append(violation)
        elif Mode.ENFORCE in modes or Mode.WARN in modes:
            self.warned.append(violation)
        if Mode.AUDIT in modes:
            self.audited.append(violation)
