"""What KubeRay refuses in the options of the autoscaler.

Source: `ValidateRayClusterSpec`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.untyped import as_dict, as_str
from policies.kuberay.groups import AUTOSCALER_V2, ON, uses_autoscaler_v2
from policies.kuberay.problem import NotAccepted
from policies.kuberay.values import as_int, variable
from policies.ray.operator import KubeRayOperator
from policies.ray.pod import Container
from policies.ray.workload import ClusterSpec

_START_COMMAND = "KUBERAY_GEN_AUTOSCALER_START_CMD"


def autoscaler_refusals(cluster: ClusterSpec, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    """Everything that is wrong with the autoscaler's options and the switch for its version 2."""
    options = as_dict(cluster.spec.get("autoscalerOptions"))
    head = cluster.head.pod.ray_container
    if head and AUTOSCALER_V2 in head.variables.names:
        yield from _switch(cluster, head, options)
    if not options:
        return
    if cluster.autoscaling and uses_autoscaler_v2(cluster):
        yield from _restart_policies(cluster)
    timeout = as_int(options.get("idleTimeoutSeconds"))
    if timeout is not None and timeout < 0 and not kuberay.is_before(1, 6):
        yield NotAccepted(
            "KubeRay (since 1.6) refuses a negative autoscalerOptions.idleTimeoutSeconds",
            cluster.pointer / "autoscalerOptions" / "idleTimeoutSeconds",
            "set idleTimeoutSeconds: 60",
        )
    if options.get("env") and not kuberay.is_before(1, 7):
        own = Container(options, cluster.pointer / "autoscalerOptions", "options")
        if _START_COMMAND in own.variables.names:
            message = f"KubeRay (since 1.7) refuses {_START_COMMAND} in autoscalerOptions.env"
            yield NotAccepted(message, own.pointer / "env", f"remove {_START_COMMAND} from env")


def _switch(
    cluster: ClusterSpec, head: Container, options: Mapping[str, Any]
) -> Iterator[NotAccepted]:
    """What is wrong with the variable in the head that turns version 2 on."""
    if cluster.autoscaling and options.get("version") is not None:
        message = f"KubeRay refuses autoscalerOptions.version beside {AUTOSCALER_V2} in the head"
        place = cluster.pointer / "autoscalerOptions" / "version"
        yield NotAccepted(message, place, f"remove {AUTOSCALER_V2} from env of the head")
    if not cluster.autoscaling and variable(head, AUTOSCALER_V2) in ON:
        yield NotAccepted(
            f"KubeRay refuses {AUTOSCALER_V2} in the head without enableInTreeAutoscaling",
            head.pointer / "env",
            f"remove {AUTOSCALER_V2} from env, or set enableInTreeAutoscaling: true",
        )


def _restart_policies(cluster: ClusterSpec) -> Iterator[NotAccepted]:
    for group in cluster.groups:
        if as_str(group.pod.spec.get("restartPolicy")) not in ("", "Never"):
            yield NotAccepted(
                f"KubeRay refuses a restartPolicy of the {group.title} other than Never with "
                "version 2 of the autoscaler",
                group.pod.spec_pointer / "restartPolicy",
                "set restartPolicy: Never",
            )
