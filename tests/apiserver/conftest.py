"""A real kube-apiserver and etcd, from the folder in `KUBEBUILDER_ASSETS` as envtest uses it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.people import Team, add_connect, make_team
from tests.apiserver.replica import Replica, replicas


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        pytest.skip("set KUBEBUILDER_ASSETS to a folder that contains kube-apiserver and etcd")
    with ControlPlane(tmp_path_factory.mktemp("apiserver"), Path(assets)) as running:
        yield running


@pytest.fixture(scope="module")
def installation(control_plane: ControlPlane) -> Iterator[Installation]:
    """RayWarden's namespace and rights, and KubeRay's RayCluster; no server runs yet."""
    installed = Installation.make(control_plane)
    yield installed
    installed.unregister()


@pytest.fixture(scope="module")
def pair(installation: Installation) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas, registered and ready.

    The API server sends worker pods to the second and everything else to the first.
    """
    with replicas(installation, 2) as (first, second):
        installation.register(first, second)
        for replica in (first, second):
            replica.wait_ready()
        installation.wait_effective()
        yield first, second


@pytest.fixture(scope="module")
def signers(installation: Installation) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas that issue certificates to people; no webhook is registered."""
    add_connect(installation)
    settings = {"CLIENT_CERTIFICATES": "true", "WEBHOOK_CONFIGURATION": ""}
    settings["CLIENT_CERTIFICATES_PER_MINUTE"] = "1000"
    with replicas(installation, 2, **settings) as (first, second):
        for replica in (first, second):
            replica.wait_ready()
        yield first, second


@pytest.fixture(scope="module")
def people(installation: Installation, signers: tuple[Replica, Replica]) -> Team:
    """A namespace with a RayCluster, alice, who may connect, and bob, who may only ask."""
    return make_team(installation)
