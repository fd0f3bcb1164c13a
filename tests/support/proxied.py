"""RayClusters and pods with RayWarden's proxy in front of the dashboard."""

from typing import Any

from policies.model import Facts
from policies.ray.kuberay import pods_of
from policies.ray.workload import Workload
from tests.support import factory
from tests.support.factory import Object, changed, facts
from tests.support.injection import after

IMAGE = f"registry.example/kube-rbac-proxy@sha256:{'a' * 64}"
INJECT: dict[str, Any] = {"dashboard": "rbac-proxy", "dashboardProxyImage": IMAGE}
NAME = "raywarden-dashboard-proxy"
ANNOTATION = "raywarden.io/dashboard-authorization"
HEAD = "/spec/headGroupSpec/template"
HOST = "/spec/headGroupSpec/rayStartParams/dashboard-host"


def proxying(operation: str = "CREATE", before: Object | None = None, **inject: Any) -> Facts:
    """Facts with a policy file that asks for a proxy."""
    return facts(operation, before, **{**INJECT, **inject})


def proxied_cluster(**changes: Any) -> Object:
    """A RayCluster as it is stored."""
    stored: Object = after(changed(factory.ray_cluster(), changes), proxying())
    return stored


def sent_head(cluster: Object) -> Object:
    """The head pod as KubeRay sends it."""
    pod: Object = next(iter(pods_of(Workload("RayCluster", cluster))))
    owner = {"/metadata/namespace": "team-a", "/metadata/ownerReferences/0/uid": _uid()}
    return changed(pod, owner)


def _uid() -> str:
    uid: str = factory.head_pod()["metadata"]["ownerReferences"][0]["uid"]
    return uid
