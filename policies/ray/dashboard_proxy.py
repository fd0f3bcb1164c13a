"""RayWarden's proxy beside Ray's dashboard, as pods and templates show it."""

from policies.ray.pod import Pod, PodRole

DASHBOARD_PROXY = "raywarden-dashboard-proxy"
# Holds the proxy's authorization, which the proxy reads through the downward API.
AUTHORIZATION_ANNOTATION = "raywarden.io/dashboard-authorization"


def has_dashboard_proxy(pod: Pod) -> bool:
    """RayWarden's proxy runs beside this head, or RayWarden adds it to the pods of this template.

    The annotation alone says so, because it is all that a template in `marker` mode has.
    """
    return pod.role is PodRole.HEAD and AUTHORIZATION_ANNOTATION in pod.annotations
