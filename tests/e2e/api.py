"""What the kubelet and KubeRay ask of an API server."""

from collections.abc import Iterator
from typing import Protocol

from tests.support.factory import Object

ENROLLMENT_PORT = 8444
SIGNER = "raywarden-enroll.raywarden-system.svc"
SETTINGS = {
    # Everywhere in a network namespace where nobody else is: pods come by the bridge, the API server by loopback.
    "HOST": "0.0.0.0",
    "ENROLLMENT_PORT": str(ENROLLMENT_PORT),
    "SIGNER_URL": f"https://{SIGNER}:{ENROLLMENT_PORT}",
    "RESYNC_SECONDS": "0.5",
}


class Api(Protocol):
    """An API server that sends everything to RayWarden first."""

    def make_cluster(self, name: str) -> Object:
        """Store a RayCluster."""

    def make_pod(self, pod: Object) -> Object:
        """Store a pod of KubeRay's."""

    def place(self, pod: Object) -> str:
        """Give a stored pod an address, and report it, as CNI and kubelet do."""

    def delete_pod(self, pod: Object) -> None:
        """Take a pod away."""

    def token(self, pod: Object, audience: str) -> str:
        """A token bound to the pod; of the API server's own audience for the empty text."""

    def adopt_policy(self, policy: Object) -> None:
        """Have RayWarden follow another policy."""

    def rotate(self) -> None:
        """Add a generation to the seed, and wait until it is in force."""

    def free_addresses(self) -> Iterator[str]:
        """Addresses for pods the API server knows nothing of."""
