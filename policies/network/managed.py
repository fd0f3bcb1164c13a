"""RayClusters whose NetworkPolicies RayWarden writes, and those policies as they are stored.

Both stay in memory, and anyone with rights in a namespace can create them, so their size is
bounded.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import orjson

from policies.documents.metadata import annotations_of, labels_of, metadata_of, name_of, uid_of
from policies.documents.metadata import namespace_of as _namespace_of
from policies.documents.untyped import as_dict, as_str, dict_items, larger
from policies.network.isolation import (
    ISOLATION_ANNOTATION,
    ClusterIsolation,
    IsolationMode,
    kept_annotations,
    kuberay_closes,
)
from policies.network.parties import PodParty
from policies.network.policy import Direction
from policies.network.ports import Ports, merged
from policies.network.ray_traffic import ClusterTraffic, GroupTraffic
from policies.network.written import PolicyNames, WrittenPolicy
from policies.ray.membership import RAY_GROUP
from policies.ray.pod import PodRole
from policies.ray.workload import Workload

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "raywarden"
# KubeRay's own isolation in the spec of a RayCluster (KubeRay 1.7, alpha).
_KUBERAY_FIELDS = ("networkPolicy", "networkIsolation")
# Values and characters of a spec; no real RayCluster comes near, and etcd stores 1.5 MiB at most.
_LARGEST_SPEC = 500_000
_MAX_GROUPS = 256
# Each span of ports becomes an entry of the written policy.
_MAX_SPANS = 128
# KubeRay gives pods the cluster's name as the value of a label: pods of a longer one cannot exist.
_LONGEST_NAME = 63
_MAX_OWNERS = 64
_NAME_STARTS = (PolicyNames.of("").pods, PolicyNames.of("").head)
_FIELDS = ("podSelector", "policyTypes", "ingress", "egress")


@dataclass(frozen=True, slots=True)
class ManagedCluster:
    """A RayCluster that carries the annotation.

    `kuberay_isolates`: its author asks KubeRay for NetworkPolicies that close it. `ended`: it is
    being deleted. A cluster that is `too_large` to read keeps only what its name decides.
    """

    namespace: str
    name: str
    uid: str
    annotations: Mapping[str, str]
    traffic: ClusterTraffic
    kuberay_isolates: bool = False
    ended: bool = False
    too_large: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "ManagedCluster | None":
        """The view of a RayCluster object; None if RayWarden writes no policies for it."""
        annotations = kept_annotations(annotations_of(document))
        if ISOLATION_ANNOTATION not in annotations or len(name_of(document)) > _LONGEST_NAME:
            return None
        spec = as_dict(document.get("spec"))
        traffic = None if _is_large(spec) else _compact(ClusterTraffic.of(_workload(document)))
        small = {**document, "spec": {}}
        return cls(
            namespace=_namespace_of(document),
            name=name_of(document),
            uid=uid_of(document),
            annotations=annotations,
            traffic=traffic or ClusterTraffic.of(_workload(small)),
            kuberay_isolates=any(kuberay_closes(spec.get(field)) for field in _KUBERAY_FIELDS),
            ended="deletionTimestamp" in metadata_of(document),
            too_large=traffic is None,
        )

    def isolation(self, of_namespace: ClusterIsolation) -> ClusterIsolation:
        """What holds for this cluster, where `of_namespace` is what the policy file says."""
        isolation = of_namespace.of_cluster(self.annotations)
        if self.too_large and isolation.mode is IsolationMode.MEMBERS:
            # Which of its ports are Ray's own is unknown: close them all.
            return replace(isolation, mode=IsolationMode.DENY_INGRESS)
        return isolation


@dataclass(frozen=True, slots=True)
class StoredNetworkPolicy:
    """A stored NetworkPolicy with a name that RayWarden gives.

    `effect`: a digest of the fields that take effect. `owners`: the uids of RayClusters that own it
    and do not control it. `labeled`: RayWarden's label is on it.
    """

    namespace: str
    name: str
    uid: str
    version: str
    effect: str
    labeled: bool
    owners: frozenset[str]
    ended: bool

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "StoredNetworkPolicy":
        """The view of a NetworkPolicy object."""
        metadata = metadata_of(document)
        return cls(
            namespace=_namespace_of(document),
            name=name_of(document),
            uid=as_str(metadata.get("uid")),
            version=as_str(metadata.get("resourceVersion")),
            effect=_effect(as_dict(document.get("spec"))),
            labeled=labels_of(document).get(MANAGED_BY_LABEL) == MANAGED_BY,
            owners=frozenset(islice(_owners(metadata), _MAX_OWNERS)),
            ended="deletionTimestamp" in metadata,
        )

    @property
    def is_ours(self) -> bool:
        """Whether RayWarden wrote it, as far as it shows."""
        return self.labeled and bool(self.owners)

    def stands(self, wanted: WrittenPolicy, owner: str) -> bool:
        """Whether it has the effect of `wanted`, and keeps it; `owner` is the RayCluster's uid.

        The garbage collector deletes what belongs only to an earlier RayCluster of the same name.
        """
        is_kept = not self.owners or owner in self.owners
        return is_kept and self.effect == _effect(wanted.spec)

    def is_as(self, wanted: WrittenPolicy, owner: str) -> bool:
        """Whether nothing of `wanted` has to be written; `owner` is the RayCluster's uid."""
        return self.stands(wanted, owner) and self.labeled and owner in self.owners


def cluster_of(policy: str) -> str:
    """The RayCluster whose policy has this name; empty if RayWarden gives no such name."""
    for start in _NAME_STARTS:
        if policy.startswith(start):
            return policy.removeprefix(start)
    return ""


def application_of(policy: WrittenPolicy, cluster: ManagedCluster) -> dict[str, Any]:
    """The document that RayWarden applies for a policy.

    The owner does not control it: KubeRay deletes policies that its RayClusters control. It does
    not block the owner's deletion either, which OpenShift allows only to those who may delete it.
    """
    owner = {
        "apiVersion": f"{RAY_GROUP}/v1",
        "kind": "RayCluster",
        "name": cluster.name,
        "uid": cluster.uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": policy.name,
            "namespace": policy.namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY},
            "ownerReferences": [owner],
        },
        "spec": policy.spec,
    }


def _workload(document: Mapping[str, Any]) -> Workload:
    return Workload("RayCluster", document)


def _is_large(spec: Mapping[str, Any]) -> bool:
    groups = spec.get("workerGroupSpecs")
    many = isinstance(groups, list) and len(groups) >= _MAX_GROUPS
    return many or larger(spec, _LARGEST_SPEC)


def _compact(traffic: ClusterTraffic) -> ClusterTraffic | None:
    """The same traffic in one group without labels; None if it has too many ports."""
    metrics = merged(span for group in traffic.groups for span in group.metrics)
    public = merged(span for group in traffic.groups for span in group.public)
    parts: Sequence[Ports] = (metrics, public, traffic.own, traffic.dashboard, traffic.redis)
    if sum(map(len, parts)) > _MAX_SPANS:
        return None
    pods = PodParty(traffic.namespace)
    group = GroupTraffic("pods", PodRole.HEAD, pods, (), (), metrics, public)
    return replace(traffic, groups=(group,) if traffic.groups else ())


def _effect(spec: Mapping[str, Any]) -> str:
    """A digest of the fields that take effect: a policy can be as large as a list of networks.

    Others can leave egress rules in a policy of ingress.
    """
    fields = {name: spec[name] for name in _FIELDS if spec.get(name)}
    types = fields.get("policyTypes")
    if isinstance(types, list) and str(Direction.EGRESS) not in types:
        fields.pop("egress", None)
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _owners(metadata: Mapping[str, Any]) -> Iterator[str]:
    for _, owner in dict_items(metadata.get("ownerReferences")):
        group = as_str(owner.get("apiVersion")).rpartition("/")[0]
        is_cluster = (group, owner.get("kind")) == (RAY_GROUP, "RayCluster")
        if is_cluster and owner.get("controller") is not True:
            yield as_str(owner.get("uid"))
