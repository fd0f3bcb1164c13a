"""Managed RayClusters and their NetworkPolicies in an API server."""

from typing import Any

from policies.network.isolation import ISOLATION_ANNOTATION, MANAGED
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import until
from tests.apiserver.pods import cluster_of
from tests.support.factory import Object, changed

_QUOTAS = "resourcequotas"


def managed_cluster(name: str = "demo", **annotations: str) -> Object:
    """A RayCluster with the annotation, as admission leaves it."""
    managed = {ISOLATION_ANNOTATION: MANAGED, **annotations}
    return changed(cluster_of(name), {"/metadata/annotations": managed})


def make_managed(
    control_plane: ControlPlane, namespace: str, name: str = "demo", **annotations: str
) -> Object:
    """Create the RayCluster of `managed_cluster`; returns the stored object."""
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"
    return control_plane.make(path, managed_cluster(name, **annotations))


def policies_in(namespace: str) -> str:
    """The API path of the NetworkPolicies of a namespace."""
    return f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"


def items(control_plane: ControlPlane, path: str) -> list[dict[str, Any]]:
    """The objects in a list."""
    listed: list[dict[str, Any]] = control_plane.get(path)["items"]
    return listed


def stored_policies(control_plane: ControlPlane, namespace: str) -> dict[str, dict[str, Any]]:
    """The NetworkPolicies of a namespace, by their names."""
    listed = items(control_plane, policies_in(namespace))
    return {policy["metadata"]["name"]: policy for policy in listed}


def allow_no_network_policies(control_plane: ControlPlane, namespace: str) -> None:
    """Set a quota that refuses NetworkPolicies, with the status that a controller would write."""
    hard = {"count/networkpolicies.networking.k8s.io": "0"}
    path = f"/api/v1/namespaces/{namespace}/{_QUOTAS}"
    control_plane.make(path, {"metadata": {"name": "none"}, "spec": {"hard": hard}})
    status = {"status": {"hard": hard, "used": hard}}
    control_plane.patch(f"{path}/none/status", status)
    policy = {"metadata": {"name": "x"}, "spec": {"podSelector": {}}}
    until(lambda: control_plane.post(f"{policies_in(namespace)}?dryRun=All", policy).is_error)
