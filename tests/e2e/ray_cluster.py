"""A Ray cluster of pods: made as KubeRay makes them, watched as its users do."""

import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.apiserver.installation import until
from tests.e2e.captured import NAMESPACE, fitted, pod_of, service_of
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.name_server import NameServer
from tests.e2e.running import Said
from tests.support.factory import Object
from tests.support.paths import REPOSITORY

PROGRAMS = REPOSITORY / "tests" / "e2e" / "programs"
# A worker takes some seconds where nobody else computes; here others may.
_START_SECONDS = 120
_CHANGE = re.compile(r"(alive|dead) (\S+) ([0-9.]+)\n")


@dataclass
class RayCluster:
    """A stored RayCluster and its running pods. Without `token` its author asked for no authentication."""

    kubelet: Kubelet
    names: NameServer
    stored: Object
    token: bool = True
    head: RunningPod | None = None
    workers: list[RunningPod] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.stored["metadata"]["name"])

    @property
    def service(self) -> str:
        """The head, as workers and drivers of other pods call it."""
        return f"{service_of(self.name)}.{NAMESPACE}.svc.cluster.local"

    @property
    def its_head(self) -> RunningPod:
        assert self.head, f"{self.name} has no head"
        return self.head

    @property
    def pods(self) -> Sequence[RunningPod]:
        """All that run."""
        return [*filter(None, [self.head]), *self.workers]

    def start_head(self) -> RunningPod:
        """Until Ray answers in it."""
        pod = self.pod("head")
        address = self.kubelet.api.place(pod)
        self.names.records[self.service] = address
        self.head = self.kubelet.start(pod, address)
        wait_ready(self.head)
        return self.head

    def add_workers(self, number: int) -> Sequence[RunningPod]:
        """That many at once, until Ray answers in each."""
        with ThreadPoolExecutor(number) as pool:
            added = list(pool.map(lambda _: self._add_worker(), range(number)))
        return added

    def pod(self, role: str) -> Object:
        """A new pod, as the API server stored it, made to fit this machine."""
        return fitted(self.kubelet.api.make_pod(pod_of(self.stored, role, token=self.token)))

    def _add_worker(self) -> RunningPod:
        pod = self.pod("worker")
        worker = self.kubelet.start(pod, self.kubelet.api.place(pod))
        self.workers.append(worker)
        wait_ready(worker)
        return worker

    def lose(self, worker: RunningPod) -> None:
        """Kill a worker, and all that runs in it, at once."""
        self.workers.remove(worker)
        self.kubelet.stop(worker)
        self.kubelet.api.delete_pod(worker.pod)

    def stop(self) -> None:
        for pod in reversed(self.pods):
            self.kubelet.stop(pod)
        self.workers, self.head = [], None

    def drive(self, *arguments: str, seconds: float = 180) -> str:
        """Run the driver in the head pod; what it says where it ends well."""
        said = self.its_head.ray.execute(
            "python", str(PROGRAMS / "driver.py"), *arguments, seconds=seconds
        )
        assert said.code == 0 and "ALL OK" in said.text, said.text[-5000:]
        return said.text


def wait_ready(pod: RunningPod) -> None:
    """Until the pod's own readiness probe succeeds."""
    probe = pod.pod["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]
    deadline = time.monotonic() + _START_SECONDS
    said = Said(1, "")
    while time.monotonic() < deadline and not pod.ray.ended:
        said = pod.ray.execute(*probe, seconds=5)
        if said.code == 0:
            pod.moments["ready"] = time.monotonic()
            return
        time.sleep(0.3)
    log = pod.ray.log.read_text(errors="replace")
    raise AssertionError(f"{pod.name} is not ready: {said.text[-500:]}\n{log[-5000:]}")


class Watch:
    """Which nodes are alive, as GCS tells a driver; with the moments it was noticed (monotonic)."""

    def __init__(self, cluster: RayCluster) -> None:
        self.alive: dict[str, float] = {}
        self.dead: dict[str, float] = {}
        self._process = cluster.its_head.ray.open("python", str(PROGRAMS / "driver.py"), "nodes")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_alive(self, address: str, seconds: float = 60) -> float:
        """When a node came to life."""
        return until(lambda: self.alive.get(address, 0.0), seconds)

    def wait_dead(self, address: str, seconds: float = 60) -> float:
        """When a node was given up."""
        return until(lambda: self.dead.get(address, 0.0), seconds)

    def stop(self) -> None:
        # It ends with its input. Killing it here would kill only who entered the container for it.
        assert self._process.stdin
        self._process.stdin.close()
        self._thread.join(10)
        self._process.wait(10)
        assert self._process.stdout
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            # Ray says things there, too.
            if found := _CHANGE.fullmatch(line):
                {"alive": self.alive, "dead": self.dead}[found[1]][found[2]] = float(found[3])
