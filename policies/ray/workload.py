"""One view of every kind that creates Ray pods: its pods, its head, its Ray containers.

The only module that knows where the pods are in each kind. The views are typed; the objects behind
them stay raw.
Source: KubeRay `ray-operator/apis/ray/v1` and `controllers/ray/common/pod.go`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from propcache.api import cached_property

from policies.documents.metadata import ObjectView
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.membership import (
    RAY_CLUSTER_LABEL,
    RAY_GROUP,
    has_claims,
    has_opted_in,
    ray_pod,
)
from policies.ray.pod import Container, Pod, PodRole
from policies.ray.summary import Summary

# RayWarden's marker on the objects to which it gives TLS.
TLS_LABEL = "raywarden.io/tls"
TLS_MANAGED = "managed"
# A selector that names a label with one of these prefixes selects Ray pods.
LABEL_PREFIXES = ("ray.io/", "raywarden.io/")

# Where each kind has its RayClusterSpec.
_CLUSTER_SPEC = {
    "RayCluster": ROOT / "spec",
    "RayJob": ROOT / "spec" / "rayClusterSpec",
    "RayService": ROOT / "spec" / "rayClusterConfig",
    "RayCronJob": ROOT / "spec" / "jobTemplate" / "rayClusterSpec",
}
_SUBMITTER_TEMPLATE = {
    "RayJob": ROOT / "spec" / "submitterPodTemplate",
    "RayCronJob": ROOT / "spec" / "jobTemplate" / "submitterPodTemplate",
}
# Where a RayClusterSpec has the options of the containers that KubeRay adds, by container name.
_OPTIONS = {
    "autoscaler": Pointer(("autoscalerOptions",)),
    "ray-history-collector": Pointer(("historyServerOptions", "collectorOptions")),
}
_BARE_TEMPLATE = {"Pod": ROOT, "CronJob": ROOT / "spec" / "jobTemplate" / "spec" / "template"}
# Kinds that create pods from a template. They are workloads if the template has the label of a Ray
# cluster, or starts Ray without one.
TEMPLATE_KINDS = {
    ("", "ReplicationController"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "ReplicaSet"),
    ("apps", "DaemonSet"),
    ("batch", "CronJob"),
    ("batch", "Job"),
}
# The name of every kind that can be a workload.
WORKLOAD_KINDS = frozenset({"Pod", *_CLUSTER_SPEC, *(kind for _, kind in TEMPLATE_KINDS)})


def template_place(kind: str) -> Pointer:
    """Where a Pod, or a kind that creates pods from a template, has the pod or the template."""
    return _BARE_TEMPLATE.get(kind, ROOT / "spec" / "template")


@dataclass(frozen=True)
class Kind:
    """A group, version and kind as in the API server; the core group is the empty string."""

    group: str
    version: str
    kind: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Kind":
        """The kind that a manifest states."""
        group, _, version = as_str(document.get("apiVersion")).rpartition("/")
        return cls(group, version, as_str(document.get("kind")))


class Group:
    """The head group or a worker group of a cluster: a pod template with start parameters."""

    def __init__(self, raw: Mapping[str, Any], pointer: Pointer, role: PodRole, name: str) -> None:
        self.raw = raw
        self.pointer = pointer
        self.role = role
        self.name = name
        self.pod = Pod(as_dict(raw.get("template")), pointer / "template", role, name)

    @property
    def title(self) -> str:
        return self.pod.title

    @property
    def start_params(self) -> Mapping[str, Any]:
        return as_dict(self.raw.get("rayStartParams"))


class ClusterSpec:
    """The RayClusterSpec at `pointer`."""

    def __init__(self, spec: Mapping[str, Any], pointer: Pointer) -> None:
        self.spec = spec
        self.pointer = pointer

    @cached_property
    def head(self) -> Group:
        raw = as_dict(self.spec.get("headGroupSpec"))
        return Group(raw, self.pointer / "headGroupSpec", PodRole.HEAD, "headgroup")

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The head group first, then the worker groups."""
        groups = [self.head]
        for index, raw in dict_items(self.spec.get("workerGroupSpecs")):
            pointer = self.pointer / "workerGroupSpecs" / index
            groups.append(Group(raw, pointer, PodRole.WORKER, as_str(raw.get("groupName"))))
        return tuple(groups)

    @cached_property
    def options(self) -> tuple[Container, ...]:
        """The options from which KubeRay creates the autoscaler and the history collector."""
        containers = []
        for name, place in _OPTIONS.items():
            options = as_dict(place.read(self.spec))
            if options:
                pointer = Pointer((*self.pointer, *place))
                containers.append(Container({"name": name, **options}, pointer, "options"))
        return tuple(containers)

    @cached_property
    def _by_part(self) -> dict[tuple[PodRole, str], Group]:
        return {(group.role, group.name): group for group in self.groups}

    def counterpart(self, group: Group) -> Group | None:
        """The group here with the role and name of `group`, a group of another version."""
        return self._by_part.get((group.role, group.name))

    @property
    def autoscaling(self) -> bool:
        return self.spec.get("enableInTreeAutoscaling") is True

    @cached_property
    def kubernetes_tokens(self) -> bool:
        """True if Ray asks the API server about its callers' tokens."""
        return as_dict(self.spec.get("authOptions")).get("enableK8sTokenAuth") is True

    @property
    def kuberay_tls(self) -> bool:
        """True if KubeRay's own mTLS is enabled (`spec.tlsOptions.enabled`)."""
        return as_dict(self.spec.get("tlsOptions")).get("enabled") is True


class Workload(ObjectView):
    """An object that is a Ray pod, or from which Ray pods are created."""

    def __init__(self, kind: str, document: Mapping[str, Any]) -> None:
        super().__init__(kind, document)
        # Results that several rules need, computed once by other modules, each under its name.
        self.memo: dict[str, Any] = {}

    @classmethod
    def of(cls, kind: Kind, document: Mapping[str, Any]) -> "Workload | None":
        """The view of `document`; None for a kind, or a pod, that has nothing to do with Ray."""
        if kind.group == RAY_GROUP and kind.kind in _CLUSTER_SPEC:
            return cls(kind.kind, document)
        workload = cls(kind.kind, document)
        if (kind.group, kind.kind) == ("", "Pod") or (kind.group, kind.kind) in TEMPLATE_KINDS:
            return workload if workload.pods else None
        return None

    def as_later_version(self, document: Mapping[str, Any]) -> "Workload":
        """The view of `document`, a later version of this pod.

        The role stays, even if the labels that stated it are gone.
        """
        later = Workload(self.kind, document)
        later.pods = tuple(Pod(document, pod.pointer, pod.role, pod.group) for pod in self.pods)
        return later

    @property
    def is_kuberay_pod(self) -> bool:
        """True if the pod's labels say that KubeRay created it, from an object reviewed before.

        Labels can be forged; the rule `operator-made-pods` verifies the claim.
        """
        return self.kind == "Pod" and (RAY_CLUSTER_LABEL in self.labels or self._is_submitter)

    @cached_property
    def is_bare(self) -> bool:
        """True if neither KubeRay nor RayWarden's label of a cluster stands behind the pods.

        KubeRay creates pods, and no templates of them except that of its clean-up Job.
        """
        if self.kind in _CLUSTER_SPEC:
            return False
        for pod in self.pods:
            if self.kind == "Pod" and has_claims(pod.labels):
                return False
            if pod.role in (PodRole.SUBMITTER, PodRole.CLEANUP) or has_opted_in(pod.labels):
                return False
        return True

    @property
    def _is_submitter(self) -> bool:
        return any(pod.role is PodRole.SUBMITTER for pod in self.pods)

    @cached_property
    def cluster(self) -> ClusterSpec | None:
        """Its RayClusterSpec; None for pods, and for a RayJob that uses an existing cluster."""
        place = _CLUSTER_SPEC.get(self.kind)
        spec = place.read(self.document) if place else None
        return ClusterSpec(spec, place) if place and isinstance(spec, dict) else None

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """Its pods: the head first, then one for each worker group, then the job submitter."""
        if self.kind not in _CLUSTER_SPEC:
            return tuple(self._bare_pods())
        groups = self.cluster.groups if self.cluster else ()
        return (*(group.pod for group in groups), *self._submitters())

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """The containers of all pods, then KubeRay's options."""
        containers = [container for pod in self.pods for container in pod.containers]
        return (*containers, *self.options)

    @cached_property
    def ray_containers(self) -> tuple[Container, ...]:
        """The containers that connect to Ray.

        KubeRay creates such containers from its options too, so those are included.
        """
        containers = [container for pod in self.pods for container in pod.ray_containers]
        return (*containers, *self.options)

    @property
    def options(self) -> tuple[Container, ...]:
        """The options of its RayClusterSpec from which KubeRay creates containers."""
        return self.cluster.options if self.cluster else ()

    @cached_property
    def summary(self) -> Summary:
        """What occurs anywhere in its pods."""
        return Summary(self.pods, self.containers)

    @cached_property
    def _by_part(self) -> dict[tuple[PodRole, str], Pod]:
        return {(pod.role, pod.group): pod for pod in self.pods}

    def counterpart(self, pod: Pod) -> Pod | None:
        """The pod here with the role and group of `pod`, a pod of another version."""
        return self._by_part.get((pod.role, pod.group))

    @property
    def submitter_template(self) -> Pointer:
        """Where this kind has the template of the pod that submits its job; ROOT if it has none."""
        return _SUBMITTER_TEMPLATE.get(self.kind, ROOT)

    def _submitters(self) -> Iterator[Pod]:
        place = self.submitter_template
        template = place.read(self.document) if place else None
        if place and isinstance(template, dict):
            yield Pod(template, place, PodRole.SUBMITTER, "")

    def _bare_pods(self) -> Iterator[Pod]:
        pod = ray_pod(self.kind, self.document, template_place(self.kind))
        if pod:
            yield pod
