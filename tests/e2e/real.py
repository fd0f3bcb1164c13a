"""A real API server (from `KUBEBUILDER_ASSETS`) with RayWarden installed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.apiserver.admin import Admin, activate
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.kuberay_operator import OPERATOR
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

    def make_cluster(self, name: str, labels: Mapping[str, str]) -> Object:
        path = f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayclusters"
        stored = self._control_plane.get(f"{path}/{name}")
        if stored:
            return stored
        self._control_plane.make(f"/api/v1/namespaces/{NAMESPACE}/services", head_service(name))
        return self._control_plane.make(path, ray_cluster_of(name, labels))

    def make_pod(self, pod: Object) -> Object:
        return self._control_plane.make(f"/api/v1/namespaces/{NAMESPACE}/pods", pod, OPERATOR)

    def place(self, pod: Object) -> str:
        address = next(self.free)
        give_address(self._control_plane, pod, address)
        return address

    def refusal(self, pod: Object) -> str:
        namespace = pod["metadata"]["namespace"]
        response = self._control_plane.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
        return "" if response.is_success else str(response.json()["message"])

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

    def write_policies(self, policies: Sequence[Object]) -> None:
        self._control_plane.apply(*policies)

    def delete_policies(self, policies: Sequence[Object]) -> None:
        self._control_plane.take_away(*policies)

    def token(self, pod: Object, audience: str) -> str:
        # An empty audience means the API server, which no program in these pods calls.
        return token_for(self._control_plane, pod, audience) if audience else ""

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
        with serving(installation, **SETTINGS, POLICY_FILE=str(policy_file)) as replica:
            installation.register_at(replica.admission, replica.admission)
            replica.wait_ready()
            installation.wait_effective()
            yield Real(installation, replica, policy_file, addresses())
