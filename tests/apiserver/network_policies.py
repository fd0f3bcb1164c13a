"""Managed RayClusters and their NetworkPolicies in an API server."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from policies.network.isolation import ISOLATION_ANNOTATION, MANAGED
from tests.apiserver.control_plane import AUDIT_LOG, ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.pods import cluster_of
from tests.apiserver.replica import Replica, serving
from tests.support.factory import Object, changed

PODS, HEAD = "raywarden-pods-demo", "raywarden-head-demo"
_QUOTAS = "resourcequotas"
_LEADER = "raywarden_network_policy_leader"


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


class Isolating:
    """Two servers that write NetworkPolicies by a policy file, behind registered webhooks."""

    def __init__(self, installation: Installation, stack: ExitStack, policy_file: Path) -> None:
        self.installation = installation
        self.control_plane = installation.control_plane
        self._stack = stack
        self._policy_file = policy_file
        self.set_mode("members")
        self.replicas = [self.start(), self.start()]
        installation.register(*self.replicas)
        for replica in self.replicas:
            replica.wait_ready()
        installation.wait_effective()

    def start(self) -> Replica:
        settings = {"POLICY_FILE": str(self._policy_file)}
        return self._stack.enter_context(serving(self.installation, **settings))

    def set_mode(self, mode: str, **isolation: Any) -> None:
        text = yaml.safe_dump({"networkIsolation": {"mode": mode, **isolation}})
        self._policy_file.write_text(text)

    def leader(self) -> Replica:
        """The replica that writes."""
        leader = until(self._leader)
        assert leader
        return leader

    def _leader(self) -> Replica | None:
        running = [replica for replica in self.replicas if replica.process.poll() is None]
        leaders = [replica for replica in running if replica.metric(_LEADER)]
        return leaders[0] if len(leaders) == 1 else None

    def policies(self, namespace: str) -> dict[str, Object]:
        return stored_policies(self.control_plane, namespace)

    def wait_closed(self, namespace: str, seconds: float = 20) -> dict[str, Object]:
        """Wait until both policies of the cluster exist; returns them."""
        until(lambda: self.policies(namespace).keys() >= {PODS, HEAD}, seconds)
        return self.policies(namespace)

    def writes(self) -> list[str]:
        """The verb and name of each write of a NetworkPolicy by the servers, in the audit log."""
        user = f"system:serviceaccount:{self.installation.namespace}:raywarden"
        found = []
        for line in (self.control_plane.folder / AUDIT_LOG).read_text().splitlines():
            event = json.loads(line)
            target = event.get("objectRef", {})
            if event["user"]["username"] != user or target.get("resource") != "networkpolicies":
                continue
            if event["verb"] not in ("list", "watch"):
                found.append(f"{event['verb']} {target['namespace']}/{target['name']}")
        return found
