"""What occurs anywhere in the pods of a workload, for questions that most workloads answer with no.

A rule asks here first, and looks at single containers only if one of them may concern it. That
matters for a cluster with many groups: most rules find nothing in most of them.
"""

from collections.abc import Sequence, Set

from propcache.api import cached_property

from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.pod import Container, Pod


class Summary:
    """Names and texts in `pods` and `containers`, each once and without their places.

    Texts are joined by line breaks, so that one search covers all of them.
    """

    def __init__(self, pods: Sequence[Pod], containers: Sequence[Container]) -> None:
        self._pods = pods
        self._containers = containers

    @cached_property
    def fields(self) -> Set[str]:
        """The names of all fields of pods, volumes, containers, ports and security contexts."""
        names: set[str] = set()
        for pod in self._pods:
            names.update(pod.spec, pod.security_context)
            for _, volume in pod.volumes:
                names.update(volume)
        for container in self._containers:
            context = container.security_context
            names.update(container.raw, context, as_dict(context.get("capabilities")))
            for _, port in dict_items(container.raw.get("ports")):
                names.update(port)
        return names

    @cached_property
    def variables(self) -> Set[str]:
        """The names of all variables."""
        return set[str]().union(*(container.variables.names for container in self._containers))

    @cached_property
    def variable_text(self) -> str:
        """The names of all variables."""
        return "\n".join(self.variables)

    @cached_property
    def literal_text(self) -> str:
        """The literals of all variables."""
        literals = (container.variables.literals for container in self._containers)
        return "\n".join(set[str]().union(*literals))

    @cached_property
    def mount_paths(self) -> str:
        """The paths of all mounts."""
        mounts = [mount for container in self._containers for _, mount in container.mounts]
        return "\n".join({as_str(mount.get("mountPath")) for mount in mounts})

    @cached_property
    def command_text(self) -> str:
        """Every word that the containers can run."""
        commands = [container.commands.values() for container in self._containers]
        return "\n".join({word for lists in commands for line in lists for word in line})
