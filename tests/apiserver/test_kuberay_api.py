"""Which fields the installed KubeRay has, from a real API server, with RayWarden's own rights."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from policies.ray.operator import KubeRayOperator
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import until
from tests.apiserver.permissions import as_raywarden
from webhook.kube.api import KubeApi
from webhook.kube.kuberay import KubeRayDiscovery

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = "rayclusters.ray.io"
NAMES = {
    "kind": "RayCluster",
    "listKind": "RayClusterList",
    "plural": "rayclusters",
    "singular": "raycluster",
}


def definition(options: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"rayVersion": {"type": "string"}}
    if options is not None:
        fields["authOptions"] = {"type": "object", "properties": options}
    ray_cluster_spec = {"type": "object", "properties": fields}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": ray_cluster_spec}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "ray.io", "scope": "Namespaced", "names": NAMES, "versions": [version]}
    return {"metadata": {"name": NAME}, "spec": spec}


@pytest.fixture
def server(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The API server; its RayCluster is as before at the end."""
    before = copy.deepcopy(control_plane.get(f"{DEFINITIONS}/{NAME}"))
    if before:
        control_plane.delete(f"{DEFINITIONS}/{NAME}")
        until(lambda: not control_plane.get(f"{DEFINITIONS}/{NAME}"))
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    if not control_plane.get(f"{accounts}/raywarden"):
        control_plane.make(accounts, {"metadata": {"name": "raywarden"}})
    yield control_plane
    control_plane.delete(f"{DEFINITIONS}/{NAME}")
    until(lambda: not control_plane.get(f"{DEFINITIONS}/{NAME}"))
    if before:
        metadata = {"name": NAME}
        control_plane.make(DEFINITIONS, {"metadata": metadata, "spec": before["spec"]})
        until(lambda: control_plane.get("/apis/ray.io/v1/rayclusters"))


def known(server: ControlPlane) -> KubeRayOperator:
    """What the service account `raywarden`, without any rights of its own, can see."""
    found: list[KubeRayOperator] = []

    async def ask(api: KubeApi) -> None:
        discovery = KubeRayDiscovery(api)
        await discovery.update()
        found.append(discovery.operator)

    as_raywarden(server, "default", ask)
    return found[0]


MODE = {"mode": {"type": "string"}}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, KubeRayOperator(False, False, False, release=(1, 5, 0))),
        (MODE, KubeRayOperator(True, False, False, release=(1, 5, 1))),
        (
            {**MODE, "enableK8sTokenAuth": {"type": "boolean"}},
            KubeRayOperator(True, True, False, release=(1, 6)),
        ),
    ],
)
def test_what_each_release_of_kuberay_knows(
    server: ControlPlane, options: Any, expected: KubeRayOperator
) -> None:
    server.make(DEFINITIONS, definition(options))
    until(lambda: known(server) == expected)
