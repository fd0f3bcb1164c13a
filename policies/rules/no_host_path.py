"""Ray pods stay out of the node's file system."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.untyped import as_dict, as_str, clipped
from policies.injection.contract import normal_path
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload

_MOST_NAMED = 10


class NoHostPath(Rule):
    """Refuses hostPath volumes, but for read-only mounts under an allowed prefix.

    A socket is refused there too: a read-only mount does not keep anybody from connecting to it.
    Why: Ray runs whatever code is submitted to it; a writable path of the node is a way out of the pod.
    Fix: use a PersistentVolumeClaim or an emptyDir, or ask the administrator to allow the prefix.
    """

    id: ClassVar[str] = "no-host-path"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    allowed_prefixes: tuple[str, ...] = Field(
        (), description="directories whose contents may be mounted read-only"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            writers = _writers(pod, workload)
            for index, volume in pod.volumes:
                if volume.get("hostPath") is None:
                    continue
                source, name = as_dict(volume["hostPath"]), as_str(volume.get("name"))
                path = as_str(source.get("path"))
                pointer = pod.spec_pointer / "volumes" / index / "hostPath"
                if not self._allowed(path) or source.get("type") == "Socket":
                    message = f"volume {name} of the {pod.title} is {path} of the node"
                    yield self.violation(message, pointer, self._fix(path, source))
                elif name in writers:
                    message = (
                        f"volume {name} of the {pod.title} ({path} of the node) is mounted writable"
                    )
                    message += f" by {', '.join(writers[name][:_MOST_NAMED])}"
                    yield self.violation(
                        message, pointer, "have each of its volumeMounts say readOnly: true"
                    )

    def _allowed(self, path: str) -> bool:
        parts = normal_path(path)
        # A path with dots in it is judged by what it says, not by where it may lead on the node.
        return ".." not in path.split("/") and any(
            parts[: len(allowed)] == allowed for allowed in map(normal_path, self.allowed_prefixes)
        )

    def _fix(self, path: str, source: Mapping[str, Any]) -> str:
        if source.get("type") == "Socket" or path.endswith(".sock"):
            return "delete the volume and its mounts; nothing takes a socket's place"
        remediation = (
            "write persistentVolumeClaim: {claimName: NAME}, or emptyDir: {}, in place of hostPath"
        )
        if not self.allowed_prefixes:
            return remediation
        return f"{remediation}, or mount a path under {', '.join(self.allowed_prefixes)} with readOnly: true"


def _writers(pod: Pod, workload: Workload) -> dict[str, list[str]]:
    """Who mounts each volume of a pod so that it can be written; KubeRay's autoscaler is a container of the head."""
    options = workload.cluster.options if workload.cluster and pod.role is PodRole.HEAD else ()
    found: dict[str, list[str]] = {}
    for container in (*pod.containers, *options):
        for _, mount in container.mounts:
            if mount.get("readOnly") is not True:
                writers = found.setdefault(as_str(mount.get("name")), [])
                if len(writers) < _MOST_NAMED and (name := clipped(container.name)) not in writers:
                    writers.append(name)
    return found
