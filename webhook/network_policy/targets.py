"""The Ray clusters in manifests, and how NetworkPolicies select their pods."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policies.documents.metadata import labels_of
from policies.documents.untyped import as_dict, as_str, printable
from policies.network.ray_traffic import ClusterTraffic
from policies.network.written import Members, PolicyNames
from policies.ray.kuberay import cluster_of, submitter_of
from policies.ray.workload import LABEL_PREFIXES, Kind, Workload
from webhook.network_policy.opt_in import opt_in_clusters

OPT_IN = "Ray cluster"
# Objects of two kinds can have the same name.
_PREFIXES = {
    "RayCluster": "ray",
    "RayJob": "ray-job",
    "RayService": "ray-service",
    "RayCronJob": "ray-cron-job",
    OPT_IN: "opt-in",
}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]")
# Labels of tools. No author chose them, or those of Ray and KubeRay, to tell clusters apart.
_OF_TOOLS = frozenset(
    {
        "app.kubernetes.io/created-by",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/version",
        "helm.sh/chart",
        "pod-template-hash",
    }
)
# Those that authors use to tell applications apart come first.
_USUAL = ("app.kubernetes.io/instance", "app", "app.kubernetes.io/name")


@dataclass(frozen=True, slots=True)
class PolicyTarget:
    """A Ray cluster for which policies are printed.

    `notes` say what its author must know. `annotations` are those of the RayCluster.
    `has_operator`: KubeRay's operator made it.
    """

    kind: str
    name: str
    traffic: ClusterTraffic
    members: Members
    annotations: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    has_operator: bool = True

    @property
    def namespace(self) -> str:
        return self.traffic.namespace

    @property
    def policy_names(self) -> PolicyNames:
        """Names that neither RayWarden's server nor KubeRay gives to its own policies."""
        # The name of an opt-in cluster is the value of a label, which can have other characters.
        name = _NOT_IN_NAMES.sub("-", self.name.lower())
        return PolicyNames.of(name, prefix=_PREFIXES[self.kind])

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return printable(f"{self.kind} {place}", 400)


@dataclass(frozen=True, slots=True)
class NoTarget:
    """An object for which no policies are printed, and why."""

    title: str
    why: str


def targets_in(
    documents: Sequence[Mapping[str, Any]], namespace: str = ""
) -> Iterator[PolicyTarget | NoTarget]:
    """The clusters of all manifests; `namespace` is that of manifests that name none."""
    placed = [_placed(document, namespace) for document in documents]
    workloads = [(document, Workload.of(Kind.of(document), document)) for document in placed]
    used = Counter(
        (_namespace(workload), *label)
        for _, workload in workloads
        if workload
        for label in shared_labels(workload).items()
    )
    bare = []
    for document, workload in workloads:
        if workload is None:
            yield NoTarget(_title(document), "it has nothing to do with Ray")
        elif not workload.name:
            yield NoTarget(_title(document), "it has no name: set metadata.name")
        elif workload.kind == "RayCluster":
            yield target_of_cluster(workload)
        elif Kind.of(document).group == "ray.io":
            yield _target_of_owner(workload, used)
        else:
            bare.append(workload)
    for cluster in opt_in_clusters(bare):
        if isinstance(cluster, Workload):
            yield NoTarget(_title(cluster.document), _why_not(cluster))
            continue
        yield PolicyTarget(
            OPT_IN,
            cluster.name,
            cluster.traffic,
            cluster.members,
            {},
            cluster.notes,
            has_operator=False,
        )


def target_of_cluster(cluster: Workload, notes: Sequence[str] = ()) -> PolicyTarget:
    """The RayCluster, by the labels that KubeRay gives to its pods."""
    name, traffic = cluster.name, ClusterTraffic.of(cluster)
    members = Members.of(name)
    return PolicyTarget("RayCluster", name, traffic, members, cluster.annotations, tuple(notes))


def shared_labels(workload: Workload) -> dict[str, str]:
    """The labels that the pods of all groups have, without those of Ray, KubeRay and tools."""
    shared: dict[str, str] | None = None
    for group in workload.cluster.groups if workload.cluster else ():
        labels = {
            **labels_of(as_dict(group.raw.get("template"))),
            **as_dict(group.raw.get("labels")),
        }
        kept = {
            name: value
            for name, value in labels.items()
            if isinstance(value, str) and value and not _is_common(name)
        }
        if shared is None:
            shared = kept
        shared = {name: value for name, value in shared.items() if kept.get(name) == value}
    return shared or {}


def _is_common(name: str) -> bool:
    return name in _OF_TOOLS or name.startswith(LABEL_PREFIXES)


def _target_of_owner(
    workload: Workload, used: Mapping[tuple[str, str, str], int]
) -> PolicyTarget | NoTarget:
    """The RayCluster of a RayJob, RayService or RayCronJob, whose name is not known yet."""
    document = cluster_of(workload)
    if document is None:
        why = "it uses an existing RayCluster: print the policies of that one"
        return NoTarget(_title(workload.document), why)
    cluster = Workload("RayCluster", document)
    labels = shared_labels(workload)
    ours = {
        name: value
        for name, value in labels.items()
        if used[(_namespace(workload), name, value)] == 1
    }
    chosen = _most_telling(ours, workload.name)
    return PolicyTarget(
        workload.kind,
        workload.name,
        _traffic_of_owner(workload, cluster),
        Members.labeled(chosen),
        cluster.annotations,
        (_note(workload, chosen),),
    )


def _most_telling(labels: Mapping[str, str], name: str) -> dict[str, str]:
    """The label that tells the cluster apart best; empty if there is none."""
    rank = {label: index for index, label in enumerate(_USUAL)}

    def order(label: str) -> tuple[bool, int, str]:
        return (name not in labels[label], rank.get(label, len(rank)), label)

    best = sorted(labels, key=order)[:1]
    return {label: labels[label] for label in best}


def _note(workload: Workload, chosen: Mapping[str, str]) -> str:
    reason = f"KubeRay chooses the name of the {workload.kind}'s RayCluster later"
    for label, value in chosen.items():
        return (
            f"{reason}, so the policies select Ray pods with the label {label}: {value}. No other "
            "Ray cluster of the namespace may have it"
        )
    return (
        f"{reason}, and its templates share no label of their own, so the policies select all Ray "
        "pods of the namespace: its Ray clusters can reach each other. For tighter policies, give "
        f"the templates of all groups the label app: {workload.name}"
    )


def _traffic_of_owner(workload: Workload, cluster: Workload) -> ClusterTraffic:
    traffic = ClusterTraffic.of(cluster)
    # The Serve config, which can name more ports, is in the RayService alone.
    public = [group.public for group in ClusterTraffic.of(workload).groups]
    groups = tuple(
        replace(group, public=ports) for group, ports in zip(traffic.groups, public, strict=True)
    )
    traffic = replace(traffic, groups=groups)
    if workload.kind == "RayService":
        return traffic
    # A RayCronJob creates RayJobs, whose names are not known either.
    return replace(
        traffic,
        origin="RayJob",
        origin_name=workload.name if workload.kind == "RayJob" else "",
        takes_submitters=submitter_of(workload) is not None,
    )


def _why_not(workload: Workload) -> str:
    if workload.is_bare:
        return "its pods have no label raywarden.io/cluster, which policies could select"
    return "KubeRay made it: print the policies of its RayCluster"


def _placed(document: Mapping[str, Any], namespace: str) -> Mapping[str, Any]:
    metadata = as_dict(document.get("metadata"))
    if metadata.get("namespace") or not namespace:
        return document
    return {**document, "metadata": {**metadata, "namespace": namespace}}


def _namespace(workload: Workload) -> str:
    return as_str(workload.metadata.get("namespace"))


def _title(document: Mapping[str, Any]) -> str:
    kind = as_str(document.get("kind"))
    metadata = as_dict(document.get("metadata"))
    place = (as_str(metadata.get("namespace")), as_str(metadata.get("name")))
    return printable(f"{kind} {'/'.join(filter(None, place))}".strip(), 200)
