"""One machine with everything on it: network, API server, RayWarden, kubelet. Made once, for all of these tests.

`make e2e` runs them in namespaces of their own, which end with the process, whatever happens to it;
`E2E_RAY` names the virtual environment that has Ray.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.api import SIGNER, Api
from tests.e2e.double import double
from tests.e2e.images import Images
from tests.e2e.kubelet import Kubelet
from tests.e2e.name_server import NameServer
from tests.e2e.network import GATEWAY, Network, is_private
from tests.e2e.ray_cluster import RayCluster
from tests.e2e.real import real
from tests.e2e.strangers import Stranger

# Not part of `make test`: without Ray there is nothing to prove.
collect_ignore_glob = [] if "E2E_RAY" in os.environ else ["test_*.py"]

BURST = 64
# The main cluster; one whose author asked for no authentication; another tenant's; two of other node addresses; and one
# whose pods enroll and do no more.
PODS = {
    ("training", "head"): 1,
    ("training", "worker"): 8,
    ("open", "head"): 1,
    ("open", "worker"): 1,
    ("other", "worker"): 1,
    ("fqdn", "head"): 1,
    ("fqdn", "worker"): 1,
    ("off", "head"): 1,
    ("off", "worker"): 1,
    ("burst", "worker"): 1 + 8 + BURST,
}

_summary: list[str] = []


@pytest.fixture(scope="session")
def say() -> Callable[[str], None]:
    """Puts a line into what is printed at the end."""
    return _summary.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    if not _summary:
        return
    terminalreporter.section("what was seen")
    for line in _summary:
        terminalreporter.line(line)
    if exitstatus == 0:
        terminalreporter.line("ALL OK")


@pytest.fixture(scope="session")
def images(say: Callable[[str], None]) -> Images:
    found = Images.of(Path(os.environ["E2E_RAY"]))
    say(f"Ray {'.'.join(map(str, found.ray_version))}")
    return found


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    assert is_private(), "this would change the machine's own network: run it by `make e2e`"
    with Network() as made:
        yield made


@pytest.fixture(scope="session")
def names(network: Network) -> Iterator[NameServer]:
    with NameServer(GATEWAY) as server:
        server.records[f"{SIGNER}.cluster.local"] = GATEWAY
        yield server


@pytest.fixture(scope="session")
def api(
    network: Network, tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]
) -> Iterator[Api]:
    folder, assets = tmp_path_factory.mktemp("api"), os.environ.get("KUBEBUILDER_ASSETS")
    say(f"pods are stored by {'kube-apiserver' if assets else 'a double of the API server'}")
    with real(folder, Path(assets)) if assets else double(folder, PODS) as made:
        yield made


@pytest.fixture(scope="session")
def kubelet(api: Api, network: Network, images: Images) -> Iterator[Kubelet]:
    clusters = {cluster for cluster, _ in PODS}
    tokens = {(cluster, "auth_token"): secrets.token_urlsafe(24) for cluster in clusters}
    folder = Path("/run/kubelet")
    folder.mkdir()
    made = Kubelet(api, network, images, tokens, folder)
    yield made
    for pod in list(made.pods):
        made.stop(pod)


@pytest.fixture(scope="session")
def cluster_of(api: Api, kubelet: Kubelet, names: NameServer) -> Callable[..., RayCluster]:
    """A RayCluster by its name, stored and not yet running."""

    def make(name: str, token: bool = True) -> RayCluster:
        return RayCluster(kubelet, names, api.make_cluster(name), token)

    return make


@pytest.fixture(scope="session")
def training(cluster_of: Callable[..., RayCluster]) -> Iterator[RayCluster]:
    """The main cluster, a head and two workers."""
    cluster = cluster_of("training")
    cluster.start_head()
    cluster.add_workers(2)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def open_cluster(cluster_of: Callable[..., RayCluster]) -> Iterator[RayCluster]:
    """A head without token authentication: whoever is refused here is refused by TLS."""
    cluster = cluster_of("open", token=False)
    cluster.start_head()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def stranger(kubelet: Kubelet) -> Iterator[Stranger]:
    came = Stranger.come(kubelet)
    yield came
    kubelet.stop(came.pod)
