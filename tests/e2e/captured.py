"""Pods captured from KubeRay, adapted to another cluster name and to other options."""

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from tests.support.factory import Object, changed, ray_cluster
from tests.support.paths import EXAMPLES

NAMESPACE = "ml-training"
FILES = {"head": "03-kuberay-head-pod.json", "worker": "04-kuberay-worker-pod.json"}
# Names that derive from the cluster start with its name. `ml-training` and `ray-training` are other
# names and must stay.
_CLUSTER_NAME = re.compile(r"(?<![\w-])training(?![\w.])")
_NODE_ADDRESS = re.compile(r" --node-ip-address=\S+")
ACCOUNT = "ray-training"


def service_of(cluster: str) -> str:
    """The name that KubeRay gives to the head service."""
    return f"{cluster}-head-svc"


def head_service(cluster: str) -> Object:
    """The head service as KubeRay creates it, which is headless."""
    selector = {"ray.io/cluster": cluster, "ray.io/node-type": "head"}
    metadata = {"name": service_of(cluster), "namespace": NAMESPACE}
    spec = {"clusterIP": "None", "selector": selector, "ports": [{"name": "gcs", "port": 6379}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def ray_cluster_of(name: str, more: Mapping[str, Any] | None = None) -> Object:
    """A RayCluster as its author writes it, with more changes by pointer.

    By default it has no choice about authentication.
    """
    account = "template/spec/serviceAccountName"
    changes: dict[str, Any] = {
        "/metadata": {"name": name, "namespace": NAMESPACE},
        "/spec/authOptions": None,
        f"/spec/headGroupSpec/{account}": ACCOUNT,
        f"/spec/workerGroupSpecs/0/{account}": ACCOUNT,
    }
    return changed(ray_cluster(), {**changes, **(more or {})})


def pod_of(cluster: Object, role: str, *, token: bool = True) -> Object:
    """A captured head or worker pod, with the names and `rayStartParams` of a stored RayCluster.

    It has a token if the RayCluster was stored with `authOptions`, as KubeRay does; with `token`
    false, the author has turned that off.
    """
    text = (EXAMPLES / FILES[role]).read_text()
    metadata = cluster["metadata"]
    pod: Object = json.loads(_CLUSTER_NAME.sub(metadata["name"], text))["request"]["object"]
    pod["metadata"]["ownerReferences"][0]["uid"] = metadata["uid"]
    pod["spec"]["serviceAccountName"] = pod["spec"]["serviceAccount"] = ACCOUNT
    groups = cluster["spec"]
    group = groups["headGroupSpec"] if role == "head" else groups["workerGroupSpecs"][0]
    _set_node_address(pod, group["rayStartParams"].get("node-ip-address", ""))
    return pod if token and groups.get("authOptions") else without_token(pod)


def _set_node_address(pod: Object, address: str) -> None:
    """Write the parameter into the command of the Ray container, as KubeRay does."""
    ray = pod["spec"]["containers"][0]
    parameter = f" --node-ip-address={address}" if address else ""
    ray["args"] = [_NODE_ADDRESS.sub(parameter, word) for word in ray["args"]]
    for entry in ray["env"]:
        if "value" in entry:
            entry["value"] = _NODE_ADDRESS.sub(parameter, entry["value"])


def without_token(pod: Object) -> Object:
    """The pod of a RayCluster without `authOptions`."""
    result = copy.deepcopy(pod)
    for field in ("containers", "initContainers"):
        for container in result["spec"].get(field, ()):
            container["env"] = [
                entry for entry in container["env"] if not entry["name"].startswith("RAY_AUTH_")
            ]
    return result


def fitted(pod: Object, *, autoscaling: bool = False) -> Object:
    """The pod with the size of a real node adapted to this machine; nothing else changes.

    Ray starts `--num-cpus` worker processes in advance, and `--memory` exceeds this machine.
    `--no-monitor` needs the autoscaler's container, which does not run unless `autoscaling`.
    """
    result = copy.deepcopy(pod)
    ray = result["spec"]["containers"][0]
    if not autoscaling:
        ray["args"] = [word.replace(" --no-monitor", "") for word in ray["args"]]
    words = [re.sub(r"--num-cpus=[1-9]\d*", "--num-cpus=2", word) for word in ray["args"]]
    ray["args"] = [re.sub(r"--memory=\d+", f"--memory={2**30}", word) for word in words]
    return result
