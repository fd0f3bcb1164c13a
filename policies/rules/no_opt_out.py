"""Nobody steps out of RayWarden's care but by the administrator's leave."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import ClassVar

from pydantic import Field

from policies.cluster.related_object import RelatedObject
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict
from policies.injection import contract
from policies.model import NAMESPACE_LABELS, Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Pod
from policies.ray.workload import Workload


class NoOptOut(Rule):
    """Refuses `raywarden.io/inject: "false"` outside the namespaces where it is allowed, and laxer namespaces.

    Allowed it is in `inject.optOutNamespaces` of the policy file, for a RayCluster as a whole: half a cluster without
    TLS is a broken one. A namespace's labels `raywarden.io/enforce`, `warn` and `audit` may be loosened or taken away
    by those alone who may do everything, by RBAC or by the lists here.
    Why: a protection that whoever it protects others from may switch off is none.
    Fix: delete the label, or ask the administrator.
    """

    id: ClassVar[str] = "no-opt-out"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    admin_users: tuple[str, ...] = Field(
        (), description="patterns of users who may loosen a namespace, beyond RBAC"
    )
    admin_groups: tuple[str, ...] = Field(
        (), description="patterns of groups who may, such as a GitOps controller's"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.pods and workload.pods[0].pointer == ROOT:
            holders: list[tuple[Workload | Pod, Pointer, str]] = [(workload, ROOT, "this object")]
        else:
            templates = (
                (pod, pod.pointer, f"the template of the {pod.title}") for pod in workload.pods
            )
            holders = [(workload, ROOT, "this object"), *templates]
        for holder, pointer, title in holders:
            place = contract.opts_out(holder)
            if place and not (holder is workload and contract.is_opted_out(workload, facts)):
                where = pointer / "metadata" / place / contract.OPT_OUT
                remediation = f"delete {contract.OPT_OUT}, or ask the administrator for inject.optOutNamespaces"
                yield self.violation(
                    f"{title} asks not to be protected ({contract.OPT_OUT})", where, remediation
                )

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        if related_object.kind != "Namespace" or facts.stored is None or self._may_loosen(facts):
            return
        before = as_dict(as_dict(facts.stored.get("metadata")).get("labels"))
        for mode, label in NAMESPACE_LABELS.items():
            old, new = before.get(label), related_object.labels.get(label)
            if old is None or _strictness(new) >= _strictness(old):
                continue
            message = f"this update takes the namespace from {old} to {new or 'the default'} in mode {mode}"
            remediation = f"write {label}: {old} as it was; only an administrator loosens it"
            place = ROOT / "metadata" / "labels" / label
            if facts.namespace_state.rights.complete:
                yield self.violation(message, place, remediation)
            else:
                yield self.unknown(
                    f"{message}, and who may do that is not known here", place, remediation
                )

    def _may_loosen(self, facts: Facts) -> bool:
        by_user = any(fnmatchcase(facts.user, pattern) for pattern in self.admin_users)
        by_group = any(
            fnmatchcase(group, pattern) for group in facts.groups for pattern in self.admin_groups
        )
        return (
            by_user or by_group or facts.namespace_state.rights.is_admin(facts.user, facts.groups)
        )


def _strictness(level: object) -> int:
    """As `Policy` reads it: no label is the least, a misspelt one the strictest."""
    if level is None:
        return -1
    return {str(profile): int(profile) for profile in Profile}.get(
        str(level), int(Profile.RESTRICTED)
    )
