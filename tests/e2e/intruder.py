"""Pods that RayWarden never saw: an intruder in the network, and Ray without RayWarden."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.captured import NAMESPACE, fitted, pod_of, ray_cluster_of, without_token
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.ray_cluster import PROGRAMS, wait_ready
from tests.e2e.running import CommandResult
from tests.support.factory import IMAGE, Object

LOOT = "/loot"
OWN_TLS = "/own-tls"


def launched(kubelet: Kubelet, pod: Object) -> RunningPod:
    """Run a pod that no API server has stored."""
    return kubelet.launch(kubelet.prepare(pod, next(kubelet.api.free_addresses())))


@dataclass(frozen=True)
class Intruder:
    """A pod in the same network that belongs to no Ray cluster.

    It has Ray's programs, and files that an attacker may have obtained.
    """

    pod: RunningPod

    @classmethod
    def start(cls, kubelet: Kubelet) -> "Intruder":
        mounts = [{"name": "loot", "mountPath": LOOT}]
        container = {
            "name": "shell",
            "image": IMAGE,
            "command": ["sleep", "infinity"],
            "volumeMounts": mounts,
        }
        spec = {"containers": [container], "volumes": [{"name": "loot", "emptyDir": {}}]}
        metadata = {"name": "intruder", "namespace": NAMESPACE}
        return cls(launched(kubelet, {"metadata": metadata, "spec": spec}))

    def take(self, name: str, files: dict[str, bytes]) -> None:
        """Give the intruder files, in a folder with this name."""
        folder = self.pod.volume("loot") / name
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
            (folder / file).chmod(0o644)

    def run(
        self, program: str, *arguments: str, seconds: float = 60, **environment: str
    ) -> CommandResult:
        """Run one of the programs in `tests/e2e/programs`."""
        command = ("python", str(PROGRAMS / f"{program}.py"), *arguments)
        return self.pod.ray.execute(*command, seconds=seconds, **environment)


def head_without_raywarden(
    kubelet: Kubelet, name: str, tls: Callable[[str], dict[str, bytes]] | None = None
) -> RunningPod:
    """Start a head that RayWarden has not mutated: in plaintext, or with TLS of its author.

    `tls` returns the files of the author for an address.
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
        variables = tls_variables(OWN_TLS)
        ray["env"] += [{"name": name, "value": value} for name, value in variables.items()]
        ray["volumeMounts"].append({"name": "own-tls", "mountPath": OWN_TLS})
        spec["volumes"].append({"name": "own-tls", "emptyDir": {}})
    head = kubelet.prepare(fitted(pod), next(kubelet.api.free_addresses()))
    files = tls(head.address) if tls else {}
    for file, content in files.items():
        _write(head.volume("own-tls") / file, content)
    kubelet.launch(head)
    wait_ready(head)
    return head


def tls_variables(folder: str) -> dict[str, str]:
    """The variables that turn on Ray's TLS, with the files of a folder."""
    names = {
        "RAY_TLS_SERVER_CERT": "tls.crt",
        "RAY_TLS_SERVER_KEY": "tls.key",
        "RAY_TLS_CA_CERT": "ca.crt",
    }
    return {"RAY_USE_TLS": "1", **{name: f"{folder}/{file}" for name, file in names.items()}}


def _unmutated(name: str) -> Object:
    cluster = ray_cluster_of(name)
    return {**cluster, "metadata": {**cluster["metadata"], "uid": ""}}


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    file.chmod(0o644)
