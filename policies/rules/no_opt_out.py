"""Only administrators turn RayWarden's protection off."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from policies.cluster.related_object import RelatedObject
from policies.documents.metadata import labels_of
from policies.documents.patterns import matches_any
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_str
from policies.injection import contract
from policies.model import NAMESPACE_LABELS, Facts, Profile, Rule, Severity, Violation
from policies.network.isolation import (
    ALLOW_FROM_ANNOTATION,
    ISOLATION_ANNOTATION,
    LONGEST_ALLOW_FROM,
    MANAGED,
    MAX_ALLOWANCES,
    AllowFrom,
    IsolationMode,
    chosen_mode,
)
from policies.ray.pod import Pod
from policies.ray.workload import Workload

_ANNOTATIONS = ROOT / "metadata" / "annotations"
# KubeRay copies the annotations of a RayJob and of a RayService to their RayClusters.
_ISOLATED = frozenset({"RayCluster", "RayJob", "RayService", "RayCronJob"})
# What can carry annotations, where it is, and its title in messages.
Holders = list[tuple[Workload | Pod, Pointer, str]]


class NoOptOut(Rule):
    """Refuses opting out where it is not allowed, weaker namespace labels, and weaker isolation.

    The administrator allows opting out (`raywarden.io/inject: "false"`) in
    `inject.optOutNamespaces` of the policy file. Only a whole RayCluster can opt out, because a
    cluster with TLS in some of its pods does not work. A certificate of the author's own instead of
    RayWarden's (`raywarden.io/tls-secret: NAME`) is accepted in the namespaces that the
    administrator lists in `inject.tlsSecretNamespaces`. Only a cluster administrator, by RBAC or by
    the lists here, may weaken or remove the labels `raywarden.io/enforce`, `raywarden.io/warn` and
    `raywarden.io/audit` of a namespace.
    The annotation `raywarden.io/network-isolation` of a RayCluster, RayJob or RayService can only
    choose a stricter mode than `networkIsolation` of the policy file. It cannot be removed from a
    RayCluster: RayWarden writes it again. To open clusters, an administrator sets the mode `off`
    for their namespace. `raywarden.io/allow-from` is accepted where
    `networkIsolation.authorsMayAllow` is set.
    Why: the rules protect other users from the author of a manifest, so an author may not switch
    them off.
    Fix: remove the label or annotation, or ask the administrator.
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
        holders: Holders = [(workload, ROOT, "this object")]
        is_pod = workload.pods and workload.pods[0].pointer == ROOT
        if not is_pod:
            for pod in workload.pods:
                holders.append((pod, pod.pointer, f"the template of the {pod.title}"))
        # KubeRay copies the annotation to its pods, from an object that was judged before.
        if not workload.is_kuberay_pod:
            yield from self._own_secret(holders, facts)
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
        if workload.kind in _ISOLATED:
            yield from self._mode(workload, facts)
            yield from self._allow_from(workload, facts)

    def _own_secret(self, holders: Holders, facts: Facts) -> Iterator[Violation]:
        """Certificates that RayWarden did not sign: the annotation of the object or a template."""
        places = [(holder, place) for holder, place, _ in holders if contract.own_secret(holder)]
        if not places or matches_any(facts.namespace, facts.injection.tls_secret_namespaces):
            return
        name = contract.SECRET_ANNOTATION
        yield self.violation(
            f"this object brings its own certificate ({name}), which the policy file does not "
            "allow in this namespace",
            places[0][1] / "metadata" / "annotations" / name,
            f"remove {name}, so that the pods get certificates from RayWarden, or ask the "
            "administrator to add the namespace to inject.tlsSecretNamespaces",
            evidence=" ".join(sorted({contract.own_secret(holder) for holder, _ in places})),
        )

    def _mode(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """The annotation that chooses the mode of network isolation."""
        before = facts.before.annotations if facts.before else {}
        if ISOLATION_ANNOTATION not in workload.annotations:
            if workload.kind == "RayCluster" and ISOLATION_ANNOTATION in before:
                yield from self._removed(str(chosen_mode(before) or MANAGED), facts)
            return
        value = as_str(workload.annotations[ISOLATION_ANNOTATION])
        chosen = chosen_mode(workload.annotations)
        if not chosen and value != MANAGED:
            problem = "has an unknown mode" if chosen is None else "turns network isolation off"
            yield self.violation(
                f"the annotation {ISOLATION_ANNOTATION} {problem}",
                _ANNOTATIONS / ISOLATION_ANNOTATION,
                f"set {ISOLATION_ANNOTATION}: {MANAGED}, or write members, deny-ingress or "
                "deny-all, which can be stricter than the policy file",
                evidence=value,
            )
        elif workload.kind == "RayCronJob":
            yield self._without_effect(ISOLATION_ANNOTATION)
        elif chosen:
            yield from self._weaker(chosen, facts)

    def _weaker(self, chosen: IsolationMode, facts: Facts) -> Iterator[Violation]:
        expected = facts.network_isolation.of_namespace(facts.namespace).mode
        if chosen < expected:
            yield self.violation(
                f"the mode {chosen} has no effect: the policy file requires {expected}",
                _ANNOTATIONS / ISOLATION_ANNOTATION,
                f"set {ISOLATION_ANNOTATION}: {expected}",
                advisory=True,
            )

    def _removed(self, mode: str, facts: Facts) -> Iterator[Violation]:
        if not self._may_weaken(facts):
            yield self.violation(
                f"this update removes {ISOLATION_ANNOTATION}, which keeps the cluster's "
                "NetworkPolicies",
                _ANNOTATIONS / ISOLATION_ANNOTATION,
                f"set {ISOLATION_ANNOTATION}: {mode}, or ask the administrator for the mode "
                "off in this namespace",
            )

    def _allow_from(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """The annotation that lets more clients connect."""
        if ALLOW_FROM_ANNOTATION not in workload.annotations:
            return
        place = _ANNOTATIONS / ALLOW_FROM_ANNOTATION
        if not facts.network_isolation.authors_may_allow:
            yield self.violation(
                f"{ALLOW_FROM_ANNOTATION} is not allowed by the policy file",
                place,
                f"remove {ALLOW_FROM_ANNOTATION}, or ask the administrator to write its entries "
                "into networkIsolation.allowFrom or to set networkIsolation.authorsMayAllow",
            )
            return
        yield from self._entries(AllowFrom.of(workload.annotations), place)
        if workload.kind == "RayCronJob":
            yield self._without_effect(ALLOW_FROM_ANNOTATION)

    def _entries(self, entries: AllowFrom, place: Pointer) -> Iterator[Violation]:
        if entries.is_too_large:
            yield self.violation(
                f"{ALLOW_FROM_ANNOTATION} has more than {MAX_ALLOWANCES} entries or "
                f"{LONGEST_ALLOW_FROM} characters",
                place,
                "name whole namespaces or networks, or ask the administrator to write them into "
                "networkIsolation.allowFrom",
            )
        for entry, reason in entries.unreadable:
            yield self.violation(
                f"{ALLOW_FROM_ANNOTATION} has an entry that cannot be read",
                place,
                f"write NAMESPACE[/LABEL=VALUE,...][:PORT,...] or CIDR[:PORT,...], separated by "
                f"blanks: {reason}",
                evidence=entry,
            )

    def _without_effect(self, annotation: str) -> Violation:
        return self.violation(
            f"{annotation} has no effect here: KubeRay does not copy the annotations of a "
            "RayCronJob to its clusters",
            _ANNOTATIONS / annotation,
            f"remove {annotation}, or ask the administrator to change networkIsolation of this "
            "namespace",
            advisory=True,
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
