"""What KubeRay refuses in `authOptions`, `networkPolicy` and `tlsOptions`.

Source: `ValidateRayClusterSpec`, `validateNetworkPolicy`, `validateTLSOptions`.
"""

import re
from collections.abc import Iterator

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, clipped, dict_items
from policies.kuberay.problem import NotAccepted
from policies.kuberay.values import is_dns_label
from policies.ray.operator import KubeRayOperator
from policies.ray.pod import Container
from policies.ray.workload import ClusterSpec

_NETWORK_GATE, _TLS_GATE = "RayClusterNetworkPolicy", "RayClusterMTLS"
_TLS_VARIABLES = ("RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
_TLS_VOLUME, _TLS_PATH = "ray-tls", "/etc/ray/tls"
_TOKENS_SINCE, _KUBERNETES_TOKENS_SINCE = (2, 52), (2, 55)
# `ParseGeneric` of Kubernetes: at least two numbers, whatever follows.
_VERSION = re.compile(r"\s{0,9}v?((?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9}){1,9})")
# What a mode leaves open, and so KubeRay takes no rules for.
_OPEN = {"DenyAllEgress": "ingressRules", "DenyAllIngress": "egressRules"}


def access_refusals(cluster: ClusterSpec, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    """Everything that is wrong with who may reach the cluster."""
    spec = cluster.spec
    if spec.get("authOptions") is not None and kuberay.tokens is not False:
        yield from _authentication(cluster, kuberay)
    if kuberay.is_before(1, 7):
        return
    if spec.get("networkPolicy") is not None:
        yield from _network_policy(cluster, kuberay)
    if spec.get("tlsOptions") is not None:
        yield from _tls(cluster, kuberay)


def _authentication(cluster: ClusterSpec, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    options, place = as_dict(cluster.spec.get("authOptions")), cluster.pointer / "authOptions"
    kubernetes = options.get("enableK8sTokenAuth") is True and not kuberay.is_before(1, 6)
    if options.get("mode") != "token":
        if kubernetes:
            message = (
                "KubeRay (since 1.6) refuses authOptions.enableK8sTokenAuth without mode: token"
            )
            yield NotAccepted(message, place, "set mode: token")
        return
    version = _ray_version(cluster)
    if not version or version < _TOKENS_SINCE:
        yield NotAccepted(
            "KubeRay refuses authOptions.mode: token without a rayVersion of 2.52.0 or later",
            place / "mode",
            "write the version of the image as rayVersion, 2.52.0 or later",
        )
    elif kubernetes and version < _KUBERNETES_TOKENS_SINCE:
        yield NotAccepted(
            "KubeRay (since 1.6) refuses authOptions.enableK8sTokenAuth without a rayVersion of "
            "2.55.0 or later",
            place / "enableK8sTokenAuth",
            "remove enableK8sTokenAuth",
        )
    if kubernetes and options.get("secretName"):
        message = "KubeRay (since 1.6) refuses authOptions.secretName beside enableK8sTokenAuth"
        yield NotAccepted(message, place / "secretName", "remove secretName")


def _ray_version(cluster: ClusterSpec) -> tuple[int, ...]:
    """The numbers of `rayVersion`; empty if it is no version."""
    match = _VERSION.match(as_str(cluster.spec.get("rayVersion")))
    return tuple(int(number) for number in match[1].split(".")) if match else ()


def _network_policy(cluster: ClusterSpec, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    policy, place = as_dict(cluster.spec.get("networkPolicy")), cluster.pointer / "networkPolicy"
    if kuberay.is_off(_NETWORK_GATE):
        message = f"KubeRay refuses networkPolicy without its feature gate {_NETWORK_GATE}"
        yield NotAccepted(message, place, "remove networkPolicy")
        return
    names = {group.name for group in cluster.groups[1:]}
    for group in cluster.groups[1:]:
        if not is_dns_label(group.name):
            yield NotAccepted(
                f"KubeRay refuses networkPolicy with the name of the {group.title}: it must be a "
                "DNS label",
                group.pointer / "groupName",
                "write a groupName of lower-case letters, digits and hyphens",
            )
    parts = [(name, as_dict(policy.get(name)), place / name) for name in ("head", "worker")]
    for index, part in dict_items(policy.get("workerGroups")):
        parts.append(("workerGroups", part, place / "workerGroups" / index))
        if as_str(part.get("groupName")) not in names:
            name = clipped(as_str(part.get("groupName")), 60)
            yield NotAccepted(
                f"KubeRay refuses networkPolicy.workerGroups: no worker group is called {name}",
                place / "workerGroups" / index / "groupName",
                "write the groupName of a worker group",
            )
    mode = as_str(policy.get("mode"))
    rules = _OPEN.get(mode, "")
    for name, part, where in parts:
        if rules and part.get(rules):
            message = f"KubeRay refuses networkPolicy.{name}.{rules} in the mode {mode}"
            yield NotAccepted(message, where / rules, f"remove {rules}")


def _tls(cluster: ClusterSpec, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    if kuberay.is_off(_TLS_GATE):
        message = f"KubeRay refuses tlsOptions without its feature gate {_TLS_GATE}"
        yield NotAccepted(message, cluster.pointer / "tlsOptions", "remove tlsOptions")
        return
    if not cluster.kuberay_tls:
        return
    for group in cluster.groups:
        if group.pod.ray_container:
            yield from _own_tls(group.pod.ray_container, f"the {group.title}")
    place: Pointer = cluster.pointer / "autoscalerOptions"
    options = Container(as_dict(cluster.spec.get("autoscalerOptions")), place, "options")
    yield from _own_tls(options, "autoscalerOptions")


def _own_tls(container: Container, where: str) -> Iterator[NotAccepted]:
    """What KubeRay itself writes into a container for its TLS."""
    for name in _TLS_VARIABLES:
        if name in container.variables.names:
            message = f"KubeRay refuses {name} in {where} beside tlsOptions"
            yield NotAccepted(message, container.pointer / "env", f"remove {name} from env")
    for index, mount in container.mounts:
        if mount.get("name") == _TLS_VOLUME or mount.get("mountPath") == _TLS_PATH:
            yield NotAccepted(
                f"KubeRay mounts {_TLS_VOLUME} at {_TLS_PATH} itself, and refuses another mount in "
                f"{where}",
                container.pointer / "volumeMounts" / index,
                "use another name and another mountPath",
            )
