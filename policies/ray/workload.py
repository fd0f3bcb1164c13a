"""One view over every kind that makes Ray pods: where are the pods, which is the head, which containers are Ray?

The only module that knows where pods are in each kind. Views are typed, the objects behind them stay raw.
Source: KubeRay `ray-operator/apis/ray/v1` and `controllers/ray/common/pod.go`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items, str_items
from policies.ray.pod import Container, Pod, PodRole

RAY_GROUP = "ray.io"
RAY_CLUSTER_LABEL = "ray.io/cluster"
NODE_TYPE_LABEL = "ray.io/node-type"
GROUP_LABEL = "ray.io/group"
ORIGIN_KIND_LABEL = "ray.io/originated-from-crd"
OPT_IN_CLUSTER_LABEL = "raywarden.io/cluster"
OPT_IN_ROLE_LABEL = "raywarden.io/role"
# Whoever asks for labels that begin like these asks for Ray.
LABEL_PREFIXES = ("ray.io/", "raywarden.io/")
# Options of `ray` itself may stand between the two words.
RAY_START = re.compile(r"\bray(?:\s+-\S{1,40}(?:\s+[^-\s]\S{0,40})?){0,4}\s+start\b")

# Where each kind keeps the RayClusterSpec it stands for.
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
_BARE_TEMPLATE = {"Pod": ROOT, "CronJob": ROOT / "spec" / "jobTemplate" / "spec" / "template"}
# Kinds that make pods of a template; theirs are ours when the template has the label of a Ray cluster,
# or starts Ray without one.
_TEMPLATE_KINDS = {
    ("", "ReplicationController"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "ReplicaSet"),
    ("apps", "DaemonSet"),
    ("batch", "CronJob"),
    ("batch", "Job"),
}
# Every kind that can be a workload, by name.
WORKLOAD_KINDS = frozenset({"Pod", *_CLUSTER_SPEC, *(kind for _, kind in _TEMPLATE_KINDS)})


@dataclass(frozen=True)
class Kind:
    """A group, version and kind as the API server names them; the core group is the empty string."""

    group: str
    version: str
    kind: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Kind":
        """The kind a manifest claims for itself."""
        group, _, version = as_str(document.get("apiVersion")).rpartition("/")
        return cls(group, version, as_str(document.get("kind")))


class Group:
    """The head group or one worker group of a cluster: start parameters around a pod template."""

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
    """A RayClusterSpec, wherever it stands."""

    def __init__(self, spec: Mapping[str, Any], pointer: Pointer) -> None:
        self.spec = spec
        self.pointer = pointer

    @cached_property
    def head(self) -> Group:
        return Group(
            as_dict(self.spec.get("headGroupSpec")),
            self.pointer / "headGroupSpec",
            PodRole.HEAD,
            "headgroup",
        )

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The head group first, then the worker groups."""
        workers = (
            Group(
                raw,
                self.pointer / "workerGroupSpecs" / index,
                PodRole.WORKER,
                as_str(raw.get("groupName")),
            )
            for index, raw in dict_items(self.spec.get("workerGroupSpecs"))
        )
        return (self.head, *workers)

    @cached_property
    def options(self) -> tuple[Container, ...]:
        """What KubeRay makes a container of its own from: the autoscaler's and the history collector's options."""
        places = {
            "autoscaler": Pointer(("autoscalerOptions",)),
            "ray-history-collector": Pointer(("historyServerOptions", "collectorOptions")),
        }
        return tuple(
            Container({"name": name, **options}, Pointer((*self.pointer, *place)), "options")
            for name, place in places.items()
            if (options := as_dict(place.read(self.spec)))
        )

    @cached_property
    def _by_part(self) -> dict[tuple[PodRole, str], Group]:
        return {(group.role, group.name): group for group in self.groups}

    def counterpart(self, group: Group) -> Group | None:
        """The group here that plays the part of `group`, a group of another version of the same cluster."""
        return self._by_part.get((group.role, group.name))

    @property
    def autoscaling(self) -> bool:
        return self.spec.get("enableInTreeAutoscaling") is True

    @property
    def kuberay_tls(self) -> bool:
        """KubeRay's own mTLS is asked for (`spec.tlsOptions.enabled`)."""
        return as_dict(self.spec.get("tlsOptions")).get("enabled") is True


class Workload:
    """An object that is, or will become, Ray pods."""

    def __init__(self, kind: str, document: Mapping[str, Any]) -> None:
        self.kind = kind
        self.document = document
        self.metadata = as_dict(document.get("metadata"))
        self.labels = as_dict(self.metadata.get("labels"))
        self.annotations = as_dict(self.metadata.get("annotations"))
        # What others have worked out about it, each under its own name: rules ask for the same things.
        self.memo: dict[str, Any] = {}

    @classmethod
    def of(cls, kind: Kind, document: Mapping[str, Any]) -> "Workload | None":
        """The view of `document`, or None for a kind (or a pod) that has nothing to do with Ray."""
        if kind.group == RAY_GROUP and kind.kind in _CLUSTER_SPEC:
            return cls(kind.kind, document)
        workload = cls(kind.kind, document)
        if (kind.group, kind.kind) == ("", "Pod") or (kind.group, kind.kind) in _TEMPLATE_KINDS:
            return workload if workload.pods else None
        return None

    def continued(self, document: Mapping[str, Any]) -> "Workload":
        """The view of `document` as a later version of this pod, also where its labels no longer say so."""
        later = Workload(self.kind, document)
        later.pods = tuple(Pod(document, pod.pointer, pod.role, pod.group) for pod in self.pods)
        return later

    @property
    def name(self) -> str:
        return as_str(self.metadata.get("name")) or as_str(self.metadata.get("generateName"))

    @property
    def is_kuberay_pod(self) -> bool:
        """A pod KubeRay made of an object that has been judged itself, by its labels; `operator-made-pods` asks on."""
        return self.kind == "Pod" and (
            RAY_CLUSTER_LABEL in self.labels or ORIGIN_KIND_LABEL in self.labels
        )

    @property
    def is_bare(self) -> bool:
        """Pods, or templates of pods, that start Ray without a label of KubeRay's or ours."""
        return self.kind not in _CLUSTER_SPEC and not any(
            name in pod.labels
            for pod in self.pods
            for name in (RAY_CLUSTER_LABEL, OPT_IN_CLUSTER_LABEL)
        )

    @cached_property
    def cluster(self) -> ClusterSpec | None:
        """The RayClusterSpec in it; None for pods, and for a RayJob that uses an existing cluster."""
        place = _CLUSTER_SPEC.get(self.kind)
        spec = place.read(self.document) if place else None
        return ClusterSpec(spec, place) if place and isinstance(spec, dict) else None

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """Every pod it stands for: the head first, then the worker groups, then the job submitter."""
        if self.kind not in _CLUSTER_SPEC:
            return tuple(self._bare_pods())
        groups = self.cluster.groups if self.cluster else ()
        return (*(group.pod for group in groups), *self._submitters())

    @cached_property
    def containers(self) -> tuple[tuple[Container, str], ...]:
        """Every container there is or will be, each with its title: those of all pods, then KubeRay's options."""
        listed = (
            (container, pod.title_of(container))
            for pod in self.pods
            for container in pod.containers
        )
        return (*listed, *self._options())

    @cached_property
    def ray_containers(self) -> tuple[tuple[Container, str], ...]:
        """The containers that speak to Ray, each with its title; KubeRay's options become such containers."""
        listed = (
            (container, pod.title_of(container))
            for pod in self.pods
            for container in pod.ray_containers
        )
        return (*listed, *self._options())

    def _options(self) -> Iterator[tuple[Container, str]]:
        return (
            (options, str(options.pointer[-1]))
            for options in (self.cluster.options if self.cluster else ())
        )

    @cached_property
    def _by_part(self) -> dict[tuple[PodRole, str], Pod]:
        return {(pod.role, pod.group): pod for pod in self.pods}

    def counterpart(self, pod: Pod) -> Pod | None:
        """The pod here that plays the part of `pod`, a pod of another version of the same object."""
        return self._by_part.get((pod.role, pod.group))

    def _submitters(self) -> Iterator[Pod]:
        place = _SUBMITTER_TEMPLATE.get(self.kind)
        template = place.read(self.document) if place else None
        if place and isinstance(template, dict):
            yield Pod(template, place, PodRole.SUBMITTER, "")

    def _bare_pods(self) -> Iterator[Pod]:
        pointer = _BARE_TEMPLATE.get(self.kind, ROOT / "spec" / "template")
        raw = as_dict(pointer.read(self.document))
        labels = as_dict(as_dict(raw.get("metadata")).get("labels"))
        # KubeRay's label first: nobody can override it in a pod KubeRay makes.
        if RAY_CLUSTER_LABEL in labels or NODE_TYPE_LABEL in labels:
            role = _role(labels.get(NODE_TYPE_LABEL), PodRole.HEAD, PodRole.WORKER, PodRole.CLEANUP)
            yield Pod(raw, pointer, role, as_str(labels.get(GROUP_LABEL)))
        elif OPT_IN_CLUSTER_LABEL in labels:
            role = _role(
                labels.get(OPT_IN_ROLE_LABEL), PodRole.HEAD, PodRole.WORKER, PodRole.CLIENT
            )
            yield Pod(raw, pointer, role, as_str(labels.get(OPT_IN_ROLE_LABEL)))
        elif self.kind == "Pod" and ORIGIN_KIND_LABEL in labels and not starts_ray(raw):
            yield Pod(raw, pointer, PodRole.SUBMITTER, "")
        elif starts_ray(raw):
            yield Pod(raw, pointer, PodRole.WORKER, "")


def starts_ray(pod: Mapping[str, Any]) -> bool:
    """A container of this pod, or template of one, runs `ray start`, in words that say so."""
    return any(
        RAY_START.search(" ".join(word for _, word in str_items(container.get(field))))
        for listed in ("containers", "initContainers")
        for _, container in dict_items(as_dict(pod.get("spec")).get(listed))
        for field in ("command", "args")
    )


def _role(label: Any, *known: PodRole) -> PodRole:
    """The role a label names; a pod that names none of these is taken for a worker, which gets every protection."""
    return next((role for role in known if role == label), PodRole.WORKER)
