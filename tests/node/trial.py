"""One run against a cluster: what all steps use."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.node.kubectl import Ended, Kubectl, run_program
from tests.node.manifests import RayImage
from tests.node.progress import Progress
from tests.node.result import StepError
from tests.support.factory import Object

# From an image that is on the node. One that must be pulled needs --patience.
READY_SECONDS = 300.0
_FORWARD_SECONDS = 15.0
# Reasons for which a container waits, and that time alone does not mend.
_STUCK = ("ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName")


@dataclass(frozen=True)
class Images:
    """The images of a run: RayWarden's, its init container's, and Ray's."""

    server: str
    enroll: str
    ray: RayImage


@dataclass(frozen=True)
class Trial:
    """The cluster, the images, and a folder for files of the run."""

    kubectl: Kubectl
    progress: Progress
    images: Images
    folder: Path

    def wait_pods(
        self, what: str, namespace: str, labels: str, number: int, seconds: float = READY_SECONDS
    ) -> list[Object]:
        """Wait until so many pods are ready; returns them."""
        self.progress.wait(
            what, seconds, lambda: self.missing_pods(namespace, labels, number),
            f"kubectl -n {namespace} describe pods -l {labels}",
        )  # fmt: skip
        return [pod for pod in self.pods(namespace, labels) if is_ready(pod)]

    def pods(self, namespace: str, labels: str) -> list[Object]:
        """Pods that are not being deleted."""
        found = self.kubectl.list("pods", namespace, labels)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def missing_pods(self, namespace: str, labels: str, number: int) -> str:
        """What is missing until exactly so many pods are ready; empty if nothing is."""
        pods = self.pods(namespace, labels)
        self.refuse_stuck(namespace, pods)
        if len(pods) == number and all(map(is_ready, pods)):
            return ""
        states = [f"{pod['metadata']['name']}: {state_of(pod)}" for pod in pods]
        return ", ".join(states) or f"no pod with {labels} in {namespace}"

    def refuse_stuck(self, namespace: str, pods: list[Object]) -> None:
        """Fail at once where a node cannot get an image."""
        for pod in pods:
            for status in statuses(pod):
                waiting = status.get("state", {}).get("waiting", {})
                if waiting.get("reason") in _STUCK:
                    image = status["image"]
                    raise StepError(
                        f"{namespace}/{pod['metadata']['name']} cannot get the image {image}: "
                        f"{waiting['reason']}",
                        f"load it into the nodes: kind load docker-image {image} (minikube image "
                        "load), or name another by IMAGE=... and RAY_IMAGE=...",
                    )

    def raywarden(self, *arguments: str, namespace: str, seconds: float = 120) -> Ended:
        """Run a `raywarden` command, as an administrator does."""
        program = ["env", f"RAYWARDEN_NAMESPACE={namespace}", sys.executable, "-m", "webhook"]
        return run_program([*program, *arguments], "", seconds)

    def python(self, namespace: str, pod: str, script: str, seconds: float = 120) -> str:
        """Run a Python script in the first container of a pod, and return what it prints."""
        ended = self.kubectl.execute(namespace, pod, "python", "-", given=script, seconds=seconds)
        if ended.code:
            said = " ".join((ended.errors or ended.output).split()[-60:])
            raise StepError(
                f"a program in {namespace}/{pod} failed: {said}",
                f"kubectl -n {namespace} logs {pod} --all-containers --tail=50",
            )
        return ended.output.strip()

    @contextmanager
    def forwarded(self, namespace: str, pod: str, *ports: int) -> Iterator[None]:
        """Forward ports of a pod to the same ports of this machine."""
        for port in ports:
            if _is_open(port):
                raise StepError(
                    f"port {port} of this machine is in use, so that of {pod} cannot be forwarded",
                    f"end the program that listens there (ss -ltnp 'sport = :{port}')",
                )
        command = [self.kubectl.program, "port-forward", f"--namespace={namespace}", f"pod/{pod}"]
        forwarder = subprocess.Popen(
            [*command, *map(str, ports)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + _FORWARD_SECONDS
            while not all(map(_is_open, ports)) and time.monotonic() < deadline:
                time.sleep(0.2)
            yield
        finally:
            forwarder.terminate()
            forwarder.wait(10)


def is_ready(pod: Object) -> bool:
    """Whether the kubelet says that a pod is ready."""
    conditions = pod["status"].get("conditions", [])
    return any((entry["type"], entry["status"]) == ("Ready", "True") for entry in conditions)


def statuses(pod: Object) -> list[dict[str, Any]]:
    """The statuses of all containers of a pod."""
    status = pod["status"]
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def state_of(pod: Object) -> str:
    """The phase of a pod, and which containers wait or ended and why."""
    reasons = []
    for status in statuses(pod):
        state = status.get("state", {})
        ended = state.get("terminated", {})
        reason = state.get("waiting", {}).get("reason") or (
            ended.get("exitCode") and f"exit code {ended['exitCode']}"
        )
        if reason:
            reasons.append(f"{status['name']} {reason}")
    for condition in pod["status"].get("conditions", []):
        if condition.get("reason") == "Unschedulable":
            reasons.append(condition.get("message", "unschedulable"))
    phase = str(pod["status"].get("phase", "Unknown"))
    return f"{phase} ({'; '.join(reasons)})" if reasons else phase


def findings(ended: Ended) -> list[tuple[str, dict[str, str]]]:
    """The findings of `raywarden check --output json`, each with the title of its section."""
    try:
        sections = json.loads(ended.output)["sections"]
    except (ValueError, KeyError):
        said = (ended.errors or ended.output).strip()
        raise StepError(f"raywarden check failed: {said}", "run raywarden check yourself") from None
    return [(section["title"], entry) for section in sections for entry in section["findings"]]


def _is_open(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0
