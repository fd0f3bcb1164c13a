"""Each mode of `node-ip-address` supports the usual work from the head and from workers."""

import json
import re
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.api import Api
from tests.e2e.kubelet import RunningPod
from tests.e2e.ray_cluster import PROGRAMS, RayCluster
from tests.e2e.running import CommandResult

# A line such as ` 2 cpu`: the number of nodes in a group.
_COUNT = re.compile(r"^ (\d+) \S+$", re.MULTILINE)
Say = Callable[[str], None]
ADDRESSES = {"fqdn": "fqdn-head-svc.ml-training.svc.cluster.local", "off": None}


@pytest.fixture
def policy(api: Api) -> Iterator[Callable[[str], None]]:
    """A function that changes the `node-ip-address` of RayClusters that are created from now on."""
    yield lambda mode: api.adopt_policy({"inject": {"nodeIpAddress": mode}})
    api.adopt_policy({})


@pytest.mark.parametrize("mode", ["fqdn", "off"])
def test_a_cluster_works_with_an_alternative(
    mode: str, policy: Callable[[str], None], cluster_of: Callable[..., RayCluster], say: Say
) -> None:
    policy(mode)
    cluster = cluster_of(mode)
    parameters = cluster.stored["spec"]["headGroupSpec"]["rayStartParams"]
    assert parameters.get("node-ip-address") == ADDRESSES[mode]
    cluster.start_head()
    cluster.add_workers(1)
    works(cluster, mode, say)
    cluster.stop()


def test_a_cluster_works_with_the_default(training: RayCluster, say: Say) -> None:
    parameters = training.stored["spec"]["headGroupSpec"]["rayStartParams"]
    assert parameters["node-ip-address"] == "$(RAYWARDEN_POD_IP)"
    works(training, "pod-ip", say)


def works(cluster: RayCluster, mode: str, say: Say) -> None:
    """Run `ray status`, the dashboard, job submission and Ray Client.

    The last two run in a worker and use the host name of the head.
    """
    head, worker = cluster.its_head, cluster.workers[0]
    everyone = {pod.address for pod in (head, *cluster.workers)}
    cluster.drive("pinned", *(pod.address for pod in cluster.workers))
    status = head.ray.execute("ray", "status")
    counted = _COUNT.findall(status.text.partition("Resources\n")[0])
    assert status.code == 0 and sum(map(int, counted)) == len(everyone), status.text
    output = head.ray.execute("ray", "list", "nodes", "--format", "json", "--filter", "state=ALIVE")
    nodes = {node["node_ip"] for node in json.loads(output.text[output.text.index("[") :])}
    assert nodes - {cluster.service} <= everyone and len(nodes) == len(everyone), nodes
    address = f"http://{cluster.service}:8265"
    job = ("ray", "job", "submit", "--address", address, "--", "echo", "it ran")
    submitted = worker.ray.execute(*job, seconds=120)
    assert submitted.code == 0 and "it ran" in submitted.text, submitted.text[-3000:]
    client = ray_client(worker, cluster.service)
    assert client.code == 0, client.text[-3000:]
    say(
        f"node-ip-address {mode}: tasks, ray status, dashboard, job submission and Ray Client "
        f"work ({', '.join(nodes)})"
    )


def ray_client(pod: RunningPod, service: str) -> CommandResult:
    """Run Ray Client, several times if necessary.

    Ray starts a server for each client and gives up after half a minute, which a busy machine may
    exceed.
    """
    for _ in range(3):
        command = ("python", str(PROGRAMS / "client.py"), f"{service}:10001")
        result = pod.ray.execute(*command, seconds=90)
        if "Starting Ray client server failed" not in result.text:
            break
    return result
