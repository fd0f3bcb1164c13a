"""People and their clusters: alice may connect, and bob may only ask."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certs.client import ClusterName
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.permissions import RBAC
from tests.apiserver.pods import cluster_of
from tests.support.deployed import BASE, rendered
from tests.support.factory import Object, changed
from tests.support.paths import DEPLOY

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "raywarden.io/ray-client"
USAGES = ["digital signature", "client auth"]
KEY = ec.generate_private_key(ec.SECP256R1())
TOKEN = "the-token-of-the-cluster"


@dataclass(frozen=True)
class Team:
    """A namespace with a RayCluster, and people: alice has the roles, bob may only ask."""

    control_plane: ControlPlane
    namespace: str
    cluster: Object
    alice: Path
    bob: Path

    def user(self, name: str) -> str:
        return f"system:serviceaccount:{self.namespace}:{name}"

    @property
    def title(self) -> str:
        return f"{self.namespace}/demo"

    def ask(self, user: str, csr: str, **spec: Any) -> str:
        """Create a request as a user; returns its path."""
        request = {"request": csr, "signerName": SIGNER, "usages": USAGES, **spec}
        document = {"metadata": {"generateName": "test-"}, "spec": request}
        made = self.control_plane.make(REQUESTS, document, user)
        return f"{REQUESTS}/{made['metadata']['name']}"

    def csr(self, name: str = "demo", namespace: str = "") -> str:
        """A request for a certificate of a cluster, in base64."""
        subject = ClusterName(namespace or self.namespace, name).subject
        request = x509.CertificateSigningRequestBuilder().subject_name(subject)
        return encoded(request.sign(KEY, hashes.SHA256()))

    def answer(self, path: str) -> tuple[str, str]:
        """What becomes of a request: the type and the message of the last condition."""

        def conditions() -> list[Mapping[str, str]]:
            status = self.control_plane.get(path).get("status", {})
            entries: list[Mapping[str, str]] = status.get("conditions", [])
            unsigned = entries and entries[-1]["type"] == "Approved" and "certificate" not in status
            return [] if unsigned else entries

        last = until(conditions)[-1]
        return last["type"], last["message"]

    def certificates(self, path: str) -> list[x509.Certificate]:
        pem = base64.b64decode(self.control_plane.get(path)["status"]["certificate"])
        return x509.load_pem_x509_certificates(pem)


def encoded(request: x509.CertificateSigningRequest) -> str:
    return base64.b64encode(request.public_bytes(Encoding.PEM)).decode()


def bind(
    control_plane: ControlPlane, namespace: str, role: str, *accounts: str, of: str = ""
) -> None:
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    subjects = [
        {"kind": "ServiceAccount", "name": account, "namespace": of or namespace}
        for account in accounts
    ]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    binding = {
        "metadata": {"generateName": f"{role}-"},
        "roleRef": reference,
        "subjects": subjects,
    }
    place = f"/namespaces/{namespace}" if namespace else ""
    control_plane.make(f"{RBAC}{place}/{kind.lower()}s", binding)


def add_connect(installation: Installation) -> None:
    """Apply what `deploy/components/connect` adds to the base, except for its setting."""
    shipped = rendered(DEPLOY / "overlays" / "connect")
    known = {(document["kind"], document["metadata"]["name"]) for document in rendered(BASE)}
    added = [
        document
        for document in shipped
        if (document["kind"], document["metadata"]["name"]) not in known
    ]
    text = yaml.safe_dump_all(added).replace("raywarden-system", installation.namespace)
    installation.control_plane.apply(*yaml.safe_load_all(text))


def make_team(installation: Installation) -> Team:
    """A new namespace with alice, bob and a RayCluster."""
    control_plane, namespace = installation.control_plane, installation.team()
    for name in ("alice", "bob"):
        control_plane.make(
            f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}}
        )
    bind(control_plane, namespace, "raywarden-ray-user", "alice")
    bind(control_plane, "", "raywarden-ray-user-requests", "alice", "bob", of=namespace)
    labels = {"/metadata/labels": {"raywarden.io/tls": "managed"}}
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"
    cluster = control_plane.make(path, changed(cluster_of(), labels))
    users = [
        control_plane.kubeconfig(f"{namespace}-{name}", control_plane.token(namespace, name))
        for name in ("alice", "bob")
    ]
    return Team(control_plane, namespace, cluster, *users)
