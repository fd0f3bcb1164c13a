"""What `raywarden check` prints for Ray that asks the API server about its callers' tokens."""

import pytest
import yaml

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.pods import cluster_of
from tests.apiserver.replica import Replica
from tests.apiserver.test_check import check
from tests.support.factory import changed

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

KUBERNETES_TOKENS = {"mode": "token", "enableK8sTokenAuth": True}


def test_what_is_printed_can_be_applied_as_it_is_and_is_enough(
    control_plane: ControlPlane, installation: Installation, pair: tuple[Replica, Replica]
) -> None:
    namespace = installation.team()
    clusters = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"
    cluster = changed(cluster_of("identities"), {"/spec/authOptions": KUBERNETES_TOKENS})
    control_plane.make(clusters, cluster)
    printed: list[str] = []

    def is_enough() -> bool:
        found = check(control_plane.admin_kubeconfig, installation, namespace)[1]
        finding = found["kuberay/token-reviews"]
        if finding["status"] == "ok":
            return True
        printed.append(finding["remediation"].removeprefix("apply "))
        control_plane.apply_text(printed[-1])
        return False

    try:
        until(is_enough, 180)
    finally:
        control_plane.delete(f"{clusters}/identities")
        control_plane.take_away(*map(yaml.safe_load, printed))
    assert len(set(printed)) == 2
