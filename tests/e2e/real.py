"""A real API server (from `KUBEBUILDER_ASSETS`) with RayWarden installed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.apiserver.admin import Admin, activate
from tests.apiserver.control_plane import ISSUER, ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.kuberay_operator import OPERATOR
from tests.apiserver.permissions import RBAC
from tests.apiserver.pods import give_address, place_of, token_for
from tests.apiserver.replica import Replica, serving
from tests.e2e.api import SETTINGS
from tests.e2e.captured import ACCOUNT, NAMESPACE, head_service, ray_cluster_of
from tests.e2e.network import addresses
from tests.support.factory import Object

_POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"


@dataclass(frozen=True)
class Real:
    """The API server stores every pod, calls RayWarden's webhooks, and verifies the tokens."""

    installation: Installation
    replica: Replica
    policy_file: Path
    free: Iterator[str]

    @property
    def _control_plane(self) -> ControlPlane:
        return self.installation.control_plane

    @property
    def signer_namespace(self) -> str:
        return self.installation.namespace

    @property
    def root_ca(self) -> str:
        return self._control_plane.ca.read_text()

    @property
    def port(self) -> int:
        return self._control_plane.port

    def make_cluster(self, name: str, changes: Mapping[str, Any]) -> Object:
        path = f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayclusters"
        stored = self._control_plane.get(f"{path}/{name}")
        if stored:
            return stored
        self._control_plane.make(f"/api/v1/namespaces/{NAMESPACE}/services", head_service(name))
        return self._control_plane.make(path, ray_cluster_of(name, changes))

    def make_pod(self, pod: Object) -> Object:
        namespace = pod["metadata"].get("namespace", NAMESPACE)
        return self._control_plane.make(f"/api/v1/namespaces/{namespace}/pods", pod, OPERATOR)

    def make_objects(self, documents: Sequence[Object]) -> None:
        known = [one for one in documents if not one["apiVersion"].startswith("cert-manager.io/")]
        self._control_plane.apply(*known)

    def place(self, pod: Object) -> str:
        address = next(self.free)
        give_address(self._control_plane, pod, address)
        return address

    def refusal(self, pod: Object) -> str:
        namespace = pod["metadata"]["namespace"]
        response = self._control_plane.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
        return "" if response.is_success else str(response.json()["message"])

    def replicas(self, cluster: Object) -> int:
        path = f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayclusters/{cluster['metadata']['name']}"
        return int(self._control_plane.get(path)["spec"]["workerGroupSpecs"][0]["replicas"])

    def report_running(self, pod: Object) -> None:
        running = {"ready": True, "restartCount": 0, "imageID": "", "state": {"running": {}}}
        statuses = [
            {"name": container["name"], "image": container["image"], **running}
            for container in pod["spec"]["containers"]
        ]
        status = {"phase": "Running", "containerStatuses": statuses}
        self._control_plane.patch(f"{place_of(pod)}/status", {"status": status})

    def delete_pod(self, pod: Object) -> None:
        self._control_plane.delete(place_of(pod))

    def make_namespace(self, name: str) -> None:
        self._control_plane.make("/api/v1/namespaces", {"metadata": {"name": name}})

    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        items = self._control_plane.get("/api/v1/namespaces")["items"]
        return {item["metadata"]["name"]: item["metadata"]["labels"] for item in items}

    def network_policies(self) -> Sequence[Object]:
        policies: Sequence[Object] = self._control_plane.get(_POLICIES)["items"]
        return policies

    @contextmanager
    def no_rights_to_write(self) -> Iterator[None]:
        rights = [
            document
            for document in self.installation.shipped()
            if document["metadata"]["name"] == "raywarden-network-policies"
            and document["kind"] == "ClusterRoleBinding"
        ]
        self._control_plane.take_away(*rights)
        try:
            yield
        finally:
            self._control_plane.apply(*rights)

    def write_policies(self, policies: Sequence[Object]) -> None:
        self._control_plane.apply(*policies)

    def delete_policies(self, policies: Sequence[Object]) -> None:
        self._control_plane.take_away(*policies)

    def token(self, pod: Object, audience: str) -> str:
        return token_for(self._control_plane, pod, audience or ISSUER)

    def adopt_policy(self, policy: Object) -> None:
        before = self.replica.log("policy loaded")
        self.policy_file.write_text(yaml.safe_dump(policy))
        until(lambda: len(self.replica.log("policy loaded")) > len(before))

    def rotate(self) -> None:
        admin = Admin(self.installation)
        admin.run("rotate")
        newest = json.loads(admin.run("list", "-o", "json"))["generations"][-1]["name"]
        name = activate(self.installation, newest)
        until(
            lambda: any(name in event["generations"] for event in self.replica.log("seed adopted"))
        )

    def free_addresses(self) -> Iterator[str]:
        return self.free


@contextmanager
def real(folder: Path, assets: Path) -> Iterator[Real]:
    """Run an API server with RayWarden's manifests and one replica, registered and ready."""
    policy_file = folder / "policy.yaml"
    policy_file.write_text("{}\n")
    with ControlPlane(folder, assets) as control_plane:
        installation = Installation.make(control_plane)
        namespace = {"metadata": {"name": NAMESPACE}}
        control_plane.make("/api/v1/namespaces", namespace)
        control_plane.make(
            f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": ACCOUNT}}
        )
        _allow_autoscaling(control_plane)
        with serving(installation, **SETTINGS, POLICY_FILE=str(policy_file)) as replica:
            installation.register_at(replica.admission, replica.admission)
            replica.wait_ready()
            installation.wait_effective()
            yield Real(installation, replica, policy_file, addresses())


def _allow_autoscaling(control_plane: ControlPlane) -> None:
    """Give the pods the rights that KubeRay gives to those of an autoscaling cluster."""
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["ray.io"], "resources": ["rayclusters"], "verbs": ["get", "patch"]},
    ]
    path, name = f"{RBAC}/namespaces/{NAMESPACE}", "autoscaler"
    control_plane.make(f"{path}/roles", {"metadata": {"name": name}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    control_plane.make(f"{path}/rolebindings", binding)
