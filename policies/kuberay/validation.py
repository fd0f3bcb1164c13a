"""What KubeRay itself refuses or ignores in an object that its CustomResourceDefinitions allow.

Source: `ray-operator/controllers/ray/utils/validation.go` of KubeRay 1.5, 1.6 and 1.7, and
`ray-operator/pkg/webhooks/v1`.
"""

from collections.abc import Iterator

from policies.kuberay.access import access_refusals
from policies.kuberay.autoscaler import autoscaler_refusals
from policies.kuberay.fault_tolerance import fault_tolerance_refusals
from policies.kuberay.groups import group_refusals
from policies.kuberay.history import history_refusals
from policies.kuberay.jobs import job_refusals
from policies.kuberay.naming import name_refusals
from policies.kuberay.problem import NotAccepted
from policies.kuberay.services import service_refusals
from policies.ray.operator import KubeRayOperator
from policies.ray.workload import Workload

KINDS = frozenset({"RayCluster", "RayJob", "RayService", "RayCronJob"})


def refusals(workload: Workload, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    """Everything that this KubeRay refuses; an unknown one counts as the newest."""
    yield from name_refusals(workload, kuberay)
    if workload.kind in ("RayJob", "RayCronJob"):
        yield from job_refusals(workload, kuberay)
    elif workload.kind == "RayService":
        yield from service_refusals(workload, kuberay)
    cluster = workload.cluster
    if cluster is None:
        return
    yield from group_refusals(cluster, kuberay)
    yield from autoscaler_refusals(cluster, kuberay)
    # KubeRay copies no annotations of a RayCronJob.
    annotations = {} if workload.kind == "RayCronJob" else workload.annotations
    yield from fault_tolerance_refusals(cluster, annotations, kuberay)
    yield from access_refusals(cluster, kuberay)
    yield from history_refusals(cluster, kuberay)
