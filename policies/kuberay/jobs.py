"""What KubeRay refuses or ignores in a RayJob and a RayCronJob.

Source: `ValidateRayJobSpec`, `ValidateRayCronJobSpec`, `rayjob_controller.go`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str
from policies.kuberay.deletion_rules import deletion_refusals
from policies.kuberay.problem import NotAccepted
from policies.kuberay.schedule import is_schedule
from policies.kuberay.time_zone import may_be_time_zone
from policies.kuberay.values import as_int, is_placeholder, may_be_yaml_object
from policies.ray.operator import KubeRayOperator
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import ClusterSpec, Workload

_CRON_GATE = "RayCronJob"
_CLUSTER = "ray.io/cluster"
_MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
_ENVIRONMENT = "runtimeEnvYAML"
_SHUTDOWN = "shutdownAfterJobFinishes"


def job_refusals(workload: Workload, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    """Everything that is wrong with the job, apart from its cluster."""
    place, spec = ROOT / "spec", as_dict(workload.document.get("spec"))
    if workload.kind == "RayCronJob":
        yield from _cron(spec, kuberay)
        place, spec = place / "jobTemplate", as_dict(spec.get("jobTemplate"))
    cluster = workload.cluster
    suspends, shuts_down = spec.get("suspend") is True, spec.get("shutdownAfterJobFinishes") is True
    if suspends and not shuts_down:
        message = "KubeRay refuses to suspend a RayJob without shutdownAfterJobFinishes"
        yield NotAccepted(message, place / _SHUTDOWN, f"set {_SHUTDOWN}: true")
    autoscaling = cluster is not None and cluster.autoscaling
    yield from deletion_refusals(spec, place, autoscaling, kuberay)
    yield from _numbers(spec, place, kuberay)
    if as_dict(spec.get("clusterSelector")):
        yield from _selector(spec, place, kuberay)
    elif spec.get("rayClusterSpec") is None:
        message = "KubeRay refuses a RayJob without rayClusterSpec or clusterSelector"
        yield NotAccepted(message, place, "add rayClusterSpec")
    yield from _mode(spec, place, cluster)
    yield from _runtime_environment(workload)
    if cluster and not kuberay.is_before(1, 6):
        yield from owned_cluster_refusals(workload.kind, cluster)


def _runtime_environment(workload: Workload) -> Iterator[NotAccepted]:
    for environment in runtime_environments(workload):
        if environment.field != _ENVIRONMENT or any(environment.parts):
            continue
        content = environment.content
        if not is_placeholder(content) and not may_be_yaml_object(content):
            message = f"KubeRay refuses {_ENVIRONMENT}: it is not the YAML of an object"
            remedy = "write an object, such as env_vars: {NAME: value}"
            yield NotAccepted(message, environment.pointer, remedy)


def owned_cluster_refusals(kind: str, cluster: ClusterSpec) -> Iterator[NotAccepted]:
    """What KubeRay refuses in the RayCluster of another object, and accepts elsewhere."""
    kind = kind.replace("Cron", "")
    if cluster.kubernetes_tokens:
        yield NotAccepted(
            f"KubeRay (since 1.6) refuses authOptions.enableK8sTokenAuth in a {kind}",
            cluster.pointer / "authOptions" / "enableK8sTokenAuth",
            "remove enableK8sTokenAuth",
        )
    if as_dict(cluster.spec.get("upgradeStrategy")).get("type") is not None:
        yield NotAccepted(
            f"KubeRay (since 1.6) refuses upgradeStrategy in the RayCluster of a {kind}",
            cluster.pointer / "upgradeStrategy",
            "remove upgradeStrategy",
        )


def _numbers(
    spec: Mapping[str, Any], place: Pointer, kuberay: KubeRayOperator
) -> Iterator[NotAccepted]:
    least = {"ttlSecondsAfterFinished": 0, "activeDeadlineSeconds": 1, "backoffLimit": 0}
    if not kuberay.is_before(1, 6):
        least["preRunningDeadlineSeconds"] = 1
    for name, bound in least.items():
        number = as_int(spec.get(name))
        if number is not None and number < bound:
            message = f"KubeRay refuses {name} below {bound}"
            yield NotAccepted(message, place / name, f"remove {name}")


def _selector(
    spec: Mapping[str, Any], place: Pointer, kuberay: KubeRayOperator
) -> Iterator[NotAccepted]:
    where = place / "clusterSelector"
    if not as_dict(spec["clusterSelector"]).get(_CLUSTER):
        message = f"KubeRay refuses clusterSelector without {_CLUSTER}"
        yield NotAccepted(message, where, f"write the name of a RayCluster as {_CLUSTER}")
    if spec.get("suspend") is True:
        message = "KubeRay refuses to suspend a RayJob with clusterSelector"
        yield NotAccepted(message, place / "suspend", "remove suspend")
    if spec.get("submissionMode") == "SidecarMode":
        message = "KubeRay refuses SidecarMode beside clusterSelector"
        yield NotAccepted(message, place / "submissionMode", "set submissionMode: K8sJobMode")
    if (as_int(spec.get("backoffLimit")) or 0) > 0 and not kuberay.is_before(1, 6):
        message = "KubeRay (since 1.6) refuses backoffLimit above 0 beside clusterSelector"
        yield NotAccepted(message, place / "backoffLimit", "set backoffLimit: 0")
    if spec.get("rayClusterSpec") is not None:
        message = "KubeRay ignores rayClusterSpec beside clusterSelector"
        remedy = "remove rayClusterSpec, or remove clusterSelector to create the cluster"
        yield NotAccepted(message, place / "rayClusterSpec", remedy)


def _mode(
    spec: Mapping[str, Any], place: Pointer, cluster: ClusterSpec | None
) -> Iterator[NotAccepted]:
    mode = spec.get("submissionMode")
    if isinstance(mode, str) and mode not in _MODES and not is_placeholder(mode):
        message = f"KubeRay submits no job whose submissionMode is none of {', '.join(_MODES)}"
        yield NotAccepted(message, place / "submissionMode", f"set submissionMode: {_MODES[0]}")
    if mode == "InteractiveMode" and (as_int(spec.get("backoffLimit")) or 0) > 0:
        message = "KubeRay refuses backoffLimit above 0 in InteractiveMode"
        yield NotAccepted(message, place / "backoffLimit", "set backoffLimit: 0")
    if mode != "SidecarMode":
        return
    for name in ("submitterPodTemplate", "submitterConfig"):
        if spec.get(name) is not None:
            message = f"KubeRay refuses {name} in SidecarMode"
            yield NotAccepted(message, place / name, f"remove {name}")
    if cluster and as_str(cluster.head.pod.spec.get("restartPolicy")) not in ("", "Never"):
        message = "KubeRay refuses a restartPolicy of the head other than Never in SidecarMode"
        where = cluster.head.pod.spec_pointer / "restartPolicy"
        yield NotAccepted(message, where, "set restartPolicy: Never")


def _cron(spec: Mapping[str, Any], kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    if kuberay.is_off(_CRON_GATE):
        message = f"KubeRay ignores every RayCronJob without its feature gate {_CRON_GATE}"
        yield NotAccepted(message, ROOT, f"ask the administrator to turn {_CRON_GATE} on")
    schedule, place = as_str(spec.get("schedule")), ROOT / "spec" / "schedule"
    if "TZ" in schedule and not kuberay.is_before(1, 7):
        message = "KubeRay (since 1.7) refuses a time zone in schedule"
        yield NotAccepted(message, place, "remove the time zone, and write it as timeZone")
    elif schedule and not is_placeholder(schedule) and not is_schedule(schedule):
        message = "KubeRay refuses the schedule: it is not a cron expression"
        remedy = 'write minute, hour, day, month and day of the week (0 to 6), such as "0 3 * * *"'
        yield NotAccepted(message, place, remedy)
    if not kuberay.is_before(1, 7):
        yield from _time_zone(spec.get("timeZone"), ROOT / "spec" / "timeZone")


def _time_zone(name: Any, place: Pointer) -> Iterator[NotAccepted]:
    if name == "":
        yield NotAccepted("KubeRay (since 1.7) refuses an empty timeZone", place, "remove timeZone")
    elif isinstance(name, str) and not is_placeholder(name) and not may_be_time_zone(name):
        message = "KubeRay (since 1.7) refuses the timeZone: it is not the name of a time zone"
        yield NotAccepted(message, place, "write a name such as Europe/Berlin or Etc/UTC")
