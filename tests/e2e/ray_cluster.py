"""A Ray cluster whose pods are created as KubeRay does, and used as its users do."""

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
from tests.e2e.running import CommandResult
from tests.support.factory import Object
from tests.support.paths import REPOSITORY

PROGRAMS = REPOSITORY / "tests" / "e2e" / "programs"
# A worker takes some seconds on an idle machine; a busy one may need much longer.
_START_SECONDS = 300
_CHANGE = re.compile(r"(alive|dead) (\S+) ([0-9.]+)\n")


@dataclass
class RayCluster:
    """A stored RayCluster and its running pods.

    `token` is false if the author has turned token authentication off. `autoscaling`: the head runs
    Ray's autoscaler, which calls the API server.
    """

    kubelet: Kubelet
    names: NameServer
    stored: Object
    token: bool = True
    autoscaling: bool = False
    head: RunningPod | None = None
    workers: list[RunningPod] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.stored["metadata"]["name"])

    @property
    def service(self) -> str:
        """The host name of the head for workers and for drivers in other pods."""
        return f"{service_of(self.name)}.{NAMESPACE}.svc.cluster.local"

    @property
    def its_head(self) -> RunningPod:
        assert self.head, f"{self.name} has no head"
        return self.head

    @property
    def pods(self) -> Sequence[RunningPod]:
        """All running pods."""
        return [*filter(None, [self.head]), *self.workers]

    def start_head(self) -> RunningPod:
        """Start the head, and wait until Ray answers in it."""
        pod = self.pod("head")
        address = self.kubelet.api.place(pod)
        self.names.records[self.service] = address
        self.head = self.kubelet.start(pod, address)
        if self.autoscaling:
            self.kubelet.add_container(self.head, "autoscaler")
        self._wait_running(self.head)
        return self.head

    def add_workers(self, number: int) -> Sequence[RunningPod]:
        """Start workers at the same time, and wait until Ray answers in each."""
        with ThreadPoolExecutor(number) as pool:
            added = list(pool.map(lambda _: self._add_worker(), range(number)))
        return added

    def pod(self, role: str) -> Object:
        """A new pod as the API server has stored it, adapted to the size of this machine."""
        stored = self.kubelet.api.make_pod(pod_of(self.stored, role, token=self.token))
        return fitted(stored, autoscaling=self.autoscaling)

    def _add_worker(self) -> RunningPod:
        pod = self.pod("worker")
        worker = self.kubelet.start(pod, self.kubelet.api.place(pod))
        self.workers.append(worker)
        self._wait_running(worker)
        return worker

    def _wait_running(self, pod: RunningPod) -> None:
        wait_ready(pod)
        self.kubelet.api.report_running(pod.pod)

    def lose(self, worker: RunningPod) -> None:
        """Kill a worker with all its processes, and delete its pod."""
        self.workers.remove(worker)
        self.kubelet.stop(worker)
        self.kubelet.api.delete_pod(worker.pod)

    def stop(self) -> None:
        for pod in reversed(self.pods):
            self.kubelet.stop(pod)
        self.workers, self.head = [], None

    def drive(self, *arguments: str, seconds: float = 180) -> str:
        """Run the driver in the head pod, which must succeed; returns its output."""
        result = self.its_head.ray.execute(
            "python", str(PROGRAMS / "driver.py"), *arguments, seconds=seconds
        )
        assert result.code == 0 and "ALL OK" in result.text, result.text[-5000:]
        return result.text


def wait_ready(pod: RunningPod) -> None:
    """Wait until the readiness probe of the pod succeeds."""
    probe = pod.pod["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]
    deadline = time.monotonic() + _START_SECONDS
    result = CommandResult(1, "")
    while time.monotonic() < deadline and not pod.ray.ended:
        result = pod.ray.execute(*probe, seconds=5)
        if result.code == 0:
            pod.moments["ready"] = time.monotonic()
            return
        time.sleep(0.3)
    log = pod.ray.log.read_text(errors="replace")
    raise AssertionError(f"{pod.name} is not ready: {result.text[-500:]}\n{log[-5000:]}")


class Watch:
    """Records when nodes become alive or dead, as GCS reports to a driver (monotonic seconds)."""

    def __init__(self, cluster: RayCluster) -> None:
        self.alive: dict[str, float] = {}
        self.dead: dict[str, float] = {}
        self._process = cluster.its_head.ray.open("python", str(PROGRAMS / "driver.py"), "nodes")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_alive(self, address: str, seconds: float = 60) -> float:
        """Wait until a node is alive; returns the time."""
        return until(lambda: self.alive.get(address, 0.0), seconds)

    def wait_dead(self, address: str, seconds: float = 60) -> float:
        """Wait until a node is dead; returns the time."""
        return until(lambda: self.dead.get(address, 0.0), seconds)

    def stop(self) -> None:
        # The driver ends when its input ends. A kill from here would reach only `nsenter`, which
        # started it in the container.
        assert self._process.stdin
        self._process.stdin.close()
        self._thread.join(10)
        self._process.wait(10)
        assert self._process.stdout
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            # Ray prints to the same output.
            match = _CHANGE.fullmatch(line)
            if match:
                state, address, moment = match.groups()
                times = self.alive if state == "alive" else self.dead
                times[address] = float(moment)
