"""The versions that the cluster runs, and what they can do."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.node.kubectl import CommandError, Kubectl
from tests.support.factory import Object

_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")
_OPERATOR = "app.kubernetes.io/component=kuberay-operator"
_GATES = "--feature-gates="
# Before this version KubeRay knows no SidecarMode.
OLDEST_KUBERAY = (1, 5)
NO_KUBERAY = (
    "KubeRay is not installed here: no CustomResourceDefinition rayclusters.ray.io. "
    "Install its operator first (helm install kuberay-operator kuberay/kuberay-operator)"
)
_NO_OPERATOR = (
    "KubeRay's CRDs are here, but no Deployment with the label "
    f"{_OPERATOR} has a ready pod. Install the operator, or wait until it is ready"
)


class UnfitClusterError(Exception):
    """The cluster has not what a run needs; the text says what to do."""


@dataclass(frozen=True)
class Versions:
    """The versions of Kubernetes and KubeRay, and settings that differ from the usual ones."""

    kubernetes: str
    kuberay: str
    settings: tuple[str, ...]


def version_in(text: str) -> str:
    """The version in a tag or a version of Kubernetes such as v1.36.2-gke.1; empty if none is."""
    match = _VERSION.match(text)
    return match[1] if match else ""


def discover(kubectl: Kubectl) -> Versions:
    """Ask the cluster; raises `UnfitClusterError` if KubeRay does not run there."""
    try:
        answer = json.loads(kubectl.must("version", "--output=json"))
    except CommandError as failure:
        raise UnfitClusterError(f"the API server does not answer: {failure}") from None
    if not kubectl.get("customresourcedefinition", "rayclusters.ray.io"):
        raise UnfitClusterError(NO_KUBERAY)
    operators = kubectl.list("deployments.apps", labels=_OPERATOR)
    ready = [operator for operator in operators if operator["status"].get("readyReplicas")]
    if not ready:
        raise UnfitClusterError(_NO_OPERATOR)
    container: Object = ready[0]["spec"]["template"]["spec"]["containers"][0]
    kuberay = version_in(container["image"].rpartition(":")[2])
    if kuberay and tuple(map(int, kuberay.split(".")))[:2] < OLDEST_KUBERAY:
        raise UnfitClusterError(f"KubeRay {kuberay} is too old: RayWarden needs 1.5 or later")
    kubernetes = version_in(answer["serverVersion"]["gitVersion"])
    return Versions(kubernetes, kuberay, tuple(sorted(_settings(container))))


def _settings(container: Mapping[str, list[str]]) -> Iterator[str]:
    for argument in [*container.get("command", []), *container.get("args", [])]:
        if argument.startswith(_GATES):
            yield from (gate for gate in argument.removeprefix(_GATES).split(",") if gate)
