"""What KubeRay and the kubelet do for a Ray pod.

KubeRay creates the pod. The kubelet gives it an address and a token, and runs its init container.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from policies.ray.kuberay import pods_of
from policies.ray.pod import ENROLL_CONTAINER
from policies.ray.workload import Workload
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.kuberay_operator import OPERATOR
from tests.support.factory import Object, changed, ray_cluster

AUDIENCE = "raywarden.io"


def cluster_of(name: str = "demo") -> Object:
    """A RayCluster as its author writes it."""
    account = "template/spec/serviceAccountName"
    changes = {
        "/metadata": {"name": name},
        f"/spec/headGroupSpec/{account}": "ray",
        f"/spec/workerGroupSpecs/0/{account}": "ray",
    }
    return changed(ray_cluster(), changes)


def make_cluster(control_plane: ControlPlane, namespace: str, name: str = "demo") -> Object:
    """Create the RayCluster of `cluster_of`; returns the stored object."""
    return control_plane.make(
        f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters", cluster_of(name)
    )


def pods_made_of(cluster: Object) -> tuple[Object, Object]:
    """The head and the worker pod as KubeRay sends them to the API server."""
    uid = {"/metadata/ownerReferences/0/uid": cluster["metadata"]["uid"]}
    head, worker = (changed(pod, uid) for pod in pods_of(Workload("RayCluster", cluster)))
    return head, worker


def make_pods(control_plane: ControlPlane, cluster: Object) -> tuple[Object, Object]:
    """Create the head and the worker pod of a stored RayCluster; returns the stored objects."""
    path = f"/api/v1/namespaces/{cluster['metadata']['namespace']}/pods"
    head, worker = pods_made_of(cluster)
    return control_plane.make(path, head, OPERATOR), control_plane.make(path, worker, OPERATOR)


def marked_worker(cluster: Object) -> Object:
    """A worker of a cluster with `inject.rayCluster: marker`: the RayCluster has only the label.

    So everything else must be injected into the pod.
    """
    labels = {"/metadata/labels/raywarden.io~1tls": "managed"}
    return changed(pods_made_of({**cluster, "spec": cluster_of()["spec"]})[1], labels)


def place_of(pod: Object) -> str:
    """The API path of a pod."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def give_address(control_plane: ControlPlane, pod: Object, address: str) -> None:
    """Report the address of a pod, as the kubelet does some time after the pod has it."""
    status = {"podIP": address, "podIPs": [{"ip": address}]}
    control_plane.patch(f"{place_of(pod)}/status", {"status": status})


def token_for(control_plane: ControlPlane, pod: Object, audience: str = AUDIENCE) -> str:
    """A token bound to the pod, like the token that the kubelet projects into it."""
    metadata = pod["metadata"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    account = pod["spec"]["serviceAccountName"]
    return control_plane.token(
        metadata["namespace"], account, audiences=[audience], boundObjectRef=bound
    )


def csr() -> str:
    """A certificate signing request for a new key, which is discarded."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(Encoding.PEM).decode()


def init_container(pod: Object) -> Object:
    """RayWarden's init container in a stored pod."""
    containers: list[Object] = pod["spec"].get("initContainers", [])
    (enroll,) = [container for container in containers if container["name"] == ENROLL_CONTAINER]
    return enroll


def variable(pod: Object, name: str) -> str:
    """The value of a variable of RayWarden's init container; empty if the kubelet sets it."""
    (entry,) = [entry for entry in init_container(pod)["env"] if entry["name"] == name]
    value: str = entry.get("value", "")
    return value


@dataclass(frozen=True)
class Enrolling:
    """The running init container of a pod; `tls` is its `/etc/ray/tls`."""

    process: subprocess.Popen[str]
    tls: Path
    log: Path

    @classmethod
    def start(
        cls, control_plane: ControlPlane, pod: Object, address: str, folder: Path
    ) -> "Enrolling":
        """Start the init container in a new folder, with the command and variables of the pod.

        The API server may not know the pod's address yet.
        """
        token, tls, log = folder / "token", folder / "tls", folder / "termination-log"
        tls.mkdir(parents=True)
        token.write_text(token_for(control_plane, pod))
        log.touch()
        files = ["--token-file", str(token), "--directory", str(tls), "--termination-log", str(log)]
        process = subprocess.Popen(
            [*_command(init_container(pod)), *files],
            env={"PATH": os.environ["PATH"], **_environment(init_container(pod), address)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return cls(process, tls, log)

    def wait(self) -> "Tls":
        """Wait until the init container has succeeded; returns the files that it wrote."""
        output, _ = self.process.communicate(timeout=60)
        assert (self.process.returncode, self.log.read_text()) == (0, ""), output
        return Tls(self.tls)


def _command(container: Mapping[str, Any]) -> Sequence[str]:
    command: list[str] = container["command"] + container["args"]
    assert command[0] == "raywarden"
    return [sys.executable, "-m", "webhook", *command[1:]]


def _environment(container: Mapping[str, Any], address: str) -> dict[str, str]:
    """The environment as the kubelet sets it: plain values, and the address by the downward API."""
    fields = {"status.podIP": address}
    environment = {}
    for entry in container["env"]:
        if "value" in entry:
            environment[entry["name"]] = entry["value"]
        else:
            path = entry["valueFrom"]["fieldRef"]["fieldPath"]
            environment[entry["name"]] = fields[path]
    return environment


@dataclass(frozen=True)
class Tls:
    """The files that Ray finds in `/etc/ray/tls`."""

    folder: Path

    @property
    def leaf(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "tls.crt").read_bytes())

    @property
    def bundle(self) -> bytes:
        return (self.folder / "ca.crt").read_bytes()

    @property
    def authorities(self) -> list[x509.Certificate]:
        """The CAs that the pod trusts; the first is the one that signs."""
        return x509.load_pem_x509_certificates(self.bundle)

    @property
    def names(self) -> x509.SubjectAlternativeName:
        return self.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    def verify(self, peer: "Tls", *options: str) -> tuple[int, str]:
        """Verify the certificate of `peer` with OpenSSL and the CAs that this pod trusts.

        Returns the exit code and the output.
        """
        chain, bundle = str(peer.folder / "tls.crt"), str(self.folder / "ca.crt")
        command = ["openssl", "verify", "-x509_strict", "-CAfile", bundle, *options]
        command += ["-untrusted", chain, chain]
        process = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return process.returncode, process.stdout + process.stderr


def enroll(control_plane: ControlPlane, pod: Object, address: str, folder: Path) -> Tls:
    """Run the init container of a pod whose address is known."""
    give_address(control_plane, pod, address)
    return Enrolling.start(control_plane, pod, address, folder).wait()
