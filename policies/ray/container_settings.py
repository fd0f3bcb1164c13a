"""What `authOptions` and `tlsOptions` of a RayCluster add to the containers that KubeRay creates.

Source: `ray-operator/controllers/ray/common/pod.go`, `ray-operator/controllers/ray/utils/util.go`
(KubeRay 1.7).
"""

from collections.abc import Mapping
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.workload import ClusterSpec, Workload

_LONGEST_NAME = 50
# KubeRay's own mTLS in a pod (`configureTLS`).
TLS_VOLUME = "ray-tls"
TLS_MOUNT = {"name": TLS_VOLUME, "mountPath": "/etc/ray/tls", "readOnly": True}
_TLS_VARIABLES = {
    "RAY_USE_TLS": "1",
    "RAY_TLS_SERVER_CERT": "/etc/ray/tls/tls.crt",
    "RAY_TLS_SERVER_KEY": "/etc/ray/tls/tls.key",
    "RAY_TLS_CA_CERT": "/etc/ray/tls/ca.crt",
}


def with_cluster_settings(
    container: Mapping[str, Any], workload: Workload, cluster: ClusterSpec
) -> dict[str, Any]:
    """A container with what the cluster's `authOptions` and `tlsOptions` add to it."""
    authenticated = with_token_settings(container, workload, cluster)
    return _with_tls(authenticated) if cluster.kuberay_tls else authenticated


def with_token_settings(
    container: Mapping[str, Any], workload: Workload, cluster: ClusterSpec
) -> dict[str, Any]:
    """A container with what `authOptions.mode: token` adds to it (`configureTokenAuth`).

    KubeRay does not replace variables that the author has set.
    """
    options = as_dict(cluster.spec.get("authOptions"))
    if options.get("mode") != "token":
        return dict(container)
    added: list[dict[str, Any]] = [{"name": "RAY_AUTH_MODE", "value": "token"}]
    if options.get("enableK8sTokenAuth") is True:
        added.append({"name": "RAY_ENABLE_K8S_TOKEN_AUTH", "value": "true"})
    else:
        secret = as_str(options.get("secretName")) or token_secret_of(workload)
        token = {"secretKeyRef": {"name": secret, "key": "auth_token"}}
        added.append({"name": "RAY_AUTH_TOKEN", "valueFrom": token})
    env = [raw for _, raw in dict_items(container.get("env"))]
    present = {as_str(entry.get("name")) for entry in env}
    missing = [entry for entry in added if entry["name"] not in present]
    return {**container, "env": [*env, *missing]}


def token_secret_of(workload: Workload) -> str:
    """The name of the Secret that KubeRay creates for a RayCluster's token (`CheckName`)."""
    name = workload.name[-_LONGEST_NAME:]
    return name if not name or name[0].isalpha() else f"r{name[1:]}"


def _with_tls(container: Mapping[str, Any]) -> dict[str, Any]:
    """A container with what `tlsOptions.enabled` adds to it (`SetContainerTLSConfig`)."""
    env = [raw for _, raw in dict_items(container.get("env"))]
    present = {as_str(entry.get("name")) for entry in env}
    for name, value in _TLS_VARIABLES.items():
        if name not in present:
            env.append({"name": name, "value": value})
    mounts = [raw for _, raw in dict_items(container.get("volumeMounts"))]
    others = [mount for mount in mounts if mount.get("name") != TLS_VOLUME]
    return {**container, "env": env, "volumeMounts": [*others, dict(TLS_MOUNT)]}
