"""Ray clusters without KubeRay: Deployments, StatefulSets and pods that opted in with a label."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from policies.documents.untyped import as_str
from policies.network.parties import PodParty
from policies.network.ray_traffic import ClusterTraffic, GroupTraffic
from policies.network.written import Members
from policies.ray.commands import substituted, words_of
from policies.ray.membership import OPT_IN_CLUSTER_LABEL, OPT_IN_ROLE_LABEL, has_opted_in
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload

# Parameters of `ray start` that are numbers, such as the ports that it moves.
_PARAMETER = re.compile(r"--([a-z-]{1,40})[=\s]\s*([0-9]{1,5})\b")
# Commands are short; a longer text is not searched to its end.
_MAX_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class OptInCluster:
    """The pods with one value of the label in one namespace.

    `notes` say what its author must know.
    """

    name: str
    traffic: ClusterTraffic
    members: Members
    notes: tuple[str, ...] = ()


def opt_in_clusters(workloads: Iterable[Workload]) -> Iterator[OptInCluster | Workload]:
    """The clusters of the pods that opted in; a workload whose pods did not, as it is."""
    clusters: dict[tuple[str, str], list[Pod]] = {}
    for workload in workloads:
        pods = [pod for pod in workload.pods if has_opted_in(pod.labels)]
        if not pods:
            yield workload
        for pod in pods:
            name = as_str(pod.labels[OPT_IN_CLUSTER_LABEL])
            namespace = as_str(workload.metadata.get("namespace"))
            clusters.setdefault((namespace, name), []).append(pod)
    for (namespace, name), pods in clusters.items():
        labels = {OPT_IN_CLUSTER_LABEL: name}
        head = {**labels, OPT_IN_ROLE_LABEL: str(PodRole.HEAD)}
        members = Members({"matchLabels": labels}, {"matchLabels": head})
        yield OptInCluster(
            name, _traffic(namespace, name, pods), members, tuple(_notes(name, pods))
        )


def _notes(name: str, pods: Sequence[Pod]) -> Iterator[str]:
    if any(pod.role is PodRole.CLIENT for pod in pods):
        labels = f"{OPT_IN_CLUSTER_LABEL}: {name}, {OPT_IN_ROLE_LABEL}: {PodRole.CLIENT}"
        yield (
            "the policies also select the clients, such as web servers. Let in who uses them with "
            f"a NetworkPolicy of your own for the pods with the labels {labels}"
        )


def _traffic(namespace: str, name: str, pods: Sequence[Pod]) -> ClusterTraffic:
    """The traffic of the RayCluster that would have these pods."""
    head = next((pod for pod in pods if pod.role is PodRole.HEAD), None)
    workers = [pod for pod in pods if pod is not head]
    spec = {
        "headGroupSpec": _group(head) if head else {},
        "workerGroupSpecs": [_group(pod) for pod in workers],
    }
    metadata = {"name": name, "namespace": namespace}
    traffic = ClusterTraffic.of(Workload("RayCluster", {"metadata": metadata, "spec": spec}))
    groups = [
        _labeled(group, pod)
        for group, pod in zip(traffic.groups, [head, *workers], strict=True)
        if pod is not None
    ]
    # KubeRay's operator and submitters have nothing to do with it.
    return replace(traffic, groups=tuple(groups), takes_submitters=False)


def _group(pod: Pod) -> dict[str, object]:
    return {"groupName": pod.group, "template": pod.raw, "rayStartParams": _parameters(pod)}


def _parameters(pod: Pod) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for container in pod.containers:
        text = substituted(" ".join(words_of(container))[:_MAX_CHARACTERS], [container])
        parameters.update(_PARAMETER.findall(text))
    return parameters


def _labeled(group: GroupTraffic, pod: Pod) -> GroupTraffic:
    party = PodParty(group.party.namespace, pod.labels, None, group.party.port_names)
    return replace(group, party=party)
