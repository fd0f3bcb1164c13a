"""Measures how long a pod waits for its certificate, and Ray for the pod.

The figures are recorded like those of `make bench`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tests.bench.figures import Column, Table
from tests.e2e.conftest import BURST
from tests.e2e.kubelet import Kubelet
from tests.e2e.ray_cluster import RayCluster, Watch

ENROLL = "raywarden-enroll"


def test_from_pod_ip_known_to_certificate_in_hand(
    cluster_of: Callable[..., RayCluster], kubelet: Kubelet
) -> None:
    """The init containers of one pod, of eight, and of a burst start at the same time."""
    table = Table("certificate in hand, from pod IP known", Column("p50 s", 2), Column("most s", 2))
    for number in (1, 8, BURST):
        waits = _waits(cluster_of("burst"), kubelet, number)
        table.add(f"{number} at once", median(waits), max(waits))


def _waits(cluster: RayCluster, kubelet: Kubelet, number: int) -> list[float]:
    """How long each of `number` new pods waits for its certificate, in seconds."""
    pods = [cluster.pod("worker") for _ in range(number)]
    prepared = [kubelet.prepare(pod, kubelet.api.place(pod)) for pod in pods]
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(lambda pod: kubelet.run_init_containers(pod, only=ENROLL), prepared))
    for pod in prepared:
        kubelet.stop(pod)
    return [pod.moments[ENROLL] - pod.moments["address"] for pod in prepared]


def test_from_pod_ip_known_to_worker_alive(training: RayCluster) -> None:
    """A worker is added: its certificate, KubeRay's wait for GCS, and the start of Ray."""
    watch = Watch(training)
    (added,) = training.add_workers(1)
    moments = {
        "certificate in hand": added.moments[ENROLL],
        "GCS answered": added.moments["wait-gcs-ready"],
    }
    moments["worker alive"] = watch.wait_alive(added.address)
    watch.stop()
    table = Table("a real worker, from pod IP known", Column("s", 2))
    for name, moment in moments.items():
        table.add(name, moment - added.moments["address"])
    training.lose(added)
