"""A server that enrolls the pods of a fake API server, as it does in a cluster.

The fake runs in this process, and the server on a core of its own.
"""

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import live_objects
from tests.support.factory import Object
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import free_port, kubeconfig_for, listening
from tests.support.live_server import RunningServer, metric, started
from tests.support.pod_tokens import TokenSigner, published

PODS, CLUSTERS = 10_000, 500
SIGNER = TokenSigner("RS256")
_SETTINGS = {
    "HOST": "127.0.0.1",
    "ADMISSION_PORT": "0",
    "ENROLLMENT_PORT": "0",
    "OPERATIONS_PORT": "0",
    "DRAIN_SECONDS": "0",
    "SERVING_NAMES": "localhost",
    # The fake has no webhook configurations.
    "WEBHOOK_CONFIGURATION": "",
    "WRITE_NETWORK_POLICIES": "false",
    # A pod enrolls more often here than any real one.
    "ENROLLMENTS_PER_MINUTE": "1000",
}


@dataclass(frozen=True)
class FakeCluster:
    """The server, the API server that it watches, and a valid token of each pod."""

    server: RunningServer
    api: FakeKubeApi
    tokens: Sequence[str]

    def lookups_at_the_api(self) -> float:
        """How often an enrollment has asked the API server for something."""
        return sum(
            metric(self.server, f'raywarden_enrollment_lookups_total{{object="{name}",source="api"')
            for name in ("token", "pod", "cluster")
        )


@contextmanager
def fake_cluster() -> Iterator[FakeCluster]:
    """A running server that verifies tokens itself, on a core of its own."""
    with api_server(PODS, CLUSTERS) as api, server_of(api) as server:
        _on_separate_cores(server.process.pid)
        # Until then, the server has tokens reviewed, which the fake does not know.
        while not any(event["event"] == "token keys read" for event in server.log()):
            time.sleep(0.05)
        yield FakeCluster(server, api, tokens())


def tokens() -> list[str]:
    """A token of each pod, valid for ten minutes."""
    return [SIGNER.token(worker(number), time.time()) for number in range(PODS)]


@contextmanager
def server_of(api: FakeKubeApi) -> Iterator[RunningServer]:
    """A server that is ready; the CA that its clients must trust is known from the fake."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {f"RAYWARDEN_{key}": value for key, value in _SETTINGS.items()}
        settings["RAYWARDEN_KUBECONFIG"] = str(kubeconfig_for(api, folder))
        environment = {"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1", **settings}
        with started(folder, (), environment) as server:
            yield server


@contextmanager
def api_server(pods: int, clusters: int) -> Iterator[FakeKubeApi]:
    """An API server with a namespace, RayClusters and pods, in a thread of its own."""
    api = FakeKubeApi(free_port())
    api.paths = {**published(SIGNER), "/openapi/v3": None}
    api.put("namespaces", live_objects.namespace())
    for number in range(clusters):
        api.put("rayclusters", live_objects.ray_cluster(*_cluster(number)))
    for number in range(pods):
        api.put("pods", worker(number))
    # The fake selects all pods anew for each page.
    api.page_size = PODS
    # The history is of no use, and makes each watch slow.
    api.forget()
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with listening(api):
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    started.wait()
    try:
        yield api
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def worker(number: int) -> Object:
    """A pod of one of the clusters, with as many labels as KubeRay gives it."""
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    name, uid = _cluster(number % CLUSTERS)
    pod = live_objects.pod(
        f"{name}-group-worker-{number:05}", "worker", address, f"pod-uid-{number:028}", name, uid
    )
    pod["metadata"]["labels"] |= {
        "app.kubernetes.io/created-by": "kuberay-operator",
        "app.kubernetes.io/name": "kuberay",
        "ray.io/group": "group",
        "ray.io/identifier": f"{name}-worker",
        "ray.io/is-ray-node": "yes",
        "raywarden.io/tls": "managed",
    }
    return pod


def _cluster(number: int) -> tuple[str, str]:
    """The name and the uid of a RayCluster."""
    if number == 0:
        return "demo", live_objects.CLUSTER_UID
    return f"cluster-{number:04}", f"cluster-uid-{number:024}"


def _on_separate_cores(server: int) -> None:
    """Give the server one core, and this process the others, if there are any."""
    first, *others = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(server, {first})
    if others:
        os.sched_setaffinity(0, others)
