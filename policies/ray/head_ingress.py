"""The Ingress that KubeRay creates for the dashboard if `enableIngress` is set.

Source: KubeRay 1.7 `ray-operator/controllers/ray/common/ingress.go`. On OpenShift, KubeRay creates
a Route with the same annotations instead (`openshift.go`).
"""

from typing import Any

from policies.documents.untyped import as_dict, as_str
from policies.ray.kuberay import copies_metadata
from policies.ray.workload import Workload

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_DASHBOARD = 8265


def head_ingress_of(workload: Workload) -> dict[str, Any] | None:
    """The Ingress to the head of this workload's cluster; None if KubeRay creates none.

    It has the annotations of the RayCluster. Those of a RayCronJob do not reach its RayCluster.
    """
    cluster = workload.cluster
    if cluster is None or cluster.head.raw.get("enableIngress") is not True:
        return None
    copied = workload.kind == "RayCluster" or copies_metadata(workload)
    annotations = dict(workload.annotations) if copied else {}
    options = as_dict(cluster.head.raw.get("ingressOptions"))
    # The Service's name is the cluster's, which a RayJob or RayService does not know yet.
    backend = {"service": {"name": f"{workload.name}-head-svc", "port": {"number": _DASHBOARD}}}
    path = as_str(options.get("path")) or "/"
    rule: dict[str, Any] = {"http": {"paths": [{"path": path, "backend": backend}]}}
    if options.get("host"):
        rule["host"] = options["host"]
    spec: dict[str, Any] = {"rules": [rule]}
    if options.get("tls"):
        spec["tls"] = options["tls"]
    ingress_class = annotations.pop(CLASS_ANNOTATION, None)
    if ingress_class:
        spec["ingressClassName"] = ingress_class
    metadata = {"name": f"{workload.name}-head-ingress", "annotations": annotations}
    return {"kind": "Ingress", "metadata": metadata, "spec": spec}
