"""Ray without KubeRay: pods of Deployments and StatefulSets, as their controllers create them."""

import copy
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.api import Api
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.name_server import NameServer
from tests.support.factory import Object
from tests.support.paths import EXAMPLES

WITH_RAYWARDEN = EXAMPLES / "hardened" / "deployment.yaml"
WITH_CERT_MANAGER = EXAMPLES / "cert-manager" / "ray.yaml"
_CONTROLLERS = ("Deployment", "StatefulSet")
# A worker takes some seconds on an idle machine; a busy one may need much longer.
_START_SECONDS = 300
_MAX_STARTS = 4
_DOMAIN = "svc.cluster.local"
_GET = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(sys.argv[1], timeout=float(sys.argv[2])).read().decode())
"""


def documents_of(example: Path) -> list[Object]:
    """The objects of an example, in the order of the file."""
    return list(yaml.safe_load_all(example.read_text()))


def pods_of(documents: Sequence[Object]) -> Iterator[Object]:
    """The pods that the controllers create, with their names, in the order of the documents."""
    for document in documents:
        if document["kind"] not in _CONTROLLERS:
            continue
        name, namespace = (document["metadata"][part] for part in ("name", "namespace"))
        template = document["spec"]["template"]
        # Any name that differs will do for the random ones of a Deployment.
        middle = "" if document["kind"] == "StatefulSet" else "5d9f-"
        for index in range(document["spec"].get("replicas", 1)):
            metadata = {"name": f"{name}-{middle}{index}", "namespace": namespace}
            yield copy.deepcopy(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {**template["metadata"], **metadata},
                    "spec": template["spec"],
                }
            )


@dataclass
class DeployedCluster:
    """The running pods of an example."""

    kubelet: Kubelet
    names: NameServer
    documents: Sequence[Object]
    pods: list[RunningPod] = field(default_factory=list)

    @property
    def api(self) -> Api:
        return self.kubelet.api

    def start(self) -> None:
        """Store all objects, start the pods of each role in turn, and wait until they are ready."""
        self.api.make_objects(self.documents)
        pods = list(pods_of(self.documents))
        for role in ("head", "worker", "client"):
            members = [pod for pod in pods if _role(pod) == role]
            with ThreadPoolExecutor(len(members)) as pool:
                self.pods += pool.map(self._start, members)

    def of_role(self, role: str) -> list[RunningPod]:
        """The running pods of a role."""
        return [pod for pod in self.pods if _role(pod.pod) == role]

    def stop(self) -> None:
        for pod in reversed(self.pods):
            self.kubelet.stop(pod)
        self.pods = []

    def _start(self, pod: Object) -> RunningPod:
        stored = _fitted(self.api.make_pod(pod))
        address = self.api.place(stored)
        self._publish(stored, address)
        running = self.kubelet.start(stored, address)
        self._wait_ready(running)
        return running

    def _wait_ready(self, pod: RunningPod) -> None:
        """Wait until the readiness probe succeeds. As on a node, what ends is started again.

        Ray starts a server for each Ray Client and gives up after half a minute, which a busy
        machine may exceed. Then the web server ends.
        """
        for _ in range(_MAX_STARTS):
            if is_answering(pod):
                return
            self.kubelet.restart(pod)
        raise AssertionError(f"{pod.name} is not ready\n{_log(pod)}")

    def _publish(self, pod: Object, address: str) -> None:
        """Resolve the names of headless Services: that of the Service, and that of each pod."""
        labels = pod["metadata"]["labels"].items()
        for document in self.documents:
            if document["kind"] == "Service" and document["spec"]["selector"].items() <= labels:
                metadata = document["metadata"]
                service = f"{metadata['name']}.{metadata['namespace']}.{_DOMAIN}"
                for name in (service, f"{pod['metadata']['name']}.{service}"):
                    self.names.records[name] = address


def get(pod: RunningPod, url: str, seconds: float) -> tuple[int, str]:
    """The answer to a GET from within a pod: 0 and the text, or another code and the error."""
    result = pod.ray.execute("python", "-c", _GET, url, str(seconds), seconds=seconds + 5)
    return result.code, result.text


def is_answering(pod: RunningPod) -> bool:
    """Wait until the readiness probe of the pod succeeds; false if its container ends instead."""
    probe = pod.pod["spec"]["containers"][0]["readinessProbe"]["httpGet"]
    url = f"http://{pod.address}:{probe['port']}{probe['path']}"
    deadline = time.monotonic() + _START_SECONDS
    answer = (1, "")
    while not pod.ray.ended:
        answer = get(pod, url, seconds=10)
        if answer[0] == 0:
            return True
        assert time.monotonic() < deadline, f"{pod.name}: {answer[1][-500:]}\n{_log(pod)}"
        time.sleep(0.3)
    return False


def _log(pod: RunningPod) -> str:
    return pod.ray.log.read_text(errors="replace")[-5000:]


def _role(pod: Object) -> str:
    return str(pod["metadata"]["labels"]["raywarden.io/role"])


def _fitted(pod: Object) -> Object:
    """The pod with the size of a real node adapted to this machine; nothing else changes."""
    result = copy.deepcopy(pod)
    ray: dict[str, Any] = result["spec"]["containers"][0]
    words = ray["command"]
    ray["command"] = [re.sub(r"--num-cpus=[1-9]\d*", "--num-cpus=2", word) for word in words]
    return result
