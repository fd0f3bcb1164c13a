"""Pods as KubeRay sends them: captured from it, made over for a cluster of another name or by another author."""

import copy
import json
import re
from typing import Any

from tests.support.factory import Object, changed, ray_cluster
from tests.support.paths import EXAMPLES

NAMESPACE = "ml-training"
FILES = {"head": "03-kuberay-head-pod.json", "worker": "04-kuberay-worker-pod.json"}
# What has the name of the cluster in it begins with it; `ml-training` and `ray-training` do not.
_CLUSTER_NAME = re.compile(r"(?<![\w-])training(?![\w.])")
_NODE_ADDRESS = re.compile(r" --node-ip-address=\S+")
ACCOUNT = "ray-training"


def service_of(cluster: str) -> str:
    """The name of the head service, as KubeRay makes it."""
    return f"{cluster}-head-svc"


def head_service(cluster: str) -> Object:
    """The head service, headless as KubeRay makes it."""
    selector = {"ray.io/cluster": cluster, "ray.io/node-type": "head"}
    metadata = {"name": service_of(cluster), "namespace": NAMESPACE}
    spec = {"clusterIP": "None", "selector": selector, "ports": [{"name": "gcs", "port": 6379}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def ray_cluster_of(name: str) -> Object:
    """A RayCluster as its author writes it."""
    account = "template/spec/serviceAccountName"
    changes: dict[str, Any] = {
        "/metadata": {"name": name, "namespace": NAMESPACE},
        f"/spec/headGroupSpec/{account}": ACCOUNT,
        f"/spec/workerGroupSpecs/0/{account}": ACCOUNT,
    }
    return changed(ray_cluster(), changes)


def pod_of(cluster: Object, role: str, *, token: bool = True) -> Object:
    """A head or worker of a stored RayCluster, captured but for names and `rayStartParams`.

    Without `token` its author did not ask for Ray's token authentication.
    """
    text = (EXAMPLES / FILES[role]).read_text()
    metadata = cluster["metadata"]
    pod: Object = json.loads(_CLUSTER_NAME.sub(metadata["name"], text))["request"]["object"]
    pod["metadata"]["ownerReferences"][0]["uid"] = metadata["uid"]
    pod["spec"]["serviceAccountName"] = pod["spec"]["serviceAccount"] = ACCOUNT
    groups = cluster["spec"]
    group = groups["headGroupSpec"] if role == "head" else groups["workerGroupSpecs"][0]
    _set_node_address(pod, group["rayStartParams"].get("node-ip-address", ""))
    return pod if token else without_token(pod)


def _set_node_address(pod: Object, address: str) -> None:
    """As KubeRay writes `rayStartParams` into the command of the Ray container."""
    ray = pod["spec"]["containers"][0]
    parameter = f" --node-ip-address={address}" if address else ""
    ray["args"] = [_NODE_ADDRESS.sub(parameter, word) for word in ray["args"]]
    for entry in ray["env"]:
        if "value" in entry:
            entry["value"] = _NODE_ADDRESS.sub(parameter, entry["value"])


def without_token(pod: Object) -> Object:
    """The same pod of an author who wrote no `authOptions`."""
    result = copy.deepcopy(pod)
    for listed in ("containers", "initContainers"):
        for container in result["spec"].get(listed, ()):
            container["env"] = [
                one for one in container["env"] if not one["name"].startswith("RAY_AUTH_")
            ]
    return result


def fitted(pod: Object) -> Object:
    """What a spec says of a real node's size, made to fit here. Nothing else of a command is changed.

    `--num-cpus` is how many worker processes Ray starts ahead of work; `--memory` is more than this machine has;
    `--no-monitor` is there for the autoscaler's container, which does not run here.
    """
    result = copy.deepcopy(pod)
    ray = result["spec"]["containers"][0]
    ray["args"] = [word.replace(" --no-monitor", "") for word in ray["args"]]
    words = [re.sub(r"--num-cpus=[1-9]\d*", "--num-cpus=2", word) for word in ray["args"]]
    ray["args"] = [re.sub(r"--memory=\d+", f"--memory={2**30}", word) for word in words]
    return result
