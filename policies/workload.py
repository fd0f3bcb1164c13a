"""One view over every kind that makes Ray pods: where are the pods, which is the head, which containers are Ray?

The only module that knows where pods are in each kind. Views are typed, the objects behind them stay raw.
Source: KubeRay `ray-operator/apis/ray/v1` and `controllers/ray/common/pod.go`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from policies.pointer import ROOT, Pointer
from policies.reading import elements, mapping, text

RAY_GROUP = "ray.io"
RAY_CLUSTER_LABEL = "ray.io/cluster"
NODE_TYPE_LABEL = "ray.io/node-type"
GROUP_LABEL = "ray.io/group"
ORIGIN_KIND_LABEL = "ray.io/originated-from-crd"
OPT_IN_CLUSTER_LABEL = "raywarden.io/cluster"
OPT_IN_ROLE_LABEL = "raywarden.io/role"

RAY_CONTAINER_NAMES = frozenset({"autoscaler", "wait-gcs-ready", "ray-job-submitter", "ray-history-collector"})
ENROLL_CONTAINER = "raywarden-enroll"

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
# Kinds that make pods of a template; theirs are ours only when the template opts in by label.
_TEMPLATE_KINDS = {
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "ReplicaSet"),
    ("apps", "DaemonSet"),
    ("batch", "Job"),
}


class Role(StrEnum):
    """What a pod does for its Ray cluster."""

    HEAD = "head"
    WORKER = "worker"
    CLIENT = "client"
    SUBMITTER = "submitter"
    CLEANUP = "redis-cleanup"


@dataclass(frozen=True)
class Kind:
    """A group, version and kind as the API server names them; the core group is the empty string."""

    group: str
    version: str
    kind: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Kind":
        """The kind a manifest claims for itself."""
        group, _, version = text(document.get("apiVersion")).rpartition("/")
        return cls(group, version, text(document.get("kind")))


class Container:
    """One container of a pod, from any of its lists, or the options KubeRay makes one from."""

    def __init__(self, raw: Mapping[str, Any], pointer: Pointer, listed: str) -> None:
        self.raw = raw
        self.pointer = pointer
        self.listed = listed
        self.name = text(raw.get("name"))
        self.image = text(raw.get("image"))

    @property
    def env(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        return elements(self.raw.get("env"))

    @property
    def mounts(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        return elements(self.raw.get("volumeMounts"))

    @property
    def security_context(self) -> Mapping[str, Any]:
        return mapping(self.raw.get("securityContext"))

    def variables(self, name: str) -> list[tuple[int, Mapping[str, Any]]]:
        """Every entry of `env` with this name: Kubernetes lets the last one win, and so there should be only one."""
        return [(index, entry) for index, entry in self.env if entry.get("name") == name]


class Pod:
    """A pod, or the template of one: `pointer` is where its `metadata` and `spec` are."""

    def __init__(self, raw: Mapping[str, Any], pointer: Pointer, role: Role, group: str) -> None:
        self.raw = raw
        self.pointer = pointer
        self.role = role
        self.group = group

    @property
    def title(self) -> str:
        """How messages name it; free of list positions, so that a violation keeps its words when groups move."""
        return {Role.WORKER: f"worker group {self.group}"}.get(self.role, str(self.role))

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        return mapping(self.raw.get("metadata"))

    @cached_property
    def labels(self) -> Mapping[str, Any]:
        return mapping(self.metadata.get("labels"))

    @cached_property
    def annotations(self) -> Mapping[str, Any]:
        return mapping(self.metadata.get("annotations"))

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        return mapping(self.raw.get("spec"))

    @property
    def spec_pointer(self) -> Pointer:
        return self.pointer / "spec"

    @property
    def security_context(self) -> Mapping[str, Any]:
        return mapping(self.spec.get("securityContext"))

    @property
    def volumes(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        return elements(self.spec.get("volumes"))

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """Containers, init containers and ephemeral containers, in this order."""
        return tuple(
            Container(raw, self.spec_pointer / listed / index, listed)
            for listed in ("containers", "initContainers", "ephemeralContainers")
            for index, raw in elements(self.spec.get(listed))
        )

    @cached_property
    def ray_container(self) -> Container | None:
        """The container Ray runs in: the first one, always (KubeRay `utils.RayContainerIndex`)."""
        first = next(iter(self.containers), None)
        return first if first and first.pointer == self.spec_pointer / "containers" / 0 else None

    @cached_property
    def ray_containers(self) -> tuple[Container, ...]:
        """Every container that speaks to Ray and so needs its TLS variables and files."""
        ray = self.ray_container
        if ray is None:
            return ()
        return tuple(
            container
            for container in self.containers
            if container.listed != "ephemeralContainers"
            and container.name != ENROLL_CONTAINER
            and (container is ray or container.name in RAY_CONTAINER_NAMES or container.image == ray.image != "")
        )

    @cached_property
    def _by_name(self) -> dict[str, Container]:
        return {container.name: container for container in reversed(self.containers)}

    def title_of(self, container: Container) -> str:
        """How messages name one of its containers."""
        return f"container {container.name or '(unnamed)'} of the {self.title}"

    def container(self, name: str) -> Container | None:
        """The first container of this name, in any list."""
        return self._by_name.get(name)


class Group:
    """The head group or one worker group of a cluster: start parameters around a pod template."""

    def __init__(self, raw: Mapping[str, Any], pointer: Pointer, role: Role, name: str) -> None:
        self.raw = raw
        self.pointer = pointer
        self.role = role
        self.name = name
        self.pod = Pod(mapping(raw.get("template")), pointer / "template", role, name)

    @property
    def title(self) -> str:
        return self.pod.title

    @property
    def start_params(self) -> Mapping[str, Any]:
        return mapping(self.raw.get("rayStartParams"))


class Cluster:
    """A RayClusterSpec, wherever it stands."""

    def __init__(self, spec: Mapping[str, Any], pointer: Pointer) -> None:
        self.spec = spec
        self.pointer = pointer

    @cached_property
    def head(self) -> Group:
        return Group(mapping(self.spec.get("headGroupSpec")), self.pointer / "headGroupSpec", Role.HEAD, "headgroup")

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The head group first, then the worker groups."""
        workers = (
            Group(raw, self.pointer / "workerGroupSpecs" / index, Role.WORKER, text(raw.get("groupName")))
            for index, raw in elements(self.spec.get("workerGroupSpecs"))
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
            if (options := mapping(place.read(self.spec)))
        )

    @cached_property
    def _by_part(self) -> dict[tuple[Role, str], Group]:
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
        return mapping(self.spec.get("tlsOptions")).get("enabled") is True


class Workload:
    """An object that is, or will become, Ray pods."""

    def __init__(self, kind: str, document: Mapping[str, Any]) -> None:
        self.kind = kind
        self.document = document

    @classmethod
    def of(cls, kind: Kind, document: Mapping[str, Any]) -> "Workload | None":
        """The view of `document`, or None for a kind (or a pod) that has nothing to do with Ray."""
        if kind.group == RAY_GROUP and kind.kind in _CLUSTER_SPEC:
            return cls(kind.kind, document)
        workload = cls(kind.kind, document)
        if (kind.group, kind.kind) == ("", "Pod") or (kind.group, kind.kind) in _TEMPLATE_KINDS:
            return workload if workload.pods else None
        return None

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        return mapping(self.document.get("metadata"))

    @cached_property
    def labels(self) -> Mapping[str, Any]:
        return mapping(self.metadata.get("labels"))

    @cached_property
    def annotations(self) -> Mapping[str, Any]:
        return mapping(self.metadata.get("annotations"))

    @property
    def name(self) -> str:
        return text(self.metadata.get("name")) or text(self.metadata.get("generateName"))

    @cached_property
    def cluster(self) -> Cluster | None:
        """The RayClusterSpec in it; None for pods, and for a RayJob that uses an existing cluster."""
        place = _CLUSTER_SPEC.get(self.kind)
        spec = place.read(self.document) if place else None
        return Cluster(spec, place) if place and isinstance(spec, dict) else None

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """Every pod it stands for: the head first, then the worker groups, then the job submitter."""
        if self.kind not in _CLUSTER_SPEC:
            return tuple(self._bare_pods())
        groups = self.cluster.groups if self.cluster else ()
        return (*(group.pod for group in groups), *self._submitters())

    @property
    def containers(self) -> Iterator[tuple[Container, str]]:
        """Every container there is or will be, each with its title: those of all pods, then KubeRay's options."""
        for pod in self.pods:
            for container in pod.containers:
                yield container, pod.title_of(container)
        for options in self.cluster.options if self.cluster else ():
            yield options, str(options.pointer[-1])

    @property
    def ray_containers(self) -> Iterator[tuple[Container, str]]:
        """The containers that speak to Ray, each with its title; KubeRay's options become such containers."""
        for pod in self.pods:
            for container in pod.ray_containers:
                yield container, pod.title_of(container)
        for options in self.cluster.options if self.cluster else ():
            yield options, str(options.pointer[-1])

    @cached_property
    def _by_part(self) -> dict[tuple[Role, str], Pod]:
        return {(pod.role, pod.group): pod for pod in self.pods}

    def counterpart(self, pod: Pod) -> Pod | None:
        """The pod here that plays the part of `pod`, a pod of another version of the same object."""
        return self._by_part.get((pod.role, pod.group))

    def _submitters(self) -> Iterator[Pod]:
        place = _SUBMITTER_TEMPLATE.get(self.kind)
        template = place.read(self.document) if place else None
        if place and isinstance(template, dict):
            yield Pod(template, place, Role.SUBMITTER, "")

    def _bare_pods(self) -> Iterator[Pod]:
        pointer = ROOT if self.kind == "Pod" else ROOT / "spec" / "template"
        raw = mapping(pointer.read(self.document))
        labels = mapping(mapping(raw.get("metadata")).get("labels"))
        if OPT_IN_CLUSTER_LABEL in labels:
            yield Pod(raw, pointer, _role(labels.get(OPT_IN_ROLE_LABEL)), text(labels.get(OPT_IN_ROLE_LABEL)))
        elif self.kind == "Pod" and RAY_CLUSTER_LABEL in labels:
            yield Pod(raw, pointer, _role(labels.get(NODE_TYPE_LABEL)), text(labels.get(GROUP_LABEL)))
        elif self.kind == "Pod" and ORIGIN_KIND_LABEL in labels:
            yield Pod(raw, pointer, Role.SUBMITTER, "")


def _role(label: Any) -> Role:
    """The role a label names; a pod that names none is taken for a worker, which gets every protection."""
    name = text(label)
    return Role(name) if name in set(Role) - {Role.SUBMITTER} else Role.WORKER
