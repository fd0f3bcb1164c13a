"""Ray takes what it asked for, and no more."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.untyped import as_dict
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import PodRole
from policies.ray.workload import Workload

_SIZES = {"cpu": "1", "memory": "4Gi"}


class ResourceLimits(Rule):
    """Refuses Ray containers without requests and limits of CPU and memory.

    A limit counts as the request, too, where there is none, as Kubernetes has it; limits of the whole pod count for its
    containers. What KubeRay adds brings its own.
    Why: Ray sizes itself by its limits: without them every node believes it owns the machine, and one job starves the
    rest of the node.
    Fix: `resources` with `requests` and `limits` for `cpu` and `memory`.
    """

    id: ClassVar[str] = "resource-limits"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    cpu_limit: bool = Field(
        True, description="false: a CPU limit may be missing, a request may not"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            whole = as_dict(pod.spec.get("resources"))
            for container in pod.ray_containers:
                missing = self._missing(as_dict(container.raw.get("resources")), whole)
                if missing:
                    message = f"{pod.title_of(container)} has no {', '.join(missing)}"
                    example = _completed(as_dict(container.raw.get("resources")), self.cpu_limit)
                    remediation = f"write resources: {example}, or the sizes you mean"
                    if pod.role is PodRole.SUBMITTER and workload.kind == "Pod":
                        remediation = f"write a submitterPodTemplate with resources: {example} into its RayJob"
                    yield self.violation(message, container.pointer / "resources", remediation)

    def _missing(self, own: Mapping[str, Any], whole: Mapping[str, Any]) -> list[str]:
        given = {
            (part, name)
            for one in (own, whole)
            for part in ("requests", "limits")
            for name in as_dict(one.get(part))
        }
        given |= {("requests", name) for part, name in given if part == "limits"}
        wanted = [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")]
        wanted += [("limits", "cpu")] if self.cpu_limit else []
        return [f"{name} {part}" for part, name in wanted if (part, name) not in given]


def _completed(resources: Mapping[str, Any], cpu_limit: bool) -> str:
    """What stands there already, with what is missing, as YAML on one line."""
    parts = {part: dict(as_dict(resources.get(part))) for part in ("requests", "limits")}
    for name, size in _SIZES.items():
        known = next((parts[part][name] for part in parts if name in parts[part]), size)
        for part in parts:
            if part == "requests" or name != "cpu" or cpu_limit:
                parts[part].setdefault(name, known)
    listed = {
        part: ", ".join(f"{name}: {_quoted(size)}" for name, size in parts[part].items())
        for part in parts
    }
    return "{" + ", ".join(f"{part}: {{{sizes}}}" for part, sizes in listed.items()) + "}"


def _quoted(size: Any) -> str:
    return f"'{size}'" if str(size).replace(".", "").isdigit() else str(size)
