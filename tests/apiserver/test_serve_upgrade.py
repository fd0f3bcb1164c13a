"""Replicas of two versions side by side: they agree on pods, and no version changes what another has stored."""

import json
from collections.abc import Iterator

import pytest

from policies.injection.contract import INJECTED_ANNOTATION
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.pods import cluster_of, init_container, make_cluster, make_pods
from tests.apiserver.replica import Replica, serving
from tests.support.factory import Object, changed

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_SHARED = {"SIGNER_URL": "https://raywarden-enroll.example.svc:8444"}
# The same program, which says that it is another version.
_NEXT = (
    "-c",
    "import webhook; webhook.__version__ = '99.0.0'; from webhook.__main__ import main; main()",
)

Versions = tuple[Replica, Replica]


@pytest.fixture(scope="module")
def versions(installation: Installation) -> Iterator[Versions]:
    """This version and the next, with an image each."""
    old = serving(installation, ENROLL_IMAGE="images.example/raywarden:0.1.0", **_SHARED)
    new = serving(installation, _NEXT, ENROLL_IMAGE="images.example/raywarden:99.0.0", **_SHARED)
    with old as first, new as second:
        yield first, second


def route(installation: Installation, mutate: Replica, validate: Replica) -> None:
    """Have the API server ask one for defaults and the other for the verdict, as chance would during an upgrade."""
    installation.register_at(mutate=mutate.admission, validate=validate.admission)
    for replica in (mutate, validate):
        replica.wait_ready()
    installation.wait_effective()


@pytest.mark.parametrize(
    "newer_first", [False, True], ids=["defaults by the old one", "defaults by the new one"]
)
def test_one_takes_the_pods_of_the_other(
    control_plane: ControlPlane, installation: Installation, versions: Versions, newer_first: bool
) -> None:
    mutate, validate = versions[::-1] if newer_first else versions
    route(installation, mutate, validate)
    before = validate.pods_let_in()
    pods = make_pods(control_plane, make_cluster(control_plane, installation.team()))
    tag = "99.0.0" if newer_first else "0.1.0"
    assert {init_container(pod)["image"] for pod in pods} == {f"images.example/raywarden:{tag}"}
    assert validate.pods_let_in() == before + 2


def test_an_upgrade_never_changes_a_stored_cluster(
    control_plane: ControlPlane, installation: Installation, versions: Versions
) -> None:
    """Whatever anybody does to it: labels, the author's file once more, KubeRay's own updates, a change of replicas."""
    old, new = versions
    route(installation, old, old)
    cluster = make_cluster(control_plane, installation.team())
    route(installation, new, new)
    path = f"/apis/ray.io/v1/namespaces/{cluster['metadata']['namespace']}/rayclusters/demo"

    def stored_after(change: Object) -> Object:
        control_plane.patch(path, change)
        return control_plane.get(path)

    assert stored_after({"metadata": {"labels": {"team": "vision"}}})["spec"] == cluster["spec"]
    assert stored_after({"metadata": {"annotations": {"note": "x"}}})["spec"] == cluster["spec"]
    again = control_plane.admin.put(
        path, json=changed(cluster_of(), {"/metadata": replaced(control_plane, path)})
    )
    assert again.is_success, again.text
    assert again.json()["spec"] == cluster["spec"], "kubectl replace of the author's file"
    grown = changed(cluster["spec"], {"/workerGroupSpecs/0/replicas": 3})
    assert stored_after({"spec": grown})["spec"] == grown
    hint = json.loads(control_plane.get(path)["metadata"]["annotations"][INJECTED_ANNOTATION])
    assert hint["version"] != "99.0.0", "it says who wrote what stands there"
    head, _ = make_pods(control_plane, control_plane.get(path))
    assert init_container(head)["image"] == "images.example/raywarden:99.0.0", (
        "pods are new each time"
    )


def replaced(control_plane: ControlPlane, path: str) -> Object:
    """The metadata of the author's file, at the version that is stored."""
    return {
        "name": "demo",
        "resourceVersion": control_plane.get(path)["metadata"]["resourceVersion"],
    }
