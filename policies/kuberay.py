"""What KubeRay makes of what its users write: RayCluster from RayJob, pods from RayCluster.

As much of it as admission can see: names, labels, owner, and the containers KubeRay adds, with the environment and
mounts it copies into them. Commands, probes and resources are left out: no rule asks for them in pods of KubeRay's.
Source: `ray-operator/controllers/ray/common/pod.go`, `rayjob_controller.go`, `rayservice_controller.go` (KubeRay 1.7).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.pod import Role
from policies.reading import elements, mapping, text
from policies.workload import (
    GROUP_LABEL,
    NODE_TYPE_LABEL,
    ORIGIN_KIND_LABEL,
    RAY_CLUSTER_LABEL,
    Cluster,
    Group,
    Workload,
)

# KubeRay ends the names of what it makes with five random characters.
_RANDOM = "xxxxx"
# Who makes the pods of a dry run; the real one is whoever the cluster's RBAC lets run KubeRay.
OPERATOR = "kuberay-operator (dry run)"
_ORIGIN_NAME_LABEL = "ray.io/originated-from-cr-name"


def cluster_of(workload: Workload) -> dict[str, Any] | None:
    """The RayCluster KubeRay makes from a RayJob, RayService or RayCronJob; None where it makes none."""
    if workload.kind == "RayCluster" or workload.cluster is None:
        return None
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {
            "name": f"{workload.name}-{_RANDOM}",
            "namespace": text(workload.metadata.get("namespace")),
            "labels": {ORIGIN_KIND_LABEL: workload.kind, _ORIGIN_NAME_LABEL: workload.name},
        },
        "spec": dict(workload.cluster.spec),
    }


def submitter_of(workload: Workload) -> dict[str, Any] | None:
    """The pod that submits the job of a RayJob in K8sJobMode, KubeRay's default; None for other modes and kinds."""
    job = mapping(mapping(workload.document.get("spec")).get("jobTemplate")) or mapping(workload.document.get("spec"))
    if workload.kind not in ("RayJob", "RayCronJob") or text(job.get("submissionMode")) not in ("", "K8sJobMode"):
        return None
    template = mapping(job.get("submitterPodTemplate"))
    head = workload.cluster.head.pod.ray_container if workload.cluster else None
    default = {"containers": [{"name": "ray-job-submitter", "image": head.image if head else ""}]}
    labels = {ORIGIN_KIND_LABEL: "RayJob", _ORIGIN_NAME_LABEL: workload.name}
    metadata = {"generateName": f"{workload.name}-", "labels": {**_labels(template), **labels}}
    return _pod(template, metadata, mapping(template.get("spec")) or default)


def pods_of(cluster: Workload) -> Iterator[dict[str, Any]]:
    """One pod of each group of a RayCluster, as it reaches admission."""
    for group in cluster.cluster.groups if cluster.cluster else ():
        if group.pod.ray_container and cluster.cluster:
            yield _ray_pod(cluster, cluster.cluster, group)


def labels_of_pods(workload: Workload) -> Iterator[dict[str, Any]]:
    """The labels of the pods of each group of a RayCluster."""
    return (_labels_of_pod(workload, group) for group in (workload.cluster.groups if workload.cluster else ()))


def _labels_of_pod(workload: Workload, group: Group) -> dict[str, Any]:
    return {
        "app.kubernetes.io/created-by": "kuberay-operator",
        "app.kubernetes.io/name": "kuberay",
        "ray.io/is-ray-node": "yes",
        "ray.io/identifier": f"{workload.name}-{group.role}",
        **_labels(mapping(group.raw.get("template"))),
        **mapping(group.raw.get("labels")),
        RAY_CLUSTER_LABEL: workload.name,
        NODE_TYPE_LABEL: str(group.role),
        GROUP_LABEL: group.name,
    }


def _ray_pod(workload: Workload, cluster: Cluster, group: Group) -> dict[str, Any]:
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": workload.name, "uid": "", "controller": True}
    part = "head" if group.role is Role.HEAD else f"{group.name}-worker"
    labels = _labels_of_pod(workload, group)
    metadata = {"generateName": f"{workload.name}-{part}-", "labels": labels, "ownerReferences": [owner]}
    spec = dict(group.pod.spec)
    if group.role is Role.WORKER:
        spec["initContainers"] = [*(raw for _, raw in elements(spec.get("initContainers"))), _wait_for_gcs(group)]
    spec["containers"] = [*spec["containers"], *_sidecars(cluster, group)]
    return _pod(group.raw.get("template"), metadata, spec)


def _pod(template: Any, metadata: dict[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    annotations = mapping(mapping(mapping(template).get("metadata")).get("annotations"))
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": dict(spec)}


def _labels(template: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(template.get("metadata")).get("labels"))


def _wait_for_gcs(group: Group) -> dict[str, Any]:
    ray = group.pod.ray_container
    assert ray is not None
    copied = {
        field: ray.raw[field] for field in ("image", "env", "volumeMounts", "securityContext") if field in ray.raw
    }
    return {"name": "wait-gcs-ready", **copied}


def _sidecars(cluster: Cluster, group: Group) -> Iterator[dict[str, Any]]:
    ray = group.pod.ray_container
    for options in cluster.options:
        if options.name == "ray-history-collector":
            yield dict(options.raw)
        elif cluster.autoscaling and group.role is Role.HEAD and ray:
            yield {"image": ray.image, **options.raw}
    if cluster.autoscaling and group.role is Role.HEAD and ray and not cluster.spec.get("autoscalerOptions"):
        yield {"name": "autoscaler", "image": ray.image}
