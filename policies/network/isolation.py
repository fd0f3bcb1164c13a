"""How much of a RayCluster's traffic NetworkPolicies close, and who decides it.

The policy file decides. An annotation of the RayCluster can only choose a stricter mode.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from policies.documents.untyped import as_str
from policies.network.allowance import Allowance, AllowanceError

# On a RayCluster: its author's mode, or MANAGED. Its presence tells RayWarden to write
# NetworkPolicies for the cluster; RayWarden adds it to each new RayCluster.
ISOLATION_ANNOTATION = "raywarden.io/network-isolation"
# As the policy file says.
MANAGED = "managed"
# On a RayCluster: who else may connect, separated by blanks, in the form of `Allowance`.
ALLOW_FROM_ANNOTATION = "raywarden.io/allow-from"
# Anyone who may create a RayCluster writes the annotation, and each entry becomes a rule.
MAX_ALLOWANCES = 20
LONGEST_ALLOW_FROM = 2000
# The modes of a RayCluster's `spec.networkPolicy` with which KubeRay isolates ingress; the first
# is the default.
_KUBERAY_CLOSES = ("DenyAll", "DenyAllIngress")


class IsolationMode(IntEnum):
    """How much is closed; a higher mode closes all that a lower one does."""

    # No NetworkPolicies.
    OFF = 0
    # Only members, KubeRay's operator and the submitter reach Ray's own ports; others stay open.
    MEMBERS = 1
    # All ports are closed to others.
    DENY_INGRESS = 2
    # All ports are closed to others, and the pods reach only what they need.
    DENY_ALL = 3

    @classmethod
    def named(cls, name: str) -> "IsolationMode":
        """The mode called `name`; raises KeyError for any other text."""
        return _BY_NAME[name]

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")


_BY_NAME = {str(mode): mode for mode in IsolationMode}


def kuberay_closes(policy: Any) -> bool:
    """True if KubeRay isolates the ingress of a RayCluster with this `spec.networkPolicy`."""
    if not isinstance(policy, dict):
        return False
    return (as_str(policy.get("mode")) or _KUBERAY_CLOSES[0]) in _KUBERAY_CLOSES


def kept_annotations(annotations: Mapping[str, Any]) -> Mapping[str, str]:
    """What is kept in memory of a RayCluster's annotations: those about isolation.

    One that is too large stays too large: a part of it could allow something else.
    """
    return {
        name: as_str(annotations[name])[: LONGEST_ALLOW_FROM + 1]
        for name in (ISOLATION_ANNOTATION, ALLOW_FROM_ANNOTATION)
        if name in annotations
    }


def chosen_mode(annotations: Mapping[str, Any]) -> IsolationMode | None:
    """The mode that a cluster's author chose; None if they chose none, or one that is unknown."""
    return _BY_NAME.get(as_str(annotations.get(ISOLATION_ANNOTATION)))


@dataclass(frozen=True, slots=True)
class AllowFrom:
    """The entries of a cluster's annotation `raywarden.io/allow-from`.

    `unreadable`: entries that are no allowances, with the reasons. No entry of an annotation that
    `is_too_large` is read.
    """

    allowances: tuple[Allowance, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    is_too_large: bool = False

    @classmethod
    def of(cls, annotations: Mapping[str, Any]) -> "AllowFrom":
        text = as_str(annotations.get(ALLOW_FROM_ANNOTATION))
        # A part of the text could end in a part of an entry, which would allow something else.
        if len(text) > LONGEST_ALLOW_FROM:
            return cls(is_too_large=True)
        words = text.split()
        if len(words) > MAX_ALLOWANCES:
            return cls(is_too_large=True)
        allowances: list[Allowance] = []
        unreadable: list[tuple[str, str]] = []
        for word in words:
            try:
                allowances.append(Allowance.ingress(word))
            except AllowanceError as error:
                unreadable.append((word, str(error)))
        return cls(tuple(allowances), tuple(unreadable))


@dataclass(frozen=True, slots=True)
class ClusterIsolation:
    """The mode of a cluster, and the traffic that is let through besides what Ray needs.

    `monitoring`: who may read metrics. `authors_may_allow`: the annotation of a cluster may add to
    `allow_from`. `is_final`: annotations change nothing.
    """

    mode: IsolationMode
    allow_from: tuple[Allowance, ...] = ()
    monitoring: tuple[Allowance, ...] = ()
    egress: tuple[Allowance, ...] = ()
    authors_may_allow: bool = False
    is_final: bool = False

    def of_cluster(self, annotations: Mapping[str, Any]) -> "ClusterIsolation":
        """What holds for a RayCluster with these annotations; OFF if it is not managed.

        Values that RayWarden does not understand change nothing.
        """
        if self.is_final or ISOLATION_ANNOTATION not in annotations:
            return replace(self, mode=IsolationMode.OFF)
        chosen = chosen_mode(annotations) or IsolationMode.OFF
        added = allowances_of(annotations) if self.authors_may_allow else ()
        return replace(self, mode=max(self.mode, chosen), allow_from=(*self.allow_from, *added))


def allowances_of(annotations: Mapping[str, Any]) -> tuple[Allowance, ...]:
    """The allowances in a RayCluster's annotation; those that cannot be read are left out."""
    return AllowFrom.of(annotations).allowances
