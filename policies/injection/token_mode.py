"""Whether Ray asks its callers for a token, by what the object says and by what RayWarden adds."""

from policies.injection.token_choice import Auth, token_choice
from policies.model import Facts
from policies.ray.auth import MODE, TOKEN_MODE, has_token_mode, mode_of
from policies.ray.pod import Container, Pod, PodRole
from policies.ray.workload import ClusterSpec, Workload

_WITHOUT_RAY = (PodRole.SUBMITTER, PodRole.CLEANUP)


def pods_that_speak_ray(workload: Workload) -> list[Pod]:
    """The pods that serve Ray's ports or connect to them."""
    return [pod for pod in workload.pods if pod.role not in _WITHOUT_RAY and pod.ray_container]


def requires_token(workload: Workload, facts: Facts) -> bool:
    """Every Ray pod of the workload requires a token; false for a workload without such a pod."""
    pods = pods_that_speak_ray(workload)
    containers = [pod.ray_container for pod in pods if pod.ray_container]
    cluster = workload.cluster
    by_kuberay = cluster is not None and gets_token_mode(cluster, workload, facts)
    return bool(containers) and all(_has_token_mode(ray, by_kuberay) for ray in containers)


def gets_token_mode(cluster: ClusterSpec, workload: Workload, facts: Facts) -> bool:
    """The cluster sets token mode, or the mutation `auth-token` will set it on the RayCluster."""
    if mode_of(cluster) == TOKEN_MODE:
        return True
    if workload.kind == "RayCluster" or cluster.spec.get("authOptions") is not None:
        return False
    return token_choice(workload, facts).auth is not Auth.NONE


def _has_token_mode(container: Container, by_kuberay: bool) -> bool:
    """KubeRay keeps a mode that the author wrote."""
    return has_token_mode(container) if MODE in container.variables.names else by_kuberay
