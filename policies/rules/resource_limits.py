"""Ray containers have requests and limits."""

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

    As in Kubernetes, a limit counts as the request if no request is set. Requests and limits of the
    whole pod count for its containers. The containers that KubeRay adds have their own.
    Why: Ray sizes itself by its limits. Without them, every Ray process assumes that it has the
    whole node, and one job starves everything else on it.
    Fix: set `resources` with `requests` and `limits` for `cpu` and `memory`.
    """

    id: ClassVar[str] = "resource-limits"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    cpu_limit: bool = Field(
        True, description="whether a CPU limit is required; a CPU request always is"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            of_pod = as_dict(pod.spec.get("resources"))
            for container in pod.ray_containers:
                own = as_dict(container.raw.get("resources"))
                missing = self._missing(own, of_pod)
                if not missing:
                    continue
                example = _completed(own, self.cpu_limit)
                remediation = f"set resources: {example}, or other sizes that you need"
                if pod.role is PodRole.SUBMITTER and workload.kind == "Pod":
                    remediation = (
                        f"in the RayJob, add a submitterPodTemplate with resources: {example}"
                    )
                message = f"{pod.title_of(container)} has no {', '.join(missing)}"
                yield self.violation(message, container.pointer / "resources", remediation)

    def _missing(self, own: Mapping[str, Any], of_pod: Mapping[str, Any]) -> list[str]:
        """What `own` and `of_pod` do not set together, such as "cpu limits"."""
        existing: set[tuple[str, str]] = set()
        for resources in (own, of_pod):
            for part in ("requests", "limits"):
                existing.update((part, name) for name in as_dict(resources.get(part)))
        existing |= {("requests", name) for part, name in existing if part == "limits"}
        required = [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")]
        if self.cpu_limit:
            required.append(("limits", "cpu"))
        return [f"{name} {part}" for part, name in required if (part, name) not in existing]


def _completed(resources: Mapping[str, Any], cpu_limit: bool) -> str:
    """The existing `resources` with the missing sizes added, as YAML on one line."""
    parts = {part: dict(as_dict(resources.get(part))) for part in ("requests", "limits")}
    for name, default in _SIZES.items():
        existing = [sizes[name] for sizes in parts.values() if name in sizes]
        size = existing[0] if existing else default
        parts["requests"].setdefault(name, size)
        if name != "cpu" or cpu_limit:
            parts["limits"].setdefault(name, size)
    shown = [f"{part}: {_inline(sizes)}" for part, sizes in parts.items()]
    return "{" + ", ".join(shown) + "}"


def _inline(sizes: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {_quoted(size)}" for name, size in sizes.items()) + "}"


def _quoted(size: Any) -> str:
    return f"'{size}'" if str(size).replace(".", "").isdigit() else str(size)
