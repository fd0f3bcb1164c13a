"""Which pods need a token for the Kubernetes API, and which have one."""

from collections.abc import Iterator

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.injection.contract import (
    API_TOKEN_DIRECTORY,
    API_TOKEN_VOLUME,
    TOKEN_VOLUME,
    is_completed_later,
)
from policies.model import Facts
from policies.ray.auth import KUBERNETES_TOKENS, uses_kubernetes_tokens
from policies.ray.dashboard_proxy import has_dashboard_proxy
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload

# The names that K3s and RKE2 give to their API server.
_DISTRIBUTIONS = ("k3s", "rke2")
# Tokens for Google Cloud from other clusters: the only usual audience of another service that is a
# URL.
_GOOGLE_CLOUD = "https://iam.googleapis.com/"


def needs_token(pod: Pod, workload: Workload) -> bool:
    """The pod runs an autoscaler, or checks its users' tokens with the API server.

    The autoscaler changes the RayCluster through the Kubernetes API.
    """
    cluster = workload.cluster
    if cluster and cluster.kubernetes_tokens:
        return True
    if pod.role is PodRole.HEAD:
        if cluster and cluster.autoscaling:
            return True
        if pod.container("autoscaler"):
            return True
    return any(KUBERNETES_TOKENS in container.variables.names for container in pod.ray_containers)


def has_token(pod: Pod) -> bool:
    """The API server has already mounted a token, as it does by default.

    RayWarden mounts its own token at the same path, which the API server does not accept.
    """
    return any(
        mount.get("mountPath") == API_TOKEN_DIRECTORY and mount.get("name") != TOKEN_VOLUME
        for container in pod.containers
        for _, mount in container.mounts
    )


def can_use_api(pod: Pod, workload: Workload, facts: Facts) -> bool:
    """The pod has a token for the Kubernetes API, or will have one when it starts."""
    cluster = workload.cluster
    # KubeRay then mounts a token whatever the field says (`configureTokenAuth`, KubeRay 1.7).
    if cluster and cluster.kubernetes_tokens:
        return True
    chosen = pod.spec.get("automountServiceAccountToken")
    if chosen is not None:
        return chosen is not False or projects_token(pod)
    if workload.kind == "Pod":
        return has_token(pod) or projects_token(pod)
    # In pods without a RayCluster, the API server mounts a token before RayWarden sees them.
    if cluster is None or pod.role is PodRole.SUBMITTER or needs_token(pod, workload):
        return True
    # RayWarden sets the field to false when KubeRay creates the RayCluster.
    return not is_completed_later(pod, workload, facts) or projects_token(pod)


def projects_token(pod: Pod) -> bool:
    """A volume of the pod is a token for the API server, and for no other service.

    That of RayWarden's dashboard proxy does not count: `reserved-names` keeps it out of Ray's
    containers, which cannot read the files of another container's processes either.
    """
    shares_processes = pod.spec.get("shareProcessNamespace") is True
    for _, volume in pod.volumes:
        if volume.get("name") == API_TOKEN_VOLUME and not shares_processes:
            continue
        for _, source in dict_items(as_dict(volume.get("projected")).get("sources")):
            token = source.get("serviceAccountToken")
            if isinstance(token, dict) and _may_be_of_api_server(as_str(token.get("audience"))):
                return True
    return False


def _may_be_of_api_server(audience: str) -> bool:
    """The API server may accept a token for this audience.

    Its own audience is its issuer: usually kubernetes.default.svc, and on GKE and AKS another URL.
    """
    if not audience or "kubernetes" in audience or audience in _DISTRIBUTIONS:
        return True
    return audience.startswith("https://") and not audience.startswith(_GOOGLE_CLOUD)


def token_reviewers(workload: Workload) -> Iterator[tuple[str, Pointer]]:
    """The service accounts of the pods whose Ray checks tokens with the API server.

    A pod that KubeRay creates was checked as part of its RayCluster.
    """
    cluster = workload.cluster
    if workload.is_kuberay_pod:
        return
    for pod in workload.pods:
        if pod.ray_container and uses_kubernetes_tokens(pod.ray_container, cluster):
            yield _account(pod, workload), pod.spec_pointer / "serviceAccountName"


def dashboard_reviewer(workload: Workload) -> tuple[str, Pointer] | None:
    """The service account of the head whose dashboard proxy checks tokens with the API server."""
    if workload.is_kuberay_pod:
        return None
    for pod in workload.pods:
        if has_dashboard_proxy(pod):
            return _account(pod, workload), pod.spec_pointer / "serviceAccountName"
    return None


def _account(pod: Pod, workload: Workload) -> str:
    account, cluster = as_str(pod.spec.get("serviceAccountName")) or "default", workload.cluster
    # KubeRay's `GetHeadGroupServiceAccountName`, for the autoscaler.
    is_autoscaler = pod.role is PodRole.HEAD and cluster is not None and cluster.autoscaling
    return workload.name if account == "default" and is_autoscaler else account
