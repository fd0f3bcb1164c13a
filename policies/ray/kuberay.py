"""What KubeRay makes of what its users write: RayCluster from RayJob, pods from RayCluster.

As much of it as admission can see: names, labels, owner, and the containers KubeRay adds, with the environment and
mounts it copies into them. Commands and probes are left out: no rule asks for them in pods of KubeRay's.
Source: `ray-operator/controllers/ray/common/pod.go`, `rayjob_controller.go`, `rayservice_controller.go` (KubeRay 1.7).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.pod import PodRole
from policies.ray.workload import (
    GROUP_LABEL,
    NODE_TYPE_LABEL,
    ORIGIN_KIND_LABEL,
    RAY_CLUSTER_LABEL,
    ClusterSpec,
    Group,
    Workload,
)

# KubeRay ends the names of what it makes with five random characters.
_RANDOM = "xxxxx"
# Who makes the pods of a dry run; the real one is whoever the cluster's RBAC lets run KubeRay.
OPERATOR = "kuberay-operator (dry run)"
# What its own mTLS looks like in a pod (`configureTLS`).
_TLS_VOLUME = "ray-tls"
_TLS_MOUNT = {"name": _TLS_VOLUME, "mountPath": "/etc/ray/tls", "readOnly": True}
_TLS_VARIABLES = {
    "RAY_USE_TLS": "1",
    "RAY_TLS_SERVER_CERT": "/etc/ray/tls/tls.crt",
    "RAY_TLS_SERVER_KEY": "/etc/ray/tls/tls.key",
    "RAY_TLS_CA_CERT": "/etc/ray/tls/ca.crt",
}
_ORIGIN_NAME_LABEL = "ray.io/originated-from-cr-name"


def cluster_of(workload: Workload) -> dict[str, Any] | None:
    """The RayCluster KubeRay makes from a RayJob, RayService or RayCronJob; None where it makes none."""
    if workload.kind == "RayCluster" or workload.cluster is None:
        return None
    copied = workload if copies_metadata(workload) else Workload("RayCluster", {})
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {
            "name": f"{workload.name}-{_RANDOM}",
            "namespace": as_str(workload.metadata.get("namespace")),
            "labels": {
                **copied.labels,
                ORIGIN_KIND_LABEL: workload.kind,
                _ORIGIN_NAME_LABEL: workload.name,
            },
            **({"annotations": dict(copied.annotations)} if copied.annotations else {}),
        },
        "spec": dict(workload.cluster.spec),
    }


def copies_metadata(workload: Workload) -> bool:
    """Its labels and annotations become those of its RayCluster (`constructRayClusterForRayJob`, `...RayService`)."""
    return workload.kind in ("RayJob", "RayService")


def submitter_of(workload: Workload) -> dict[str, Any] | None:
    """The pod that submits the job of a RayJob in K8sJobMode, KubeRay's default; None for other modes and kinds."""
    job = as_dict(as_dict(workload.document.get("spec")).get("jobTemplate")) or as_dict(
        workload.document.get("spec")
    )
    if workload.kind not in ("RayJob", "RayCronJob") or as_str(job.get("submissionMode")) not in (
        "",
        "K8sJobMode",
    ):
        return None
    template = as_dict(job.get("submitterPodTemplate"))
    head = workload.cluster.head.pod.ray_container if workload.cluster else None
    size = {"requests": {"cpu": "500m", "memory": "200Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    container = {
        "name": "ray-job-submitter",
        "image": head.image if head else "",
        "resources": size,
    }
    labels = {ORIGIN_KIND_LABEL: "RayJob", _ORIGIN_NAME_LABEL: workload.name}
    metadata = {"generateName": f"{workload.name}-", "labels": {**_labels(template), **labels}}
    return _pod(template, metadata, as_dict(template.get("spec")) or {"containers": [container]})


def pods_of(cluster: Workload) -> Iterator[dict[str, Any]]:
    """One pod of each group of a RayCluster, as it reaches admission."""
    for group in cluster.cluster.groups if cluster.cluster else ():
        if group.pod.ray_container and cluster.cluster:
            yield _ray_pod(cluster, cluster.cluster, group)


def labels_of_pods(workload: Workload) -> Iterator[dict[str, Any]]:
    """The labels of the pods of each group of a RayCluster."""
    return (
        _labels_of_pod(workload, group)
        for group in (workload.cluster.groups if workload.cluster else ())
    )


def _labels_of_pod(workload: Workload, group: Group) -> dict[str, Any]:
    return {
        "app.kubernetes.io/created-by": "kuberay-operator",
        "app.kubernetes.io/name": "kuberay",
        "ray.io/is-ray-node": "yes",
        "ray.io/identifier": f"{workload.name}-{group.role}",
        **_labels(as_dict(group.raw.get("template"))),
        **as_dict(group.raw.get("labels")),
        RAY_CLUSTER_LABEL: workload.name,
        NODE_TYPE_LABEL: str(group.role),
        GROUP_LABEL: group.name,
    }


def _ray_pod(workload: Workload, cluster: ClusterSpec, group: Group) -> dict[str, Any]:
    owner = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "name": workload.name,
        "uid": "",
        "controller": True,
    }
    part = "head" if group.role is PodRole.HEAD else f"{group.name}-worker"
    labels = _labels_of_pod(workload, group)
    metadata = {
        "generateName": f"{workload.name}-{part}-",
        "labels": labels,
        "ownerReferences": [owner],
    }
    spec = dict(group.pod.spec)
    autoscaled = cluster.autoscaling and group.role is PodRole.HEAD
    if autoscaled and not as_str(spec.get("serviceAccountName")):
        spec["serviceAccountName"] = workload.name
    ray, *others = spec["containers"]
    ray = _completed(ray, workload, cluster)
    inits = [raw for _, raw in dict_items(spec.get("initContainers"))]
    if group.role is PodRole.WORKER:
        inits.append(_wait_for_gcs(ray))
    if cluster.kuberay_tls:
        inits.insert(0, _wait_for_address(ray))
        secret = {"secretName": f"ray-{group.role}-secret-{workload.name}"}
        spec["volumes"] = [
            *(raw for _, raw in dict_items(spec.get("volumes"))),
            {"name": _TLS_VOLUME, "secret": secret},
        ]
    if inits:
        spec["initContainers"] = inits
    made = (
        _completed(sidecar, workload, cluster) for sidecar in _sidecars(cluster, group, autoscaled)
    )
    spec["containers"] = [ray, *others, *made]
    return _pod(group.raw.get("template"), metadata, spec)


def _pod(template: Any, metadata: dict[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    annotations = as_dict(as_dict(as_dict(template).get("metadata")).get("annotations"))
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": dict(spec)}


def _labels(template: Mapping[str, Any]) -> Mapping[str, Any]:
    return as_dict(as_dict(template.get("metadata")).get("labels"))


def _completed(
    container: Mapping[str, Any], workload: Workload, cluster: ClusterSpec
) -> dict[str, Any]:
    asking = _asking(container, workload, cluster)
    return _encrypted(asking) if cluster.kuberay_tls else asking


def _encrypted(container: Mapping[str, Any]) -> dict[str, Any]:
    """A container with what `tlsOptions.enabled` adds to it (`SetContainerTLSConfig`)."""
    present = {entry.get("name") for _, entry in dict_items(container.get("env"))}
    missing = [
        {"name": name, "value": value}
        for name, value in _TLS_VARIABLES.items()
        if name not in present
    ]
    env = [*(raw for _, raw in dict_items(container.get("env"))), *missing]
    return {**container, "env": env, "volumeMounts": [*_mounts(container), dict(_TLS_MOUNT)]}


def _mounts(container: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        raw
        for _, raw in dict_items(container.get("volumeMounts"))
        if raw.get("name") != _TLS_VOLUME
    ]


def _wait_for_address(ray: Mapping[str, Any]) -> dict[str, Any]:
    copied = {field: ray[field] for field in ("image", "securityContext") if field in ray}
    size = _size("50m", "64Mi")
    return {
        "name": "wait-for-tls-ip-san",
        **copied,
        "volumeMounts": [dict(_TLS_MOUNT)],
        "resources": size,
    }


def _asking(
    container: Mapping[str, Any], workload: Workload, cluster: ClusterSpec
) -> dict[str, Any]:
    """A container with what `authOptions.mode: token` adds to it, where its author has not (`configureTokenAuth`)."""
    options = as_dict(cluster.spec.get("authOptions"))
    if options.get("mode") != "token":
        return dict(container)
    present = {entry.get("name") for _, entry in dict_items(container.get("env"))}
    token = {
        "secretKeyRef": {
            "name": as_str(options.get("secretName")) or workload.name,
            "key": "auth_token",
        }
    }
    added: list[dict[str, Any]] = [{"name": "RAY_AUTH_MODE", "value": "token"}]
    if options.get("enableK8sTokenAuth") is True:
        added.append({"name": "RAY_ENABLE_K8S_TOKEN_AUTH", "value": "true"})
    else:
        added.append({"name": "RAY_AUTH_TOKEN", "valueFrom": token})
    missing = [entry for entry in added if entry["name"] not in present]
    return {**container, "env": [*(raw for _, raw in dict_items(container.get("env"))), *missing]}


def _wait_for_gcs(ray: Mapping[str, Any]) -> dict[str, Any]:
    copied = {
        field: ray[field]
        for field in ("image", "env", "volumeMounts", "securityContext")
        if field in ray
    }
    return {"name": "wait-gcs-ready", **copied, "resources": _size("200m", "256Mi")}


def _sidecars(cluster: ClusterSpec, group: Group, autoscaled: bool) -> Iterator[dict[str, Any]]:
    ray = group.pod.ray_container
    autoscaler = {
        "name": "autoscaler",
        "image": ray.image if ray else "",
        "resources": _size("500m", "512Mi"),
    }
    for options in cluster.options:
        if options.name == "ray-history-collector":
            yield dict(options.raw)
        elif autoscaled:
            yield {**autoscaler, **options.raw}
    if autoscaled and not cluster.spec.get("autoscalerOptions"):
        yield autoscaler


def _size(cpu: str, memory: str) -> dict[str, Any]:
    size = {"cpu": cpu, "memory": memory}
    return {"requests": size, "limits": dict(size)}
