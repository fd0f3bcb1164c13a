"""A pod, or the template of one: its containers, and which of them are Ray.

Views are typed, the objects behind them stay raw.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, clipped, dict_items

RAY_CONTAINER_NAMES = frozenset(
    {"autoscaler", "wait-gcs-ready", "ray-job-submitter", "ray-history-collector"}
)
ENROLL_CONTAINER = "raywarden-enroll"


class PodRole(StrEnum):
    """What a pod does for its Ray cluster."""

    HEAD = "head"
    WORKER = "worker"
    CLIENT = "client"
    SUBMITTER = "submitter"
    CLEANUP = "redis-cleanup"


class Container:
    """One container of a pod, from any of its lists, or the options KubeRay makes one from."""

    def __init__(self, raw: Mapping[str, Any], pointer: Pointer, listed: str) -> None:
        self.raw = raw
        self.pointer = pointer
        self.listed = listed
        self.name = as_str(raw.get("name"))
        self.image = as_str(raw.get("image"))

    @cached_property
    def variable_names(self) -> set[str]:
        """The names in `env`; for whoever needs no more, because this is several times faster than `variables`."""
        env = self.raw.get("env")
        entries = env if isinstance(env, list) else ()
        return {
            name
            for entry in entries
            if isinstance(entry, dict) and isinstance(name := entry.get("name"), str)
        }

    @cached_property
    def variables(self) -> Mapping[str, list[tuple[int, Mapping[str, Any]]]]:
        """The entries of `env` by name, each with its index. Kubernetes lets the last of a name win."""
        found: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
        for index, entry in dict_items(self.raw.get("env")):
            name = as_str(entry.get("name"))
            if name in found:
                found[name].append((index, entry))
            else:
                found[name] = [(index, entry)]
        return found

    @property
    def mounts(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        return dict_items(self.raw.get("volumeMounts"))

    @property
    def security_context(self) -> Mapping[str, Any]:
        return as_dict(self.raw.get("securityContext"))


class Pod:
    """A pod, or the template of one: `pointer` is where its `metadata` and `spec` are."""

    def __init__(self, raw: Mapping[str, Any], pointer: Pointer, role: PodRole, group: str) -> None:
        self.raw = raw
        self.pointer = pointer
        self.role = role
        self.group = group
        self.metadata = as_dict(raw.get("metadata"))
        self.labels = as_dict(self.metadata.get("labels"))
        self.annotations = as_dict(self.metadata.get("annotations"))
        self.spec = as_dict(raw.get("spec"))
        self.spec_pointer = pointer / "spec"
        self.security_context = as_dict(self.spec.get("securityContext"))

    @cached_property
    def title(self) -> str:
        """How messages name it; free of list positions, so that a violation keeps its words when groups move."""
        return (
            f"worker group {clipped(self.group)}"
            if self.role is PodRole.WORKER and self.group
            else str(self.role)
        )

    @property
    def volumes(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        return dict_items(self.spec.get("volumes"))

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """Containers, init containers and ephemeral containers, in this order."""
        return tuple(
            Container(raw, self.spec_pointer / listed / index, listed)
            for listed in ("containers", "initContainers", "ephemeralContainers")
            for index, raw in dict_items(self.spec.get(listed))
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
            and (
                container is ray
                or container.name in RAY_CONTAINER_NAMES
                or container.image == ray.image != ""
            )
        )

    @cached_property
    def _by_name(self) -> dict[str, Container]:
        return {container.name: container for container in reversed(self.containers)}

    def title_of(self, container: Container) -> str:
        """How messages name one of its containers."""
        return f"container {clipped(container.name) or '(unnamed)'} of the {self.title}"

    def container(self, name: str) -> Container | None:
        """The first container of this name, in any list."""
        return self._by_name.get(name)
