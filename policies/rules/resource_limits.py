"""Containers have requests and limits."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.harmless import Harmless
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.accelerators import (
    accelerators_in,
    gives_ray_gpus,
    has_devices,
    is_zero,
    sizes_in,
)
from policies.ray.pod import ENROLL_CONTAINER, Container, Pod, PodRole
from policies.ray.workload import ClusterSpec, Group, Workload

_SIZES = {"cpu": "1", "memory": "4Gi"}
_SIZES_OF_SIDECAR = {"cpu": "100m", "memory": "256Mi"}
VISIBLE_DEVICES = "NVIDIA_VISIBLE_DEVICES"
# With these values NVIDIA's container toolkit gives the container no GPU.
NO_DEVICES = frozenset({"", "none", "void"})


class ResourceLimits(Rule):
    """Refuses containers without requests and limits, and GPUs that no limit counts.

    The rule checks CPU and memory of every container of a Ray pod, also of sidecars and init
    containers. As in Kubernetes, a limit counts as the request if no request is set, and a size of
    0 counts as missing. Requests and limits of the whole pod count for its containers. The
    containers that KubeRay adds have their own, unless the author replaces them, for example in
    `autoscalerOptions`.
    A group that tells Ray of GPUs (`num-gpus`) needs a limit for them, such as `nvidia.com/gpu`.
    `NVIDIA_VISIBLE_DEVICES` is refused: it gives a container GPUs that the scheduler has given to
    others.
    Why: Ray sizes itself by its limits. Without them, every Ray process assumes that it has the
    whole node, and one job starves everything else on it.
    Fix: set `resources` with `requests` and `limits` for `cpu`, `memory` and GPUs.
    """

    id: ClassVar[str] = "resource-limits"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    cpu_limit: bool = Field(
        True, description="whether a CPU limit is required; a CPU request always is"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        complete = Harmless()
        for pod in workload.pods:
            yield from self._check_pod(pod, workload, complete)
        if workload.cluster:
            yield from self._check_options(workload.cluster, complete)
            for group in workload.cluster.groups:
                yield from self._check_gpus(group)

    def _check_pod(self, pod: Pod, workload: Workload, complete: Harmless) -> Iterator[Violation]:
        of_pod = as_dict(pod.spec.get("resources"))
        has_variable = VISIBLE_DEVICES in workload.summary.variables
        for container in pod.containers:
            # Kubernetes allows no resources in ephemeral containers.
            if container.list_name == "ephemeralContainers" or container.name == ENROLL_CONTAINER:
                continue
            own = as_dict(container.raw.get("resources"))
            missing = self._missing(own, of_pod, complete)
            if missing:
                example = self._completed(own, container in pod.ray_containers)
                remediation = f"set resources: {example}, or other sizes that you need"
                if pod.role is PodRole.SUBMITTER and workload.kind == "Pod":
                    remediation = (
                        f"in the RayJob, add a submitterPodTemplate with resources: {example}"
                    )
                place, title = container.pointer / "resources", container.title
                yield self._incomplete(title, missing, place, remediation)
            if has_variable and VISIBLE_DEVICES in container.variables.names:
                yield from self._check_visible_devices(container)

    def _check_options(self, cluster: ClusterSpec, complete: Harmless) -> Iterator[Violation]:
        """Resources that replace KubeRay's own (`mergeAutoscalerOverrides` in `pod.go`)."""
        of_pod = as_dict(cluster.head.pod.spec.get("resources"))
        for options in cluster.options:
            is_used = options.name != "autoscaler" or cluster.autoscaling
            own = options.raw.get("resources")
            if not is_used or not isinstance(own, dict):
                continue
            missing = self._missing(own, of_pod, complete)
            if missing:
                place, title = options.pointer / "resources", str(options.pointer[-1])
                example = self._completed(own, is_ray=False)
                remediation = f"set resources: {example}, or remove resources to get KubeRay's own"
                yield self._incomplete(title, missing, place, remediation)

    def _incomplete(
        self, title: str, missing: list[str], place: Pointer, remediation: str
    ) -> Violation:
        return self.violation(f"{title} has no {', '.join(missing)}", place, remediation)

    def _check_gpus(self, group: Group) -> Iterator[Violation]:
        ray = group.pod.ray_container
        if ray and gives_ray_gpus(group) and not has_devices(ray, group.pod):
            yield self.violation(
                f"the {group.title} tells Ray of GPUs, but its container has no limit for GPUs",
                ray.pointer / "resources" / "limits",
                "set nvidia.com/gpu: 1, or the number and the resource of your GPUs, or remove "
                "num-gpus from the group",
            )

    def _check_visible_devices(self, container: Container) -> Iterator[Violation]:
        index, entry = container.variables.of(VISIBLE_DEVICES)[-1]
        if not entry.get("valueFrom") and as_str(entry.get("value")) in NO_DEVICES:
            return
        yield self.violation(
            f"{container.title} sets {VISIBLE_DEVICES}, which gives it GPUs that no limit counts",
            container.pointer / "env" / index,
            f"remove {VISIBLE_DEVICES}; a limit for nvidia.com/gpu gives the container its GPUs",
        )

    def _missing(
        self, own: Mapping[str, Any], of_pod: Mapping[str, Any], complete: Harmless
    ) -> list[str]:
        """What `own` and `of_pod` do not set together, such as "cpu limits", in a fixed order."""
        if own in complete:
            return []
        if _is_complete(own):
            complete.remember(own)
            return []
        requests, limits = as_dict(own.get("requests")), as_dict(own.get("limits"))
        missing_requests, missing_limits = [], []
        for name in _SIZES:
            has_limit = not is_zero(limits.get(name))
            # A request of 0 stays 0; only a missing one becomes the limit.
            has_request = not is_zero(requests[name]) if name in requests else has_limit
            if not has_request and not _has_request(of_pod, name):
                missing_requests.append(f"{name} requests")
            is_required = name != "cpu" or self.cpu_limit
            if is_required and not has_limit and not sizes_in(of_pod, "limits").get(name):
                missing_limits.append(f"{name} limits")
        if requests:
            devices = sorted(accelerators_in(own))
            missing_limits += [f"{name} limits" for name in devices if is_zero(limits.get(name))]
        return missing_requests + missing_limits

    def _completed(self, resources: Mapping[str, Any], is_ray: bool) -> str:
        """The existing `resources` with the missing sizes added, as YAML on one line."""
        requests, limits = sizes_in(resources, "requests"), sizes_in(resources, "limits")
        for name, default in (_SIZES if is_ray else _SIZES_OF_SIDECAR).items():
            size = requests.get(name, limits.get(name, default))
            requests.setdefault(name, size)
            if name != "cpu" or self.cpu_limit:
                limits.setdefault(name, size)
        for name in sorted(accelerators_in(resources)):
            limits.setdefault(name, requests.get(name))
        return f"{{requests: {_inline(requests)}, limits: {_inline(limits)}}}"


def _is_complete(resources: Mapping[str, Any]) -> bool:
    """Each size is a text that is not zero, and no other resource is asked for.

    That is so for most containers, and for all resources that are equal.
    """
    for part in ("requests", "limits"):
        sizes = resources.get(part)
        if not isinstance(sizes, dict) or sizes.keys() != _SIZES.keys():
            return False
        if set(map(type, sizes.values())) != {str} or any(map(is_zero, sizes.values())):
            return False
    return True


def _has_request(resources: Mapping[str, Any], name: str) -> bool:
    """True if the resources of a pod request `name`, also by a limit alone."""
    requests, limits = sizes_in(resources, "requests"), sizes_in(resources, "limits")
    return name in requests or name in limits


def _inline(sizes: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {_quoted(size)}" for name, size in sizes.items()) + "}"


def _quoted(size: Any) -> str:
    return f"'{size}'" if str(size).replace(".", "").isdigit() else str(size)
