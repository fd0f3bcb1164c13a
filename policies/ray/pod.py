"""A pod or a pod template: its containers, and which of them run Ray.

The views are typed; the objects behind them stay raw.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

from policies.documents.metadata import metadata_of
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, clipped, dict_items
from policies.ray.image import is_ray_image
from policies.ray.ray_start import Commands, Place, commands_in, ray_starts

COLLECTOR_CONTAINER = "ray-history-collector"
# Containers that KubeRay adds and that connect to Ray.
RAY_CONTAINER_NAMES = frozenset(
    {"autoscaler", "wait-gcs-ready", "ray-job-submitter", COLLECTOR_CONTAINER}
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
    """A container of a pod, or the options from which KubeRay creates a container.

    `listed` is the name of the list that contains it, such as `initContainers`, or `options`.
    """

    def __init__(self, raw: Mapping[str, Any], pointer: Pointer, list_name: str) -> None:
        self.raw = raw
        self.pointer = pointer
        self.list_name = list_name
        self.name = as_str(raw.get("name"))
        self.image = as_str(raw.get("image"))

    @cached_property
    def variable_names(self) -> set[str]:
        """The names in `env`; several times faster than `variables` where names are enough."""
        env = self.raw.get("env")
        entries = env if isinstance(env, list) else ()
        names = [entry.get("name") for entry in entries if isinstance(entry, dict)]
        return {name for name in names if isinstance(name, str)}

    def variables_like(self, prefix: str) -> set[str]:
        """The names in `env` that begin with `prefix`; fast if there are none."""
        if prefix not in self._variable_text:
            return set()
        return {name for name in self.variable_names if name.startswith(prefix)}

    @cached_property
    def _variable_text(self) -> str:
        return " ".join(self.variable_names)

    @property
    def literals(self) -> list[str]:
        """The values in `env`; faster than `variables` where the names do not matter."""
        env = self.raw.get("env")
        entries = env if isinstance(env, list) else ()
        values = [entry.get("value") for entry in entries if isinstance(entry, dict)]
        return [value for value in values if isinstance(value, str)]

    @cached_property
    def variables(self) -> Mapping[str, list[tuple[int, Mapping[str, Any]]]]:
        """The entries of `env` by name, each with its index.

        If a name occurs more than once, Kubernetes uses the last entry.
        """
        entries: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
        for index, entry in dict_items(self.raw.get("env")):
            name = as_str(entry.get("name"))
            if name in entries:
                entries[name].append((index, entry))
            else:
                entries[name] = [(index, entry)]
        return entries

    @cached_property
    def commands(self) -> Commands:
        """Each list of words that the container can run, by its place."""
        return commands_in(self.raw)

    @cached_property
    def ray_starts(self) -> tuple[Place, ...]:
        """The places where the container visibly runs `ray start`."""
        return ray_starts(self.commands, self.raw) if self.commands else ()

    @property
    def mounts(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        return dict_items(self.raw.get("volumeMounts"))

    @cached_property
    def mount_paths(self) -> str:
        """The paths of `mounts`, one a line: most rules see there that none concerns them."""
        return "\n".join(as_str(mount.get("mountPath")) for _, mount in self.mounts)

    @property
    def security_context(self) -> Mapping[str, Any]:
        return as_dict(self.raw.get("securityContext"))


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

    @property
    def volumes(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        return dict_items(self.spec.get("volumes"))

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """The containers, then the init containers, then the ephemeral containers."""
        return tuple(
            Container(raw, self.spec_pointer / listed / index, listed)
            for listed in ("containers", "initContainers", "ephemeralContainers")
            for index, raw in dict_items(self.spec.get(listed))
        )

    @cached_property
    def ray_container(self) -> Container | None:
        """The container that runs Ray: always the first (KubeRay `utils.RayContainerIndex`)."""
        first = next(iter(self.containers), None)
        return first if first and first.pointer == self.spec_pointer / "containers" / 0 else None

    @cached_property
    def ray_containers(self) -> tuple[Container, ...]:
        """Every container that connects to Ray, and so needs its TLS variables and files.

        Others than the first are recognized by their name, by an image of Ray, or by running `ray
        start`. RayWarden cannot change ephemeral containers.
        """
        ray = self.ray_container
        if ray is None:
            return ()
        return tuple(
            container
            for container in self.containers
            if container.list_name != "ephemeralContainers"
            and container.name != ENROLL_CONTAINER
            and (
                container is ray
                or container.name in RAY_CONTAINER_NAMES
                or container.image == ray.image != ""
                or is_ray_image(container.image)
                or container.ray_starts
            )
        )

    @cached_property
    def _by_name(self) -> dict[str, Container]:
        return {container.name: container for container in reversed(self.containers)}

    def title_of(self, container: Container) -> str:
        """A container's name in messages."""
        return f"container {clipped(container.name) or '(unnamed)'} of the {self.title}"

    def container(self, name: str) -> Container | None:
        """The first container of this name, in any list."""
        return self._by_name.get(name)
