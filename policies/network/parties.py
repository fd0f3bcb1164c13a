"""The ends of a connection: a pod, a kind of pods that anyone can create, or addresses.

What is known of a party can be incomplete, so whether a peer of a NetworkPolicy includes it has
three answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from policies.documents.selectors import Selector
from policies.network.ports import PortNames

# The label that the API server sets on every namespace.
NAMESPACE_NAME = "kubernetes.io/metadata.name"
# Labels of namespaces of any owner, which say how they are set up. A selector of one of these does
# not say whose namespace it is.
_COMMON_LABELS = frozenset({"istio-injection", "istio.io/rev", "linkerd.io/inject"})
_COMMON_PREFIXES = ("pod-security.kubernetes.io/", "raywarden.io/", "security.openshift.io/")

AnyNetwork = IPv4Network | IPv6Network


class Certainty(Enum):
    """Whether something is so."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PodParty:
    """Pods with these labels in this namespace.

    `namespace_labels`: None if only the namespace's name is known.
    `port_names`: the names that the pods' containers give to ports; None if they are unknown.
    `chooses_labels`: the labels are the choice of an attacker, so any selector can be satisfied
    that does not contradict itself. The common labels of namespaces keep no such pod out.
    """

    namespace: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    namespace_labels: Mapping[str, Any] | None = None
    port_names: PortNames | None = None
    chooses_labels: bool = False

    def satisfies(self, pods: Selector | None) -> Certainty:
        """Whether the pods have labels that the selector asks for; None asks for nothing."""
        if pods is None or pods.matches(self.labels):
            return Certainty.YES
        return Certainty.YES if self.chooses_labels and pods.is_satisfiable else Certainty.NO

    def is_in(self, namespaces: Selector | None, own: str) -> Certainty:
        """Whether the pods are in a namespace that a peer selects; None selects `own` alone."""
        if namespaces is None:
            return Certainty.YES if self.namespace == own else Certainty.NO
        if self.chooses_labels:
            namespaces = namespaces.without(_says_nothing_of_its_owner)
        labels = {**(self.namespace_labels or {}), NAMESPACE_NAME: self.namespace}
        if self.namespace_labels is None and namespaces.reads_other_than(NAMESPACE_NAME):
            return Certainty.UNKNOWN
        return Certainty.YES if namespaces.matches(labels) else Certainty.NO


@dataclass(frozen=True, slots=True)
class AddressParty:
    """Addresses outside the pod network; an empty tuple means that they are unknown."""

    networks: tuple[AnyNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class Outsiders:
    """The clients of a cluster: some pods or addresses besides those that work with it.

    `insiders`: the labels by which policies select the others; an empty value is any value.
    """

    insiders: Mapping[str, str]

    def are_not(self, pods: Selector) -> bool:
        """True if the selector is for insiders."""
        return any(
            pods.reads(name) if not value else pods.labels.get(name) == value
            for name, value in self.insiders.items()
        )


Party = PodParty | AddressParty | Outsiders

# The pods of any tenant: of a namespace about which nothing is known, which no label can be.
STRANGER = PodParty("/", namespace_labels={}, chooses_labels=True)


def _says_nothing_of_its_owner(label: str) -> bool:
    return label in _COMMON_LABELS or label.startswith(_COMMON_PREFIXES)
