"""The interface to an API server that the kubelet and KubeRay need here."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from tests.support.factory import Object

ENROLLMENT_PORT = 8444
SIGNER = "raywarden-enroll.raywarden-system.svc"
SETTINGS = {
    # On all addresses of a private network namespace: pods connect over the bridge, the API server
    # over loopback.
    "HOST": "0.0.0.0",
    "ENROLLMENT_PORT": str(ENROLLMENT_PORT),
    "SIGNER_URL": f"https://{SIGNER}:{ENROLLMENT_PORT}",
    "RESYNC_SECONDS": "0.5",
}


class Api(Protocol):
    """An API server that calls RayWarden's webhooks for every object."""

    @property
    def signer_namespace(self) -> str:
        """The namespace of RayWarden's server."""

    @property
    def root_ca(self) -> str:
        """The CA of the API server in PEM; empty for a double, which no pod can call."""

    @property
    def port(self) -> int:
        """The port of the API server on 127.0.0.1; 0 for a double."""

    def make_cluster(self, name: str, changes: Mapping[str, Any]) -> Object:
        """Store a RayCluster that differs in `changes` (by pointer) from that of `captured`."""

    def replicas(self, cluster: Object) -> int:
        """How many workers a stored RayCluster asks for now."""

    def report_running(self, pod: Object) -> None:
        """Report that the containers of a pod run, as the kubelet does."""

    def make_pod(self, pod: Object) -> Object:
        """Store a pod as KubeRay's operator."""

    def make_objects(self, documents: Sequence[Object]) -> None:
        """Store the objects of an example as an administrator, without those of cert-manager."""

    def place(self, pod: Object) -> str:
        """Give a stored pod an address and report it, as CNI and kubelet do."""

    def refusal(self, pod: Object) -> str:
        """Try to create a pod as a user with all rights; returns why that is refused, or ""."""

    def delete_pod(self, pod: Object) -> None:
        """Delete a pod."""

    def make_namespace(self, name: str) -> None:
        """Create a namespace."""

    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of all namespaces by name."""

    def network_policies(self) -> Sequence[Object]:
        """The NetworkPolicies of all namespaces."""

    def no_rights_to_write(self) -> AbstractContextManager[None]:
        """Take away RayWarden's rights to write NetworkPolicies within the block."""

    def write_policies(self, policies: Sequence[Object]) -> None:
        """Store NetworkPolicies as an administrator."""

    def delete_policies(self, policies: Sequence[Object]) -> None:
        """Delete NetworkPolicies as an administrator."""

    def token(self, pod: Object, audience: str) -> str:
        """A token bound to the pod; an empty audience means that of the API server itself."""

    def adopt_policy(self, policy: Object) -> None:
        """Change RayWarden's policy, and wait until it is in force."""

    def rotate(self) -> None:
        """Add a generation to the seed, and wait until it is in force."""

    def free_addresses(self) -> Iterator[str]:
        """Addresses for pods that the API server does not know."""
