"""What KubeRay refuses or ignores in the head group and the worker groups.

Source: `ValidateRayClusterSpec`, `validateRayGroupResources`, `validateRayGroupLabels`,
`validateWorkerGroupIdleTimeout`, `validateWorkerGroupPriority`, `GetWorkerGroupDesiredReplicas`.
"""

from collections.abc import Iterator

from policies.documents.untyped import as_dict, as_str, clipped
from policies.kuberay.problem import NotAccepted
from policies.kuberay.values import as_int, is_label_name, is_label_value, variable
from policies.ray.operator import KubeRayOperator
from policies.ray.pod import PodRole
from policies.ray.version import ray_version
from policies.ray.workload import ClusterSpec, Group

AUTOSCALER_V2 = "RAY_enable_autoscaler_v2"
# The values that KubeRay takes for "on".
ON = ("1", "true")
_START_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
_MAX_INT = 2**31 - 1
_PRIORITY_SINCE = (2, 56, 0)


def group_refusals(cluster: ClusterSpec, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    """Everything that is wrong with one of the groups."""
    autoscaling, names = cluster.autoscaling, set()
    for group in cluster.groups:
        raw, params = group.raw, group.start_params
        if group.pod.ray_container is None and "containers" in group.pod.spec:
            message = f"KubeRay refuses the {group.title} without containers"
            yield NotAccepted(message, group.pod.spec_pointer / "containers", "add Ray's container")
        if "resources" in raw or "labels" in raw or "labels" in params:
            yield from _overrides(group)
        if group.role is not PodRole.WORKER:
            continue
        yield from _replicas(group, kuberay, autoscaling)
        if raw.get("suspend") is True:
            yield from _suspended(group, cluster, kuberay)
        if "idleTimeoutSeconds" in raw or "priority" in raw:
            yield from _autoscaler_fields(group, cluster, kuberay)
        if group.name in names:
            yield _repeated_name(group)
        names.add(group.name)


def uses_autoscaler_v2(cluster: ClusterSpec) -> bool:
    """True if the options choose version 2 of the autoscaler."""
    return as_dict(cluster.spec.get("autoscalerOptions")).get("version") == "v2"


def _overrides(group: Group) -> Iterator[NotAccepted]:
    """What is wrong with `resources` and `labels` beside the start parameters."""
    params, labels = group.start_params, as_dict(group.raw.get("labels"))
    if as_dict(group.raw.get("resources")) and any(params.get(name) for name in _START_RESOURCES):
        message = f"KubeRay refuses resources of the {group.title} beside those in rayStartParams"
        yield NotAccepted(message, group.pointer / "resources", "remove resources")
    if "labels" in params:
        yield NotAccepted(
            f"KubeRay refuses labels in rayStartParams of the {group.title}",
            group.pointer / "rayStartParams" / "labels",
            "remove labels, and write them as labels of the group",
        )
    for name, value in labels.items():
        if not is_label_name(str(name)) or not is_label_value(as_str(value)):
            yield NotAccepted(
                f"KubeRay refuses the label {clipped(str(name), 60)} of the {group.title}: "
                "it is not a label of Kubernetes",
                group.pointer / "labels" / str(name),
                "write a name and a value that a label may have",
            )


def _replicas(group: Group, kuberay: KubeRayOperator, autoscaling: bool) -> Iterator[NotAccepted]:
    raw = group.raw
    # Kubernetes writes these defaults of the CustomResourceDefinition.
    least = as_int(raw.get("minReplicas")) or 0
    most = as_int(raw.get("maxReplicas"))
    most = _MAX_INT if most is None else most
    if least < 0 or most < 0:
        if not kuberay.is_before(1, 6):
            name = "minReplicas" if least < 0 else "maxReplicas"
            message = f"KubeRay (since 1.6) refuses a negative {name} of the {group.title}"
            yield NotAccepted(message, group.pointer / name, f"set {name}: 0")
    elif least > most:
        verb = "ignores" if kuberay.is_before(1, 6) else "refuses"
        message = f"KubeRay {verb} minReplicas of the {group.title} above maxReplicas"
        yield NotAccepted(message, group.pointer, f"set maxReplicas: {least}")
    else:
        replicas = as_int(raw.get("replicas"))
        if replicas is not None and not autoscaling and not least <= replicas <= most:
            limit, bound = ("minReplicas", least) if replicas < least else ("maxReplicas", most)
            yield NotAccepted(
                f"KubeRay ignores replicas of the {group.title} beyond {limit}",
                group.pointer / "replicas",
                f"set replicas: {bound}",
            )


def _suspended(
    group: Group, cluster: ClusterSpec, kuberay: KubeRayOperator
) -> Iterator[NotAccepted]:
    place = group.pointer / "suspend"
    if kuberay.is_off("RayJobDeletionPolicy"):
        message = "without its feature gate RayJobDeletionPolicy"
        yield NotAccepted(
            f"KubeRay refuses to suspend the {group.title} {message}", place, "remove suspend"
        )
    if cluster.autoscaling:
        message = f"KubeRay refuses to suspend the {group.title} of an autoscaling cluster"
        yield NotAccepted(message, place, "remove suspend")


def _autoscaler_fields(
    group: Group, cluster: ClusterSpec, kuberay: KubeRayOperator
) -> Iterator[NotAccepted]:
    """The fields of a worker group that only version 2 of the autoscaler reads."""
    timeout, priority = as_int(group.raw.get("idleTimeoutSeconds")), group.raw.get("priority")
    has_v2 = uses_autoscaler_v2(cluster) or _chooses_v2(cluster)
    if timeout is not None and not kuberay.is_before(1, 6):
        place = group.pointer / "idleTimeoutSeconds"
        if timeout < 0:
            message = "a negative idleTimeoutSeconds"
            message = f"KubeRay (since 1.6) refuses {message} of the {group.title}"
            yield NotAccepted(message, place, "set idleTimeoutSeconds: 60")
        elif not has_v2:
            yield _needs_v2(group, "idleTimeoutSeconds", "1.6")
    if as_int(priority) and not kuberay.is_before(1, 7):
        version = ray_version(as_str(cluster.spec.get("rayVersion")))
        if version is None or version < _PRIORITY_SINCE:
            yield NotAccepted(
                f"KubeRay (since 1.7) refuses priority of the {group.title} without a rayVersion "
                "of 2.56.0 or later",
                group.pointer / "priority",
                "remove priority",
            )
        elif not has_v2:
            yield _needs_v2(group, "priority", "1.7")


def _needs_v2(group: Group, name: str, since: str) -> NotAccepted:
    return NotAccepted(
        f"KubeRay (since {since}) refuses {name} of the {group.title} without version 2 of the "
        "autoscaler",
        group.pointer / name,
        f"remove {name}, or write autoscalerOptions.version: v2",
    )


def _chooses_v2(cluster: ClusterSpec) -> bool:
    head = cluster.head.pod.ray_container
    return head is not None and variable(head, AUTOSCALER_V2) in ON


def _repeated_name(group: Group) -> NotAccepted:
    return NotAccepted(
        f"two groups are called {clipped(group.name, 60)}: KubeRay's webhook refuses them, and "
        "without it they count each other's pods",
        group.pointer / "groupName",
        "give each worker group its own groupName",
    )
