"""A pod or a pod template: its containers, and which of them run Ray.

The views are typed; the objects behind them stay raw.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from propcache.api import cached_property

from policies.documents.metadata import metadata_of
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, clipped, dict_items
from policies.ray.image import is_ray_image
from policies.ray.ray_start import Commands, Place, commands_in, ray_starts
from policies.ray.variables import Variables

COLLECTOR_CONTAINER = "ray-history-collector"
# Containers that KubeRay adds and that connect to Ray.
RAY_CONTAINER_NAMES = frozenset(
    {"autoscaler", "wait-gcs-ready", "ray-job-submitter", COLLECTOR_CONTAINER}
)
ENROLL_CONTAINER = "raywarden-enroll"
CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


class PodRole(StrEnum):
    """What a pod does for its Ray cluster."""

    HEAD = "head"
    WORKER = "worker"
    CLIENT = "client"
    SUBMITTER = "submitter"
    CLEANUP = "redis-cleanup"


class Container:
    """A container of a pod, or the options from which KubeRay creates a container.

    `list_name` is the name of the list that contains it, such as `initContainers`, or `options`,
    which belong to no pod.
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        pointer: Pointer,
        list_name: str,
        pod_title: str = "",
    ) -> None:
        self.raw = raw
        self.pointer = pointer
        self.list_name = list_name
        self._pod_title = pod_title
        self.name = as_str(raw.get("name"))
        self.image = as_str(raw.get("image"))
        self.security_context = as_dict(raw.get("securityContext"))

    @cached_property
    def title(self) -> str:
        """The container's name in messages."""
        if self.list_name == "options":
            return str(self.pointer[-1])
        return f"container {clipped(self.name) or '(unnamed)'} of the {self._pod_title}"

    @cached_property
    def variables(self) -> Variables:
        """The entries of `env` by name."""
        return Variables(self.raw.get("env"))

    @cached_property
    def commands(self) -> Commands:
        """Each list of words that the container can run, by its place."""
        return commands_in(self.raw)

    @cached_property
    def ray_starts(self) -> tuple[Place, ...]:
        """The places where the container visibly runs `ray start`."""
        return ray_starts(self.commands, self.raw) if self.commands else ()

    @cached_property
    def mounts(self) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """The entries of `volumeMounts`, each with its index."""
        return dict_items(self.raw.get("volumeMounts"))


class Pod:
    """A pod or a pod template; its `metadata` and `spec` are at `pointer`."""

    def __init__(self, raw: Mapping[str, Any], pointer: Pointer, role: PodRole, group: str) -> None:
        self.raw = raw
        self.pointer = pointer
        self.role = role
        self.group = group
        self.metadata = metadata_of(raw)
        self.labels = as_dict(self.metadata.get("labels"))
        self.annotations = as_dict(self.metadata.get("annotations"))
        self.spec = as_dict(raw.get("spec"))
        self.spec_pointer = pointer / "spec"
        self.security_context = as_dict(self.spec.get("securityContext"))

    @cached_property
    def title(self) -> str:
        """The pod's name in messages.

        It contains no list position, so a violation keeps its message when groups are reordered.
        """
        if self.role is PodRole.WORKER and self.group:
            return f"worker group {clipped(self.group)}"
        return str(self.role)

    @cached_property
    def volumes(self) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """The entries of `volumes`, each with its index."""
        return dict_items(self.spec.get("volumes"))

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """The containers, then the init containers, then the ephemeral containers."""
        containers: list[Container] = []
        for list_name in CONTAINER_LISTS:
            for index, raw in dict_items(self.spec.get(list_name)):
                place = Pointer((*self.spec_pointer, list_name, index))
                containers.append(Container(raw, place, list_name, self.title))
        return tuple(containers)

    @cached_property
    def ray_container(self) -> Container | None:
        """The container that runs Ray: always the first (KubeRay `utils.RayContainerIndex`)."""
        if not self.containers:
            return None
        first = self.containers[0]
        return first if first.pointer[-2:] == ("containers", 0) else None

    @property
    def first_init_container(self) -> Container | None:
        """The init container that runs before all others."""
        inits = (item for item in self.containers if item.list_name == "initContainers")
        return next(inits, None)

    @cached_property
    def ray_containers(self) -> tuple[Container, ...]:
        """Every container that connects to Ray, and so needs its TLS variables and files.

        Others than the first are recognized by their name, by an image of Ray, or by running `ray
        start`. RayWarden cannot change ephemeral containers.
        """
        ray = self.ray_container
        if ray is None:
            return ()
        return tuple(container for container in self.containers if _connects_to_ray(container, ray))

    @cached_property
    def _by_name(self) -> dict[str, Container]:
        return {container.name: container for container in reversed(self.containers)}

    def container(self, name: str) -> Container | None:
        """The first container of this name, in any list."""
        return self._by_name.get(name)


def _connects_to_ray(container: Container, ray: Container) -> bool:
    if container.list_name == "ephemeralContainers" or container.name == ENROLL_CONTAINER:
        return False
    return (
        container is ray
        or container.name in RAY_CONTAINER_NAMES
        or container.image == ray.image != ""
        or is_ray_image(container.image)
        or bool(container.ray_starts)
    )
