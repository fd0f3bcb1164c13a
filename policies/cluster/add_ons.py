"""KubeRay's add-ons that show or change everybody's clusters without asking who calls.

Sources: KubeRay 1.7, `helm-chart/kuberay-apiserver`, `apiserver/deploy/base`,
`historyserver/config`.
"""

from policies.cluster.state import LiveService

_API_SERVER = "kuberay-apiserver"
# The ports of the security proxy beside the API server, which asks for a token.
_PROXY_PORTS = (8988, 8987)
_HISTORY_SERVER = "historyserver"
_HISTORY_PORT = 8080


def add_on_behind(service: LiveService) -> str:
    """The add-on that a Service leads to, or an empty string. Their pods are known by labels."""
    values, targets = service.selector.values(), service.ports.values()
    if _API_SERVER in values and any(target not in _PROXY_PORTS for target in targets):
        return "KubeRay's API server"
    if _HISTORY_SERVER in values and _HISTORY_PORT in targets:
        return "KubeRay's history server"
    return ""
