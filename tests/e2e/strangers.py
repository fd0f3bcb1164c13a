"""Pods nobody sent to us: a stranger in the network, and Ray as it is without us."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.captured import NAMESPACE, fitted, pod_of, ray_cluster_of, without_token
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.ray_cluster import PROGRAMS, wait_ready
from tests.e2e.running import Said
from tests.support.factory import IMAGE, Object

LOOT = "/loot"
OWN_TLS = "/own-tls"


def launched(kubelet: Kubelet, pod: Object) -> RunningPod:
    """A pod that is not the API server's: this kubelet has it from nowhere."""
    return kubelet.launch(kubelet.prepare(pod, next(kubelet.api.free_addresses())))


@dataclass(frozen=True)
class Stranger:
    """A pod in the cluster's network, in no Ray cluster; it has Ray's programs, and files it came by somehow."""

    pod: RunningPod

    @classmethod
    def come(cls, kubelet: Kubelet) -> "Stranger":
        mounts = [{"name": "loot", "mountPath": LOOT}]
        container = {
            "name": "shell",
            "image": IMAGE,
            "command": ["sleep", "infinity"],
            "volumeMounts": mounts,
        }
        spec = {"containers": [container], "volumes": [{"name": "loot", "emptyDir": {}}]}
        return cls(
            launched(
                kubelet, {"metadata": {"name": "stranger", "namespace": NAMESPACE}, "spec": spec}
            )
        )

    def take(self, name: str, files: dict[str, bytes]) -> None:
        """Have files, in a folder of this name."""
        folder = self.pod.volume("loot") / name
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
            (folder / file).chmod(0o644)

    def run(self, program: str, *arguments: str, seconds: float = 60, **environment: str) -> Said:
        """One of the programs beside this file."""
        command = ("python", str(PROGRAMS / f"{program}.py"), *arguments)
        return self.pod.ray.execute(*command, seconds=seconds, **environment)


def head_without_us(
    kubelet: Kubelet, name: str, tls: Callable[[str], dict[str, bytes]] | None = None
) -> RunningPod:
    """A head as KubeRay makes it where nobody mutates it: in plaintext, or with TLS.

    `tls` gives the files its author made for an address.
    """
    pod = without_token(pod_of(_unmutated(name), "head"))
    spec = pod["spec"] = copy.deepcopy(pod["spec"])
    pod["metadata"]["name"] = name
    ray = spec["containers"][0]
    ray["volumeMounts"] = [
        mount for mount in ray["volumeMounts"] if not mount["name"].startswith("kube-api-access")
    ]
    spec["volumes"] = [volume for volume in spec["volumes"] if "emptyDir" in volume]
    if tls:
        ray["env"] += [
            {"name": name, "value": value} for name, value in tls_variables(OWN_TLS).items()
        ]
        ray["volumeMounts"].append({"name": "own-tls", "mountPath": OWN_TLS})
        spec["volumes"].append({"name": "own-tls", "emptyDir": {}})
    head = kubelet.prepare(fitted(pod), next(kubelet.api.free_addresses()))
    for file, content in (tls(head.address) if tls else {}).items():
        _give(head.volume("own-tls") / file, content)
    kubelet.launch(head)
    wait_ready(head)
    return head


def tls_variables(folder: str) -> dict[str, str]:
    """What turns Ray's TLS on, with files of this folder."""
    names = {
        "RAY_TLS_SERVER_CERT": "tls.crt",
        "RAY_TLS_SERVER_KEY": "tls.key",
        "RAY_TLS_CA_CERT": "ca.crt",
    }
    return {"RAY_USE_TLS": "1", **{name: f"{folder}/{file}" for name, file in names.items()}}


def _unmutated(name: str) -> Object:
    cluster = ray_cluster_of(name)
    return {**cluster, "metadata": {**cluster["metadata"], "uid": ""}}


def _give(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    file.chmod(0o644)
