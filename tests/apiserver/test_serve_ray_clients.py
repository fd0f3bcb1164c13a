"""Programs that connect to Ray, by authors who do not know RayWarden, with a real API server."""

import httpx
import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.replica import Replica
from tests.support import related_objects
from tests.support.factory import Object, changed

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]


@pytest.fixture(scope="module")
def team(installation: Installation, pair: tuple[Replica, Replica]) -> str:
    """A namespace in which everything that the rules find is refused."""
    return installation.team(**{"raywarden.io/enforce": "restricted"})


def warnings(control_plane: ControlPlane, path: str, document: Object) -> str:
    """The warnings that come with an object that is stored."""
    response: httpx.Response = control_plane.post(f"{path}?dryRun=All", document)
    assert response.is_success, response.text
    return str(response.headers.get("Warning", ""))


def test_a_deployment_is_warned_about_and_stored(control_plane: ControlPlane, team: str) -> None:
    path = f"/apis/apps/v1/namespaces/{team}/deployments"
    deployment = changed(related_objects.ray_client(), {"/metadata": {"name": "web"}})
    warning = warnings(control_plane, path, deployment)
    assert "ray-client-tls: container web connects" in warning
    address = "/spec/template/spec/containers/0/env/0/value"
    assert warnings(control_plane, path, changed(deployment, {address: "auto"})) == ""


def test_no_warning_goes_to_a_controller(control_plane: ControlPlane, team: str) -> None:
    path = f"/api/v1/namespaces/{team}/pods"
    spec = related_objects.ray_client()["spec"]["template"]["spec"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-0"},
        "spec": {**spec, "serviceAccountName": "ray"},
    }
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "web",
        "uid": "00000000-0000-4000-8000-000000000001",
        "controller": True,
    }
    owned = changed(pod, {"/metadata/ownerReferences": [owner]})
    assert "ray-client-tls" in warnings(control_plane, path, pod)
    assert warnings(control_plane, path, owned) == ""
