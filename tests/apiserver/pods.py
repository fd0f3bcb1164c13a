"""What others do for a Ray pod: KubeRay makes it, the kubelet gives it an address, a token and its init container."""

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
    """The same, applied; gives what was stored."""
    return control_plane.make(
        f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters", cluster_of(name)
    )


def pods_made_of(cluster: Object) -> tuple[Object, Object]:
    """Head and worker as KubeRay sends them."""
    uid = {"/metadata/ownerReferences/0/uid": cluster["metadata"]["uid"]}
    head, worker = (changed(pod, uid) for pod in pods_of(Workload("RayCluster", cluster)))
    return head, worker


def make_pods(control_plane: ControlPlane, cluster: Object) -> tuple[Object, Object]:
    """Head and worker of a stored RayCluster; gives what was stored."""
    path = f"/api/v1/namespaces/{cluster['metadata']['namespace']}/pods"
    head, worker = pods_made_of(cluster)
    return control_plane.make(path, head, OPERATOR), control_plane.make(path, worker, OPERATOR)


def marked_worker(cluster: Object) -> Object:
    """A worker of a cluster that was marked and no more (`inject.rayCluster: marker`): all is still to be done."""
    labels = {"/metadata/labels/raywarden.io~1tls": "managed"}
    return changed(pods_made_of({**cluster, "spec": cluster_of()["spec"]})[1], labels)


def place_of(pod: Object) -> str:
    """Where the API server has a pod."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def give_address(control_plane: ControlPlane, pod: Object, address: str) -> None:
    """Report the pod's address, as the kubelet does some time after the pod has it."""
    control_plane.patch(
        f"{place_of(pod)}/status", {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
    )


def token_for(control_plane: ControlPlane, pod: Object, audience: str = AUDIENCE) -> str:
    """A token bound to the pod, as it is projected into it."""
    metadata = pod["metadata"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    account = pod["spec"]["serviceAccountName"]
    return control_plane.token(
        metadata["namespace"], account, audiences=[audience], boundObjectRef=bound
    )


def csr() -> str:
    """A request for a certificate, for a key that is forgotten at once."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(Encoding.PEM).decode()


def init_container(pod: Object) -> Object:
    """Ours, as it stands in a stored pod."""
    listed: list[Object] = pod["spec"].get("initContainers", [])
    (ours,) = [one for one in listed if one["name"] == ENROLL_CONTAINER]
    return ours


def variable(pod: Object, name: str) -> str:
    """The value of a variable of our init container; empty where the kubelet is to find it."""
    (entry,) = [entry for entry in init_container(pod)["env"] if entry["name"] == name]
    value: str = entry.get("value", "")
    return value


@dataclass(frozen=True)
class Enrolling:
    """The init container of a pod, started with what the pod's spec gives it; `tls` is its `/etc/ray/tls`."""

    process: subprocess.Popen[str]
    tls: Path
    log: Path

    @classmethod
    def start(
        cls, control_plane: ControlPlane, pod: Object, address: str, folder: Path
    ) -> "Enrolling":
        """In a new folder, for a pod whose address nobody but the kubelet may know yet."""
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
        """The files it leaves; fails where it failed."""
        said, _ = self.process.communicate(timeout=60)
        assert (self.process.returncode, self.log.read_text()) == (0, ""), said
        return Tls(self.tls)


def _command(container: Mapping[str, Any]) -> Sequence[str]:
    command: list[str] = container["command"] + container["args"]
    assert command[0] == "raywarden"
    return [sys.executable, "-m", "webhook", *command[1:]]


def _environment(container: Mapping[str, Any], address: str) -> dict[str, str]:
    """As the kubelet makes it: values as they stand, and the address where the downward API is asked for it."""
    fields = {"status.podIP": address}
    return {
        entry["name"]: entry["value"]
        if "value" in entry
        else fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        for entry in container["env"]
    }


@dataclass(frozen=True)
class Tls:
    """What Ray finds in `/etc/ray/tls`."""

    folder: Path

    @property
    def leaf(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "tls.crt").read_bytes())

    @property
    def bundle(self) -> bytes:
        return (self.folder / "ca.crt").read_bytes()

    @property
    def authorities(self) -> list[x509.Certificate]:
        """The CAs it trusts, the one that signs first."""
        return x509.load_pem_x509_certificates(self.bundle)

    @property
    def names(self) -> x509.SubjectAlternativeName:
        return self.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    def verify(self, peer: "Tls", *options: str) -> tuple[int, str]:
        """Whether OpenSSL would let the other one in, trusting what this one trusts."""
        strict = [
            "openssl",
            "verify",
            "-x509_strict",
            "-CAfile",
            str(self.folder / "ca.crt"),
            *options,
        ]
        command = [
            *strict,
            "-untrusted",
            str(peer.folder / "tls.crt"),
            str(peer.folder / "tls.crt"),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return ended.returncode, ended.stdout + ended.stderr


def enroll(control_plane: ControlPlane, pod: Object, address: str, folder: Path) -> Tls:
    """Run the init container of a pod whose address is known."""
    give_address(control_plane, pod, address)
    return Enrolling.start(control_plane, pod, address, folder).wait()
