"""Which network a cluster has, by its DaemonSets, and whether it enforces NetworkPolicies.

A NetworkPolicy without a network that enforces it does nothing. Some networks run without a
DaemonSet (k3s, EKS Auto Mode), so the absence of all of these says nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from policies.documents.metadata import name_of
from policies.documents.untyped import as_str, dict_items, str_items
from webhook.check.deployment import pod_spec_of
from webhook.check.facts import Object, Objects


class Enforcement(StrEnum):
    """Whether a network enforces NetworkPolicies."""

    YES = "enforces"
    NO = "does not enforce"
    UNKNOWN = "may enforce"


@dataclass(frozen=True, slots=True)
class NetworkPlugin:
    """A part of the cluster's network; `condition` is what the answer depends on."""

    title: str
    enforcement: Enforcement
    condition: str = ""

    def __str__(self) -> str:
        return f"{self.title} ({self.condition})" if self.condition else self.title


# By the names of DaemonSets, or of their containers.
_ENFORCING = {
    "cilium": NetworkPlugin("Cilium", Enforcement.YES, "unless enable-policy is never"),
    "anetd": NetworkPlugin("GKE Dataplane V2", Enforcement.YES),
    "calico-node": NetworkPlugin("Calico", Enforcement.YES),
    "antrea-agent": NetworkPlugin("Antrea", Enforcement.YES),
    "ovnkube-node": NetworkPlugin("OVN-Kubernetes", Enforcement.YES),
    "kube-ovn-cni": NetworkPlugin("Kube-OVN", Enforcement.YES),
    "weave-npc": NetworkPlugin("Weave Net", Enforcement.YES),
    "azure-npm": NetworkPlugin("Azure Network Policy Manager", Enforcement.YES),
    "kube-network-policies": NetworkPlugin("kube-network-policies", Enforcement.YES),
}
_ROUTER, _AWS_AGENT, _KINDNET = "kube-router", "aws-eks-nodeagent", "kindnet-cni"
_NOT_ENFORCING = {
    "kube-flannel": NetworkPlugin("flannel", Enforcement.NO),
    "aws-node": NetworkPlugin("the Amazon VPC CNI", Enforcement.NO, "its network policies are off"),
    "azure-cns": NetworkPlugin("Azure CNI", Enforcement.NO, "without a network policy engine"),
}


def network_plugins(daemon_sets: Objects) -> Sequence[NetworkPlugin]:
    """The parts that decide: those that enforce policies if there are any, else the others."""
    plugins = list(dict.fromkeys(_plugins(daemon_sets)))
    for enforcement in (Enforcement.YES, Enforcement.UNKNOWN, Enforcement.NO):
        best = [plugin for plugin in plugins if plugin.enforcement is enforcement]
        if best:
            return best
    return ()


def _plugins(daemon_sets: Objects) -> Iterator[NetworkPlugin]:
    for daemon_set in daemon_sets:
        containers = [item for _, item in dict_items(pod_spec_of(daemon_set).get("containers"))]
        by_name = {as_str(container.get("name")): container for container in containers}
        for name in (name_of(daemon_set), *by_name):
            known = _ENFORCING.get(name) or _NOT_ENFORCING.get(name)
            if known:
                yield known
        yield from _by_argument(by_name)


def _by_argument(containers: dict[str, Object]) -> Iterator[NetworkPlugin]:
    """Those whose arguments or image decide."""
    router = containers.get(_ROUTER)
    if router is not None:
        is_off = "--run-firewall=false" in _arguments(router)
        yield NetworkPlugin(_ROUTER, Enforcement.NO if is_off else Enforcement.YES)
    agent = containers.get(_AWS_AGENT)
    if agent is not None and "--enable-network-policy=true" in _arguments(agent):
        yield NetworkPlugin("the Amazon VPC CNI", Enforcement.YES)
    if _KINDNET in containers:
        yield NetworkPlugin("kindnet", Enforcement.UNKNOWN, "since kind 0.24")


def _arguments(container: Object) -> list[str]:
    lists = (container.get("command"), container.get("args"))
    return [text for values in lists for _, text in str_items(values)]
