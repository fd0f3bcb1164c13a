"""What KubeRay creates from its users' objects: a RayCluster from a RayJob, pods from a RayCluster.

As much as admission sees: names, labels, owners, and the containers that KubeRay adds, with the
variables and mounts it copies into them. Commands and probes are left out, because no rule reads
them in pods that KubeRay creates.
Source: `ray-operator/controllers/ray/common/pod.go`, `rayjob_controller.go`,
`rayservice_controller.go` (KubeRay 1.7).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.metadata import annotations_of, controller_of, labels_of
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.container_settings import (
    TLS_MOUNT,
    TLS_VOLUME,
    with_cluster_settings,
    with_token_settings,
)
from policies.ray.membership import (
    CLAIM_LABELS,
    GROUP_LABEL,
    JOB_CONTROLLERS,
    NODE_TYPE_LABEL,
    ORIGIN_KIND_LABEL,
    ORIGIN_NAME_LABEL,
    RAY_CLUSTER_LABEL,
)
from policies.ray.pod import Container, PodRole
from policies.ray.workload import ClusterSpec, Group, Workload

# KubeRay ends the names of the objects it creates with five random characters.
_RANDOM = "xxxxx"
# The user that creates the pods of a dry run. In a cluster, RBAC decides who runs KubeRay.
OPERATOR = "kuberay-operator (dry run)"
_WAIT_FOR_GCS, _WAIT_FOR_ADDRESS = "wait-gcs-ready", "wait-for-tls-ip-san"
# Init containers that get the image and security context of Ray's container, `wait-gcs-ready` its
# variables and mounts as well (`DefaultWorkerPodTemplate`, `configureTLS`).
COPIES_OF_RAY = frozenset({_WAIT_FOR_GCS, _WAIT_FOR_ADDRESS})
_JOB_KINDS = ("RayJob", "RayCronJob")
_SIDECAR_MODE = "SidecarMode"
_COLLECTOR_SIZE = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"cpu": "200m", "memory": "256Mi"},
}


def cluster_of(workload: Workload) -> dict[str, Any] | None:
    """The RayCluster that KubeRay creates from a RayJob, RayService or RayCronJob.

    None if it creates none.
    """
    if workload.kind == "RayCluster" or workload.cluster is None:
        return None
    copied = workload if copies_metadata(workload) else Workload("RayCluster", {})
    labels = {
        **copied.labels,
        ORIGIN_KIND_LABEL: workload.kind,
        ORIGIN_NAME_LABEL: workload.name,
    }
    metadata: dict[str, Any] = {
        "name": f"{workload.name}-{_RANDOM}",
        "namespace": as_str(workload.metadata.get("namespace")),
        "labels": labels,
    }
    if copied.annotations:
        metadata["annotations"] = dict(copied.annotations)
    document = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": metadata,
        "spec": dict(workload.cluster.spec),
    }
    return _with_submitter(document) if _submission_mode(workload) == _SIDECAR_MODE else document


def copies_metadata(workload: Workload) -> bool:
    """True if KubeRay copies the object's labels and annotations to its RayCluster.

    Source: `constructRayClusterForRayJob`, `constructRayClusterForRayService`.
    """
    return workload.kind in ("RayJob", "RayService")


def submitter_of(workload: Workload) -> dict[str, Any] | None:
    """The pod that submits the job of a RayJob in K8sJobMode, which is KubeRay's default mode.

    None for other modes and kinds.
    """
    if workload.kind not in _JOB_KINDS or _submission_mode(workload) not in ("", "K8sJobMode"):
        return None
    template = as_dict(_job_of(workload).get("submitterPodTemplate"))
    container = _submitter(workload.cluster)
    # `operator-made-pods` refuses the claims in the RayJob itself. Their consequences for the pod
    # would hide that.
    kept = {name: value for name, value in labels_of(template).items() if name not in CLAIM_LABELS}
    labels = {**kept, ORIGIN_KIND_LABEL: "RayJob", ORIGIN_NAME_LABEL: workload.name}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": workload.name, "uid": ""}
    metadata = {
        "generateName": f"{workload.name}-",
        "labels": labels,
        "ownerReferences": [{**owner, "controller": True}],
    }
    return _pod(template, metadata, as_dict(template.get("spec")) or {"containers": [container]})


def _job_of(workload: Workload) -> Mapping[str, Any]:
    """The spec of a RayJob, also of the one that a RayCronJob creates."""
    spec = as_dict(workload.document.get("spec"))
    return as_dict(spec.get("jobTemplate")) or spec


def _submission_mode(workload: Workload) -> str:
    """Who submits the job of a RayJob or RayCronJob; empty for KubeRay's default."""
    return as_str(_job_of(workload).get("submissionMode")) if workload.kind in _JOB_KINDS else ""


def _submitter(cluster: ClusterSpec | None) -> dict[str, Any]:
    """KubeRay's default container for it (`GetDefaultSubmitterContainer`)."""
    head = cluster.head.pod.ray_container if cluster else None
    return {
        "name": "ray-job-submitter",
        "image": head.image if head else "",
        "resources": {
            "requests": {"cpu": "500m", "memory": "200Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
    }


def _with_submitter(ray_cluster: dict[str, Any]) -> dict[str, Any]:
    """The RayCluster of a RayJob in SidecarMode, whose head also submits the job.

    Source: `constructRayClusterForRayJob`, `getSubmitterContainer`.
    """
    view = Workload("RayCluster", ray_cluster)
    cluster = view.cluster
    if cluster is None or cluster.head.pod.ray_container is None:
        return ray_cluster
    submitter = with_token_settings(_submitter(cluster), view, cluster)
    group = as_dict(cluster.spec.get("headGroupSpec"))
    template = as_dict(group.get("template"))
    pod_spec = as_dict(template.get("spec"))
    containers = [raw for _, raw in dict_items(pod_spec.get("containers"))]
    changed = {**pod_spec, "containers": [*containers, submitter], "restartPolicy": "Never"}
    head = {**group, "template": {**template, "spec": changed}}
    return {**ray_cluster, "spec": {**cluster.spec, "headGroupSpec": head}}


def creator_of(document: Mapping[str, Any]) -> str:
    """The user that creates an object in a dry run: KubeRay, or Kubernetes from KubeRay's Job."""
    owner = controller_of(document)
    return JOB_CONTROLLERS[0] if owner is not None and owner.kind == "Job" else OPERATOR


def pods_of(cluster: Workload) -> Iterator[dict[str, Any]]:
    """One pod of each group of a RayCluster, as the API server sends it to admission."""
    if cluster.cluster is None:
        return
    for group in cluster.cluster.groups:
        if group.pod.ray_container:
            yield _ray_pod(cluster, cluster.cluster, group)


def is_copy_of_ray(container: Container) -> bool:
    """KubeRay creates this container of a pod like Ray's."""
    return container.list_name == "initContainers" and container.name in COPIES_OF_RAY


def labels_of_pods(workload: Workload) -> Iterator[dict[str, Any]]:
    """The labels of the pods of each group of a RayCluster."""
    groups = workload.cluster.groups if workload.cluster else ()
    return (_labels_of_pod(workload, group) for group in groups)


def _labels_of_pod(workload: Workload, group: Group) -> dict[str, Any]:
    return {
        "app.kubernetes.io/created-by": "kuberay-operator",
        "app.kubernetes.io/name": "kuberay",
        "ray.io/is-ray-node": "yes",
        "ray.io/identifier": f"{workload.name}-{group.role}",
        **labels_of(as_dict(group.raw.get("template"))),
        **as_dict(group.raw.get("labels")),
        RAY_CLUSTER_LABEL: workload.name,
        NODE_TYPE_LABEL: str(group.role),
        GROUP_LABEL: group.name,
    }


def _ray_pod(workload: Workload, cluster: ClusterSpec, group: Group) -> dict[str, Any]:
    spec = dict(group.pod.spec)
    autoscaled = cluster.autoscaling and group.role is PodRole.HEAD
    if autoscaled and not as_str(spec.get("serviceAccountName")):
        spec["serviceAccountName"] = workload.name
    ray, *others = spec["containers"]
    ray = with_cluster_settings(ray, workload, cluster)
    if cluster.kuberay_tls:
        secret = {"secretName": f"ray-{group.role}-secret-{workload.name}"}
        volumes = [raw for _, raw in dict_items(spec.get("volumes"))]
        spec["volumes"] = [*volumes, {"name": TLS_VOLUME, "secret": secret}]
    init_containers = _init_containers(ray, cluster, group)
    if init_containers:
        spec["initContainers"] = init_containers
    sidecars = [
        with_cluster_settings(sidecar, workload, cluster)
        for sidecar in _sidecars(cluster, group, autoscaled)
    ]
    spec["containers"] = [ray, *others, *sidecars]
    return _pod(as_dict(group.raw.get("template")), _ray_pod_metadata(workload, group), spec)


def _ray_pod_metadata(workload: Workload, group: Group) -> dict[str, Any]:
    owner = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "name": workload.name,
        "uid": "",
        "controller": True,
    }
    part = "head" if group.role is PodRole.HEAD else f"{group.name}-worker"
    return {
        "generateName": f"{workload.name}-{part}-",
        "labels": _labels_of_pod(workload, group),
        "ownerReferences": [owner],
    }


def _init_containers(
    ray: Mapping[str, Any], cluster: ClusterSpec, group: Group
) -> list[Mapping[str, Any]]:
    """The template's init containers, between those that KubeRay adds."""
    containers = [raw for _, raw in dict_items(group.pod.spec.get("initContainers"))]
    if group.role is PodRole.WORKER:
        containers.append(_wait_for_gcs(ray))
    if cluster.kuberay_tls:
        containers.insert(0, _wait_for_address(ray))
    return containers


def _pod(
    template: Mapping[str, Any], metadata: dict[str, Any], spec: Mapping[str, Any]
) -> dict[str, Any]:
    annotations = annotations_of(template)
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": dict(spec)}


def _wait_for_address(ray: Mapping[str, Any]) -> dict[str, Any]:
    copied = {field: ray[field] for field in ("image", "securityContext") if field in ray}
    return {
        "name": _WAIT_FOR_ADDRESS,
        **copied,
        "volumeMounts": [dict(TLS_MOUNT)],
        "resources": _size("50m", "64Mi"),
    }


def _wait_for_gcs(ray: Mapping[str, Any]) -> dict[str, Any]:
    fields = ("image", "env", "volumeMounts", "securityContext")
    copied = {field: ray[field] for field in fields if field in ray}
    return {"name": _WAIT_FOR_GCS, **copied, "resources": _size("200m", "256Mi")}


def _sidecars(cluster: ClusterSpec, group: Group, autoscaled: bool) -> Iterator[dict[str, Any]]:
    """The containers that KubeRay adds next to Ray."""
    ray = group.pod.ray_container
    autoscaler = {
        "name": "autoscaler",
        "image": ray.image if ray else "",
        "resources": _size("500m", "512Mi"),
    }
    for options in cluster.options:
        stated = {name: value for name, value in options.raw.items() if value is not None}
        if options.name == "ray-history-collector":
            yield {"resources": _COLLECTOR_SIZE, **stated}
        elif autoscaled:
            yield {**autoscaler, **stated}
    if autoscaled and not cluster.spec.get("autoscalerOptions"):
        yield autoscaler


def _size(cpu: str, memory: str) -> dict[str, Any]:
    size = {"cpu": cpu, "memory": memory}
    return {"requests": size, "limits": dict(size)}
