"""The loop over the mutations: each in order over one draft of the object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from policies.cluster.related_object import RelatedObject
from policies.cluster.size import exceeded_limit
from policies.documents.draft import Draft, UnreadableValueError
from policies.documents.patch import Change, Operation, compact, operations_of
from policies.injection.hint import write_hint
from policies.injection.targets import is_target, target_of
from policies.model import Facts, Failure, Mutation
from policies.ray.pod import Pod
from policies.ray.workload import Kind, Workload
from policies.registry import MUTATION_IDS, MUTATIONS

_FOR_EVERY_CLUSTER = tuple(mutation for mutation in MUTATIONS if not mutation.needs_tls)


def _mutations_of(kind: str) -> tuple[Mutation, ...]:
    return tuple(mutation for mutation in MUTATIONS if kind in mutation.kinds)


_BY_KIND = {kind: _mutations_of(kind) for kind in ("RayCluster", "Pod", "Job")}


@dataclass(frozen=True, slots=True)
class Mutated:
    """The mutated object, the changes that lead to it, and the ids of the mutations.

    `failed` lists mutations that raised. Their changes are left out; the rules check the result.
    """

    document: Mapping[str, Any]
    changes: Sequence[Change] = ()
    mutations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()

    @property
    def operations(self) -> list[Operation]:
        """The JSON Patch, with an operation for each change."""
        return operations_of(self.changes)

    @property
    def compact_patch(self) -> list[Operation]:
        """A JSON Patch with the same result that costs the API server less."""
        return compact(self.changes, self.document)


def mutate(kind: Kind, document: Mapping[str, Any], facts: Facts) -> Mutated:
    """Write every missing default into a copy of the object. `document` stays as it is."""
    subject = target_of(kind, document)
    if subject is None:
        return Mutated(document)
    if too_many := exceeded_limit(subject, facts.size):
        return Mutated(document, warnings=(_unchanged(f"it has too many {too_many}"),))
    mutations = _mutations_for(subject, facts)
    if not mutations:
        return Mutated(document)
    builder = _MutatedBuilder(Draft(document), facts)
    for mutation in mutations:
        builder.apply(mutation, subject)
    return builder.result()


def _unchanged(reason: object) -> str:
    return f"RayWarden left this unchanged: {reason}"


def _mutations_for(subject: Workload | RelatedObject, facts: Facts) -> Sequence[Mutation]:
    if is_target(subject, facts):
        return _BY_KIND.get(subject.kind, ())
    return _FOR_EVERY_CLUSTER if subject.kind == "RayCluster" else ()


@dataclass(slots=True)
class _MutatedBuilder:
    """Applies mutations to one draft. What a mutation or a part of it wrote is undone if it fails.

    A mutation that raises leaves nothing. One that finds a value of the wrong type leaves nothing
    in the pod that has it, or in the object itself.
    """

    draft: Draft
    facts: Facts
    # The pods that have a Ray container; None until a mutation asks for them.
    pods: list[Pod] | None = None
    changed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def apply(self, mutation: Mutation, subject: Workload | RelatedObject) -> None:
        changes = len(self.draft.changes)
        try:
            if isinstance(subject, Workload):
                self._mutate_workload(mutation, subject)
            else:
                self.warnings += mutation.mutate_related_object(self.draft, subject, self.facts)
        except UnreadableValueError as problem:
            self.draft.leave(problem, changes)
        except Exception as error:
            self.draft.roll_back(changes)
            self.failed.append(Failure.of(mutation.id, error))
        if len(self.draft.changes) > changes:
            self.changed.append(mutation.id)

    def _mutate_workload(self, mutation: Mutation, workload: Workload) -> None:
        draft = self.draft
        changes = len(draft.changes)
        try:
            self.warnings += mutation.mutate(draft, workload, self.facts)
        except UnreadableValueError as problem:
            draft.leave(problem, changes)
        roles = mutation.roles
        if not roles:
            return
        if self.pods is None:
            self.pods = [pod for pod in workload.pods if pod.ray_container]
        for pod in self.pods:
            if pod.role not in roles:
                continue
            changes = len(draft.changes)
            try:
                self.warnings += mutation.mutate_pod(draft, pod, workload, self.facts)
            except UnreadableValueError as problem:
                draft.leave(problem, changes)

    def result(self) -> Mutated:
        draft = self.draft
        if self.changed:
            changes = len(draft.changes)
            try:
                write_hint(draft, self.changed, MUTATION_IDS, self.facts)
            except UnreadableValueError as problem:
                draft.leave(problem, changes)
        if draft.unreadable:
            self.warnings += map(_unchanged, dict.fromkeys(draft.unreadable))
        mutations, warnings = tuple(self.changed), tuple(self.warnings)
        return Mutated(draft.document, draft.changes, mutations, warnings, tuple(self.failed))
