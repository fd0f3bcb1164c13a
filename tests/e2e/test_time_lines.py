"""Measures how long a pod waits for its certificate, and Ray for the pod; see README.md."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest

from tests.e2e.conftest import BURST
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.ray_cluster import RayCluster, Watch

Say = Callable[[str], None]
ENROLL = "raywarden-enroll"


@pytest.mark.parametrize("number", [1, 8, BURST])
def test_from_pod_ip_known_to_certificate_in_hand(
    number: int, cluster_of: Callable[..., RayCluster], kubelet: Kubelet, say: Say
) -> None:
    """The init containers of `number` pods start at the same time."""
    cluster = cluster_of("burst")
    pods = [cluster.pod("worker") for _ in range(number)]
    prepared = [kubelet.prepare(pod, kubelet.api.place(pod)) for pod in pods]
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(lambda pod: kubelet.run_init_containers(pod, only=ENROLL), prepared))
    say(f"from pod IP known, {number:>2} at once: certificate in hand {_spread(_waits(prepared))}")
    for pod in prepared:
        kubelet.stop(pod)


def test_from_pod_ip_known_to_worker_alive(training: RayCluster, say: Say) -> None:
    """A worker is added: its certificate, KubeRay's wait for GCS, and the start of Ray."""
    watch = Watch(training)
    (added,) = training.add_workers(1)
    moments = {
        "certificate in hand": added.moments[ENROLL],
        "GCS answered": added.moments["wait-gcs-ready"],
    }
    moments["worker alive"] = watch.wait_alive(added.address)
    watch.stop()
    seconds = {name: moment - added.moments["address"] for name, moment in moments.items()}
    steps = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    say(f"from pod IP known, a real worker: {steps}")
    training.lose(added)


def _waits(pods: Sequence[RunningPod]) -> list[float]:
    return sorted(pod.moments[ENROLL] - pod.moments["address"] for pod in pods)


def _spread(seconds: Sequence[float]) -> str:
    return f"p50 {median(seconds):.2f} s, max {max(seconds):.2f} s"
