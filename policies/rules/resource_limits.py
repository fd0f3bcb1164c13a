"""Ray takes what it asked for, and no more."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.pod import Role
from policies.reading import mapping
from policies.workload import Workload


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

    cpu_limit: bool = Field(True, description="false: a CPU limit may be missing, a request may not")

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            whole = mapping(pod.spec.get("resources"))
            for container in pod.ray_containers:
                missing = self._missing(mapping(container.raw.get("resources")), whole)
                if missing:
                    what = f"{pod.title_of(container)} has no {', '.join(missing)}"
                    example = "{requests: {cpu: '1', memory: 4Gi}, limits: {cpu: '1', memory: 4Gi}}"
                    fix = f"write resources: {example}"
                    if pod.role is Role.SUBMITTER and workload.kind == "Pod":
                        fix = f"write a submitterPodTemplate with resources: {example} into its RayJob"
                    yield self.violation(what, container.pointer / "resources", fix)

    def _missing(self, own: Mapping[str, Any], whole: Mapping[str, Any]) -> list[str]:
        given = {
            (part, name) for one in (own, whole) for part in ("requests", "limits") for name in mapping(one.get(part))
        }
        given |= {("requests", name) for part, name in given if part == "limits"}
        wanted = [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")]
        wanted += [("limits", "cpu")] if self.cpu_limit else []
        return [f"{name} {part}" for part, name in wanted if (part, name) not in given]
