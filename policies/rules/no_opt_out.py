"""Only administrators turn RayWarden's protection off."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from policies.cluster.related_object import RelatedObject
from policies.documents.metadata import labels_of
from policies.documents.patterns import matches_any
from policies.documents.pointer import ROOT, Pointer
from policies.injection import contract
from policies.model import NAMESPACE_LABELS, Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Pod
from policies.ray.workload import Workload


class NoOptOut(Rule):
    """Refuses `raywarden.io/inject: "false"` where it is not allowed, and weaker namespace labels.

    The administrator allows opting out in `inject.optOutNamespaces` of the policy file. Only a
    whole RayCluster can opt out, because a cluster with TLS in some of its pods does not work.
    Only a cluster administrator, by RBAC or by the lists here, may weaken or remove the labels
    `raywarden.io/enforce`, `raywarden.io/warn` and `raywarden.io/audit` of a namespace.
    Why: the rules protect other users from the author of a manifest, so an author may not switch
    them off.
    Fix: remove the label, or ask the administrator.
    """

    id: ClassVar[str] = "no-opt-out"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    admin_users: tuple[str, ...] = Field(
        (),
        description="patterns of users who may weaken a namespace, in addition to administrators "
        "by RBAC",
    )
    admin_groups: tuple[str, ...] = Field(
        (), description="patterns of groups who may do so, such as a GitOps controller's"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        holders: list[tuple[Workload | Pod, Pointer, str]] = [(workload, ROOT, "this object")]
        is_pod = workload.pods and workload.pods[0].pointer == ROOT
        if not is_pod:
            for pod in workload.pods:
                holders.append((pod, pod.pointer, f"the template of the {pod.title}"))
        for holder, pointer, title in holders:
            field = contract.opts_out(holder)
            if not field or (holder is workload and contract.is_opted_out(workload, facts)):
                continue
            yield self.violation(
                f"{title} opts out of RayWarden's protection with {contract.OPT_OUT}",
                pointer / "metadata" / field / contract.OPT_OUT,
                f"remove {contract.OPT_OUT}, or ask the administrator to add the namespace to "
                "inject.optOutNamespaces",
            )

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        if related_object.kind != "Namespace" or facts.stored is None or self._may_weaken(facts):
            return
        before = labels_of(facts.stored)
        for mode, label in NAMESPACE_LABELS.items():
            old, new = before.get(label), related_object.labels.get(label)
            if old is None or _strictness(new) >= _strictness(old):
                continue
            message = (
                f"this update weakens the namespace from {old} to {new or 'the default'} in "
                f"mode {mode}"
            )
            remediation = f"set {label}: {old} as before; only an administrator may weaken it"
            place = ROOT / "metadata" / "labels" / label
            if facts.namespace_state.rbac.complete:
                yield self.violation(message, place, remediation)
            else:
                message += "; RayWarden does not know who may do that"
                yield self.unknown(message, place, remediation)

    def _may_weaken(self, facts: Facts) -> bool:
        if matches_any(facts.user, self.admin_users):
            return True
        for group in facts.groups:
            if matches_any(group, self.admin_groups):
                return True
        return facts.namespace_state.rbac.is_admin(facts.user, facts.groups)


def _strictness(level: object) -> int:
    """The order `Policy` uses: a missing label is the weakest, a misspelled one the strictest."""
    if level is None:
        return -1
    levels = {str(profile): int(profile) for profile in Profile}
    return levels.get(str(level), int(Profile.RESTRICTED))
