"""Replicas of two versions at once: each accepts the pods of the other, and none changes what is
stored.
"""

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
# The same program with another version.
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
    """Have one replica mutate and the other validate, as can happen during an upgrade."""
    installation.register_at(mutate=mutate.admission, validate=validate.admission)
    for replica in (mutate, validate):
        replica.wait_ready()
    installation.wait_effective()


@pytest.mark.parametrize(
    "newer_first", [False, True], ids=["mutated by the old version", "mutated by the new version"]
)
def test_each_version_accepts_the_pods_that_the_other_has_mutated(
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
    """Whether labels change, the author's file is replaced, or the number of replicas changes."""
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
    assert again.json()["spec"] == cluster["spec"], "`kubectl replace` with the author's file"
    grown = changed(cluster["spec"], {"/workerGroupSpecs/0/replicas": 3})
    assert stored_after({"spec": grown})["spec"] == grown
    hint = json.loads(control_plane.get(path)["metadata"]["annotations"][INJECTED_ANNOTATION])
    assert hint["version"] != "99.0.0", (
        "the annotation must name the version that injected the parts"
    )
    head, _ = make_pods(control_plane, control_plane.get(path))
    assert init_container(head)["image"] == "images.example/raywarden:99.0.0", (
        "new pods get the image of the new version"
    )


def replaced(control_plane: ControlPlane, path: str) -> Object:
    """The metadata of the author's file, with the stored resource version."""
    return {
        "name": "demo",
        "resourceVersion": control_plane.get(path)["metadata"]["resourceVersion"],
    }
