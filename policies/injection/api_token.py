"""Which pods need a token for the Kubernetes API, and which have one."""

from policies.documents.untyped import as_dict
from policies.injection.contract import API_TOKEN_DIRECTORY
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload


def needs_token(pod: Pod, workload: Workload) -> bool:
    """The pod runs an autoscaler, or checks its users' tokens with the API server.

    The autoscaler changes the RayCluster through the Kubernetes API.
    """
    cluster = workload.cluster
    if cluster and as_dict(cluster.spec.get("authOptions")).get("enableK8sTokenAuth") is True:
        return True
    if pod.role is PodRole.HEAD:
        if cluster and cluster.autoscaling:
            return True
        if pod.container("autoscaler"):
            return True
    return any(
        "RAY_ENABLE_K8S_TOKEN_AUTH" in container.variable_names for container in pod.ray_containers
    )


def has_token(pod: Pod) -> bool:
    """The API server has already mounted a token, as it does by default."""
    return any(
        mount.get("mountPath") == API_TOKEN_DIRECTORY
        for container in pod.containers
        for _, mount in container.mounts
    )
