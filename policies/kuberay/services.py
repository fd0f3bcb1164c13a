"""What KubeRay refuses or ignores in a RayService.

Source: `ValidateRayServiceMetadata`, `ValidateRayServiceSpec`, `ValidateClusterUpgradeOptions`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str
from policies.kuberay.jobs import owned_cluster_refusals
from policies.kuberay.problem import NotAccepted
from policies.kuberay.values import as_int, is_placeholder, is_positive_duration
from policies.ray.operator import KubeRayOperator
from policies.ray.workload import ClusterSpec, Workload

_GATE = "RayServiceIncrementalUpgrade"
_INCREMENTAL = "NewClusterWithIncrementalUpgrade"
_TYPES = (_INCREMENTAL, "NewCluster", "None")
_TIMEOUT = "ray.io/initializing-timeout"


def service_refusals(workload: Workload, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    """Everything that is wrong with the service, apart from its cluster."""
    spec, cluster = as_dict(workload.document.get("spec")), workload.cluster
    timeout = as_str(workload.annotations.get(_TIMEOUT))
    if timeout and not is_placeholder(timeout) and not is_positive_duration(timeout):
        yield NotAccepted(
            f"KubeRay refuses the annotation {_TIMEOUT}: it is not a duration above 0",
            ROOT / "metadata" / "annotations" / _TIMEOUT,
            f"set {_TIMEOUT}: 30m",
        )
    if (as_int(spec.get("rayClusterDeletionDelaySeconds")) or 0) < 0:
        message = "KubeRay refuses rayClusterDeletionDelaySeconds below 0"
        place = ROOT / "spec" / "rayClusterDeletionDelaySeconds"
        yield NotAccepted(message, place, "remove rayClusterDeletionDelaySeconds")
    yield from _upgrade(as_dict(spec.get("upgradeStrategy")), cluster, kuberay)
    if cluster is None:
        return
    service = as_dict(as_dict(cluster.head.raw.get("headService")).get("metadata"))
    if service.get("name"):
        place = cluster.head.pointer / "headService" / "metadata" / "name"
        yield NotAccepted(
            "KubeRay refuses a name of headService in a RayService", place, "remove name"
        )
    if not kuberay.is_before(1, 6):
        yield from owned_cluster_refusals(workload.kind, cluster)


def _upgrade(
    strategy: Mapping[str, Any], cluster: ClusterSpec | None, kuberay: KubeRayOperator
) -> Iterator[NotAccepted]:
    chosen, place = as_str(strategy.get("type")), ROOT / "spec" / "upgradeStrategy"
    if chosen and not is_placeholder(chosen) and chosen not in _TYPES:
        message = f"KubeRay refuses upgradeStrategy.type other than {', '.join(_TYPES)}"
        yield NotAccepted(message, place / "type", "set type: NewCluster")
    if chosen != _INCREMENTAL:
        return
    if kuberay.is_off(_GATE):
        message = f"KubeRay ignores {_INCREMENTAL} without its feature gate {_GATE}"
        yield NotAccepted(message, place / "type", "set type: NewCluster")
    if not kuberay.is_on(_GATE):
        return
    if cluster and not cluster.autoscaling:
        message = f"KubeRay refuses {_INCREMENTAL} without enableInTreeAutoscaling"
        yield NotAccepted(message, cluster.pointer, "set enableInTreeAutoscaling: true")
    if strategy.get("clusterUpgradeOptions") is None:
        message = f"KubeRay refuses {_INCREMENTAL} without clusterUpgradeOptions"
        yield NotAccepted(message, place, "add clusterUpgradeOptions")
    else:
        options = as_dict(strategy["clusterUpgradeOptions"])
        yield from _incremental(options, place / "clusterUpgradeOptions")


def _incremental(options: Mapping[str, Any], place: Pointer) -> Iterator[NotAccepted]:
    surge, step = as_int(options.get("maxSurgePercent")), as_int(options.get("stepSizePercent"))
    # Kubernetes writes this default of the CustomResourceDefinition.
    surge = 100 if surge is None else surge
    for name, percent in (("maxSurgePercent", surge), ("stepSizePercent", step)):
        if percent is not None and not 0 <= percent <= 100:
            message = f"KubeRay refuses {name} outside 0 to 100"
            yield NotAccepted(message, place / name, f"set {name}: 100")
    if step is not None and step > surge:
        message = "KubeRay refuses stepSizePercent above maxSurgePercent"
        yield NotAccepted(message, place / "stepSizePercent", f"set stepSizePercent: {surge}")
    interval = as_int(options.get("intervalSeconds"))
    if interval is not None and interval <= 0:
        message = "KubeRay refuses intervalSeconds below 1"
        yield NotAccepted(message, place / "intervalSeconds", "set intervalSeconds: 10")
    if options.get("gatewayClassName") == "":
        message = f"KubeRay refuses {_INCREMENTAL} without gatewayClassName"
        yield NotAccepted(message, place / "gatewayClassName", "write the name of a GatewayClass")
