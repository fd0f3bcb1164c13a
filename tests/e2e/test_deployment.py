"""Ray without KubeRay: the examples work over TLS, and a stranger does not get in."""

import re
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.apiserver.installation import until
from tests.e2e.api import Api
from tests.e2e.cert_manager import secrets_of
from tests.e2e.deployments import (
    WITH_CERT_MANAGER,
    WITH_RAYWARDEN,
    DeployedCluster,
    documents_of,
    get,
)
from tests.e2e.dialing import OPEN, dialed, listening, with_result
from tests.e2e.firewall import NO_NFT, firewall_of, has_nft
from tests.e2e.forgery import Forger
from tests.e2e.intruder import LOOT, Intruder, tls_variables
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.name_server import NameServer
from tests.e2e.ray_cluster import PROGRAMS
from tests.e2e.running import CommandResult

Say = Callable[[str], None]
REFUSED = 3
_ATTEMPTS = 4
_ANSWER = re.compile(r"a task ran on (\S+)\n")
_FILES = ("tls.crt", "tls.key", "ca.crt")


@pytest.fixture(scope="module")
def deployed(kubelet: Kubelet, names: NameServer) -> Iterator[DeployedCluster]:
    """The example whose certificates come from RayWarden."""
    cluster = DeployedCluster(kubelet, names, documents_of(WITH_RAYWARDEN))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def certified(api: Api, kubelet: Kubelet, names: NameServer) -> Iterator[DeployedCluster]:
    """The example whose certificates come from cert-manager, which its policy allows."""
    api.adopt_policy(yaml.safe_load(WITH_CERT_MANAGER.with_name("policy.yaml").read_text()))
    documents = documents_of(WITH_CERT_MANAGER)
    kubelet.secret_files |= secrets_of(documents)
    cluster = DeployedCluster(kubelet, names, documents)
    cluster.start()
    yield cluster
    cluster.stop()
    api.adopt_policy({})


def test_head_workers_and_web_server_work_over_tls(deployed: DeployedCluster, say: Say) -> None:
    works(deployed, say, "Deployments")


def test_a_stranger_does_not_get_in(
    deployed: DeployedCluster, intruder: Intruder, say: Say
) -> None:
    (driver,) = deployed.of_role("client")
    assert_closed(driver, deployed, intruder, "ray-web")
    say("Deployments: with the token, but without a certificate of the cluster, a client fails")


@pytest.mark.skipif(not has_nft(), reason=NO_NFT)
def test_its_network_policies_close_ray_and_not_the_web_server(
    deployed: DeployedCluster, api: Api, kubelet: Kubelet, intruder: Intruder, say: Say
) -> None:
    (head,), (driver,) = deployed.of_role("head"), deployed.of_role("client")
    ray = {(pod.address, port) for pod in deployed.pods for port in listening(pod.network)}
    web = {(driver.address, 8000)}
    with firewall_of(api, kubelet):
        assert with_result(dialed(intruder.pod.network, ray), OPEN) == web
        assert with_result(dialed(driver.network, {(head.address, 10001)}), OPEN)
        works(deployed, say, "Deployments behind their NetworkPolicies")
    say(f"Deployments: of {len(ray)} ports that are open, a stranger reaches the web server alone")


def test_a_cluster_works_with_certificates_of_cert_manager(
    certified: DeployedCluster, intruder: Intruder, say: Say
) -> None:
    works(certified, say, "cert-manager")
    (driver,) = certified.of_role("client")
    assert_closed(driver, certified, intruder, "ray-pki")
    say("cert-manager: a client whose certificate another CA has signed fails")


def works(cluster: DeployedCluster, say: Say, title: str) -> None:
    """Tasks, objects and actors work between all nodes, and the web server runs tasks on them."""
    (head,), (driver,) = cluster.of_role("head"), cluster.of_role("client")
    nodes = sorted(map(node_name, cluster.of_role("worker")))
    result = head.ray.execute(
        "python", str(PROGRAMS / "driver.py"), "everything", *nodes, seconds=180
    )
    assert result.code == 0 and "ALL OK" in result.text, result.text[-5000:]
    code, text = get(driver, f"http://{driver.address}:8000/", seconds=60)
    answer = _ANSWER.search(text)
    assert code == 0 and answer and answer[1] in nodes, text
    say(f"{title}: the web server in {driver.name} ran a task on {answer[1]} by Ray Client")


def node_name(worker: RunningPod) -> str:
    """The address under which Ray knows a node: its own, or the one that its command gives."""
    for word in worker.ray.plan.command:
        if word.startswith("--node-ip-address="):
            return word.partition("=")[2]
    return worker.address


def assert_closed(
    driver: RunningPod, cluster: DeployedCluster, intruder: Intruder, namespace: str
) -> None:
    """Only a client with a certificate of the cluster runs tasks; all attempts have the token."""
    target = f"web-head.{namespace}.svc.cluster.local:10001"
    token = cluster.kubelet.secrets["web-ray", "auth_token"]
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    until(lambda: intruder.pod.ray.execute("true").code == 0)
    own = {name: (driver.volume("raywarden-tls") / name).read_bytes() for name in _FILES}
    intruder.take(f"{namespace}-own", own)
    intruder.take(f"{namespace}-forged", {**Forger(own).files(), "ca.crt": own["ca.crt"]})
    forged = tls_variables(f"{LOOT}/{namespace}-forged")
    for tls in ({}, forged):
        result = intruder.run("client", target, seconds=120, **access, **tls)
        assert result.code == REFUSED and not reached(result), result.text[-3000:]
    # The same program works with the files of the driver. Ray starts a server for each client and
    # gives up after half a minute, which a busy machine may exceed.
    stolen = tls_variables(f"{LOOT}/{namespace}-own")
    for _ in range(_ATTEMPTS):
        result = intruder.run("client", target, seconds=120, **access, **stolen)
        if result.code == 0:
            return
        assert reached(result), result.text[-3000:]
    raise AssertionError(result.text[-3000:])


def reached(result: CommandResult) -> bool:
    """The head has answered a client, if only with an error."""
    return "from server" in result.text
