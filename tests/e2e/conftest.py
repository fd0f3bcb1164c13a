"""Network, API server, RayWarden and kubelet on one machine, started once for all tests.

`make e2e` runs them in private Linux namespaces, which end with the process in any case.
`E2E_RAY` is the path of a virtual environment that contains Ray.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.bench import figures, records
from tests.e2e.api import SIGNER, Api
from tests.e2e.deployments import WITH_CERT_MANAGER, WITH_RAYWARDEN
from tests.e2e.double import double
from tests.e2e.firewall import NO_NFT, has_nft
from tests.e2e.images import Images
from tests.e2e.intruder import Intruder
from tests.e2e.kubelet import Kubelet
from tests.e2e.name_server import NameServer
from tests.e2e.network import DNS_ADDRESS, SIGNER_ADDRESS, Network, is_private
from tests.e2e.ray_cluster import RayCluster
from tests.e2e.real import real

# `make test` skips these tests, because they need Ray.
collect_ignore_glob = [] if "E2E_RAY" in os.environ else ["test_*.py"]

BURST = 64
# The number of pods by cluster and role. `open` has no token authentication, `other` belongs to
# another tenant, `jobs` is that of RayJobs, `fqdn` and `off` are modes of the node address, and
# pods of `burst` only enroll.
PODS = {
    ("training", "head"): 1,
    ("training", "worker"): 8,
    ("open", "head"): 1,
    ("open", "worker"): 1,
    ("other", "worker"): 1,
    ("jobs", "head"): 1,
    ("jobs", "worker"): 1,
    ("fqdn", "head"): 1,
    ("fqdn", "worker"): 1,
    ("off", "head"): 1,
    ("off", "worker"): 1,
    ("members", "head"): 1,
    ("members", "worker"): 4,
    ("deny-ingress", "head"): 1,
    ("deny-ingress", "worker"): 4,
    ("deny-all", "head"): 1,
    ("deny-all", "worker"): 4,
    ("guide", "head"): 1,
    ("held", "head"): 1,
    ("burst", "worker"): 1 + 8 + BURST,
}

_summary: list[str] = []


@pytest.fixture(scope="session")
def say() -> Callable[[str], None]:
    """Adds a line to the summary that is printed at the end."""
    return _summary.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    if not _summary:
        return
    terminalreporter.section("results")
    for line in [*_summary, *figures.lines(figures.measured)]:
        terminalreporter.line(line)
    if not has_nft():
        terminalreporter.line(f"NOT RUN: network isolation {NO_NFT}")
    if exitstatus == 0:
        records.record(figures.measured)
        terminalreporter.line("ALL OK")


@pytest.fixture(scope="session")
def images(say: Callable[[str], None]) -> Images:
    images = Images.of(Path(os.environ["E2E_RAY"]))
    say(f"Ray {'.'.join(map(str, images.ray_version))}")
    return images


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    assert is_private(), "this would change the network of the machine; use `make e2e`"
    with Network() as network:
        yield network


@pytest.fixture(scope="session")
def names(network: Network) -> Iterator[NameServer]:
    with NameServer(DNS_ADDRESS) as server:
        server.records[f"{SIGNER}.cluster.local"] = SIGNER_ADDRESS
        yield server


@pytest.fixture(scope="session")
def api(
    network: Network, tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]
) -> Iterator[Api]:
    folder, assets = tmp_path_factory.mktemp("api"), os.environ.get("KUBEBUILDER_ASSETS")
    say(f"pods are stored by {'kube-apiserver' if assets else 'a double of the API server'}")
    examples = (WITH_RAYWARDEN, WITH_CERT_MANAGER)
    server = real(folder, Path(assets)) if assets else double(folder, PODS, examples)
    with server as api_server:
        yield api_server


@pytest.fixture(scope="session")
def kubelet(api: Api, network: Network, images: Images) -> Iterator[Kubelet]:
    clusters = {cluster for cluster, _ in PODS}
    # `web-ray` is the Secret of the examples without KubeRay.
    names = {*clusters, "web-ray"}
    tokens = {(name, "auth_token"): secrets.token_urlsafe(24) for name in names}
    folder = Path("/run/kubelet")
    folder.mkdir()
    kubelet = Kubelet(api, network, images, tokens, folder)
    yield kubelet
    for pod in list(kubelet.pods):
        kubelet.stop(pod)


@pytest.fixture(scope="session")
def cluster_of(api: Api, kubelet: Kubelet, names: NameServer) -> Callable[..., RayCluster]:
    """A function that stores a RayCluster with a name; its pods are not started yet."""

    def make(
        name: str,
        token: bool = True,
        changes: Mapping[str, Any] = MappingProxyType({}),
        autoscaling: bool = False,
    ) -> RayCluster:
        return RayCluster(kubelet, names, api.make_cluster(name, changes), token, autoscaling)

    return make


@pytest.fixture(scope="session")
def training(cluster_of: Callable[..., RayCluster]) -> Iterator[RayCluster]:
    """The main cluster: a head and two workers."""
    cluster = cluster_of("training")
    cluster.start_head()
    cluster.add_workers(2)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def open_cluster(cluster_of: Callable[..., RayCluster]) -> Iterator[RayCluster]:
    """A head without token authentication, so that only TLS can reject a client."""
    cluster = cluster_of("open", token=False)
    cluster.start_head()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def intruder(kubelet: Kubelet) -> Iterator[Intruder]:
    intruder = Intruder.start(kubelet)
    yield intruder
    kubelet.stop(intruder.pod)
