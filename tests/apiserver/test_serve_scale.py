"""Many pods at once through the registered webhooks, also while replicas are replaced.

No pod is refused, and no pod is accepted without the mutation.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import pytest

from policies.ray.pod import ENROLL_CONTAINER
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.kuberay_operator import OPERATOR
from tests.apiserver.pods import make_cluster, marked_worker
from tests.apiserver.replica import Replica, serving
from tests.apiserver.service import Service
from tests.support.factory import Object

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_AT_ONCE = 16


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as running:
        yield running


@pytest.fixture
def installation(control_plane: ControlPlane) -> Iterator[Installation]:
    installed = Installation.make(control_plane)
    yield installed
    installed.unregister()


def start(
    stack: ExitStack, installation: Installation, service: Service, **settings: str
) -> Replica:
    """Start one more replica behind the Service, without waiting until it is ready."""
    settings = {"SIGNER_URL": service.enrollment, "DRAIN_SECONDS": "2", **settings}
    service.replicas.append(stack.enter_context(serving(installation, **settings)))
    return service.replicas[-1]


def refused_or_unmutated(responses: list[httpx.Response]) -> list[str]:
    """The start of each response that is not a pod with the init container."""
    return [
        response.text[:500]
        for response in responses
        if not response.is_success or ENROLL_CONTAINER not in response.text
    ]


@dataclass(frozen=True)
class Load:
    """Creates the same worker pod repeatedly; all parts must still be injected into it."""

    control_plane: ControlPlane
    namespace: str
    pod: Object

    def create(self, *_: object) -> httpx.Response:
        return self.control_plane.post(
            f"/api/v1/namespaces/{self.namespace}/pods", self.pod, OPERATOR
        )

    def create_until(self, stop: threading.Event) -> list[httpx.Response]:
        responses = []
        while not stop.is_set():
            responses.append(self.create())
        return responses


@contextmanager
def under_load(load: Load) -> Iterator[list[httpx.Response]]:
    """Create pods during the block, 16 at a time; the yielded list has all responses after it."""
    stop, responses = threading.Event(), list[httpx.Response]()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        loads = [pool.submit(load.create_until, stop) for _ in range(_AT_ONCE)]
        try:
            yield responses
        finally:
            stop.set()
        for future in loads:
            responses += future.result()


def test_200_pods_at_concurrency_16(installation: Installation, service: Service) -> None:
    with ExitStack() as stack:
        pair = [start(stack, installation, service) for _ in range(2)]
        load = registered(installation, service)
        before = [replica.pods_let_in() for replica in pair]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            responses = list(pool.map(load.create, range(200)))
        assert refused_or_unmutated(responses) == []
        assert len({response.json()["metadata"]["name"] for response in responses}) == 200
        shares = [replica.pods_let_in() - was for replica, was in zip(pair, before, strict=True)]
        assert sum(shares) == 200 and all(shares), f"not both replicas were called: {shares}"


def test_a_replica_that_is_added_under_load_gets_its_share(
    installation: Installation, service: Service
) -> None:
    """The API server keeps its connections; the servers close old ones without losing a call."""
    with ExitStack() as stack:
        first = start(stack, installation, service, MAX_CONNECTION_SECONDS="1")
        with under_load(registered(installation, service)) as responses:
            time.sleep(2)
            added = start(stack, installation, service, MAX_CONNECTION_SECONDS="1")
            added.wait_ready()
            time.sleep(3)
            before = [replica.pods_let_in() for replica in (first, added)]
            time.sleep(6)
            shares = [
                replica.pods_let_in() - was
                for replica, was in zip((first, added), before, strict=True)
            ]
        assert refused_or_unmutated(responses) == []
        assert min(shares) > sum(shares) / 5, f"of pods for each replica: {shares}"


def test_a_rolling_restart_under_load(installation: Installation, service: Service) -> None:
    """As a Deployment does it: start a replica, wait until it is ready, then stop an old one."""
    with ExitStack() as stack:
        for _ in range(2):
            start(stack, installation, service)
        with under_load(registered(installation, service)) as responses:
            for _ in range(2):
                time.sleep(1)
                start(stack, installation, service).wait_ready()
                time.sleep(1)
                assert service.replicas[0].stop() == 0
                service.replicas.pop(0)
            time.sleep(1)
        assert len(responses) > 200
        assert refused_or_unmutated(responses) == []


def test_no_pod_is_accepted_unmutated_when_a_replica_dies(
    installation: Installation, service: Service
) -> None:
    """A node is lost: connections break, and requests fail until the Service notices."""
    with ExitStack() as stack:
        for _ in range(2):
            start(stack, installation, service)
        load = registered(installation, service)
        with under_load(load) as responses:
            time.sleep(1)
            service.replicas[0].process.kill()
            time.sleep(3)
        refused = [response for response in responses if not response.is_success]
        assert (
            refused_or_unmutated([response for response in responses if response.is_success]) == []
        )
        assert all("raywarden.io" in response.text for response in refused)
        assert refused_or_unmutated([load.create() for _ in range(_AT_ONCE)]) == [], (
            "the other replica does not serve all requests"
        )


def registered(installation: Installation, service: Service) -> Load:
    """Register the Service, and return the load once all replicas are ready."""
    installation.register_at(mutate=service.admission, validate=service.admission)
    for replica in service.replicas:
        replica.wait_ready()
    installation.wait_effective()
    namespace = installation.team()
    return Load(
        installation.control_plane,
        namespace,
        marked_worker(make_cluster(installation.control_plane, namespace)),
    )
