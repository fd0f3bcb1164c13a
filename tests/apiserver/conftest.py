"""A real kube-apiserver and etcd, by envtest's convention: `KUBEBUILDER_ASSETS` names the folder they are in."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.replica import Replica, replicas


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    if not (assets := os.environ.get("KUBEBUILDER_ASSETS")):
        pytest.skip("KUBEBUILDER_ASSETS is not set: it names a folder with kube-apiserver and etcd")
    with ControlPlane(tmp_path_factory.mktemp("apiserver"), Path(assets)) as running:
        yield running


@pytest.fixture(scope="module")
def installation(control_plane: ControlPlane) -> Iterator[Installation]:
    """A namespace with the rights of RayWarden, and KubeRay's CustomResourceDefinition; nothing runs in it yet."""
    made = Installation.make(control_plane)
    yield made
    made.unregister()


@pytest.fixture(scope="module")
def pair(installation: Installation) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas, registered and ready: the second is sent worker pods, the first everything else."""
    with replicas(installation, 2) as (one, two):
        installation.register(one, two)
        for replica in (one, two):
            replica.wait_ready()
        installation.wait_effective()
        yield one, two
