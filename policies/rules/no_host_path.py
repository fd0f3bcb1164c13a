"""Ray pods do not mount the file system of the node."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.paths import normal_path
from policies.documents.untyped import as_dict, as_str, clipped
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload

# Enough to find the mounts; it keeps the message short when hundreds of containers mount a volume.
_MAX_NAMED = 10


class NoHostPath(Rule):
    """Refuses hostPath volumes, except read-only mounts of directories under an allowed prefix.

    Sockets are refused even there, because a process can connect to a socket through a read-only
    mount.
    Why: Ray runs any code that is submitted to it. A writable path of the node is a way out of the
    pod.
    Fix: use a PersistentVolumeClaim or an emptyDir, or ask the administrator to allow the prefix.
    """

    id: ClassVar[str] = "no-host-path"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    allowed_prefixes: tuple[str, ...] = Field(
        (), description="directories whose contents may be mounted read-only"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if "hostPath" not in workload.summary.volume_fields:
            return
        for pod in workload.pods:
            writers = _writers(pod, workload)
            for index, volume in pod.volumes:
                if volume.get("hostPath") is None:
                    continue
                source, name = as_dict(volume["hostPath"]), as_str(volume.get("name"))
                path = as_str(source.get("path"))
                place = pod.spec_pointer / "volumes" / index / "hostPath"
                title = f"volume {name} of the {pod.title}"
                if not self._is_allowed(path) or source.get("type") == "Socket":
                    message = f"{title} mounts {path} of the node"
                    yield self.violation(message, place, self._fix(path, source))
                elif name in writers:
                    message = (
                        f"{title} ({path} of the node) is mounted writable by "
                        f"{', '.join(writers[name])}"
                    )
                    yield self.violation(
                        message, place, "add readOnly: true to each of its volumeMounts"
                    )

    def _is_allowed(self, path: str) -> bool:
        # Where ".." leads depends on symbolic links of the node, so such a path is never allowed.
        if ".." in path.split("/"):
            return False
        parts = normal_path(path)
        return any(
            parts[: len(allowed)] == allowed for allowed in map(normal_path, self.allowed_prefixes)
        )

    def _fix(self, path: str, source: Mapping[str, Any]) -> str:
        if source.get("type") == "Socket" or path.endswith(".sock"):
            return "remove the volume and its mounts; sockets of the node have no replacement"
        remediation = "set persistentVolumeClaim: {claimName: NAME} or emptyDir: {}"
        remediation += " instead of hostPath"
        if not self.allowed_prefixes:
            return remediation
        prefixes = ", ".join(self.allowed_prefixes)
        return f"{remediation}, or mount a path under {prefixes} with readOnly: true"


def _writers(pod: Pod, workload: Workload) -> dict[str, list[str]]:
    """The names of the containers that mount each volume writable, at most ten for a volume.

    The autoscaler that KubeRay adds is a container of the head.
    """
    options = workload.cluster.options if workload.cluster and pod.role is PodRole.HEAD else ()
    writers: dict[str, list[str]] = {}
    for container in (*pod.containers, *options):
        name = clipped(container.name)
        for _, mount in container.mounts:
            if mount.get("readOnly") is True:
                continue
            names = writers.setdefault(as_str(mount.get("name")), [])
            if len(names) < _MAX_NAMED and name not in names:
                names.append(name)
    return writers
