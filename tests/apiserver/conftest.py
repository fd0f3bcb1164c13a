"""A real kube-apiserver and etcd, by envtest's convention: `KUBEBUILDER_ASSETS` names the folder they are in."""

import os
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apiserver.pki import Pki, signing_keys
from tests.kube_conversation import free_port, write_kubeconfig

_START_SECONDS = 60
_ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class ControlPlane:
    """A running API server with RBAC and no controllers; `admin` may do anything."""

    server: str
    ca: Path
    folder: Path
    admin: httpx.Client

    def make(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """POST as the admin; gives what was stored."""
        answer = self.admin.post(path, json=document)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def token(self, namespace: str, account: str, **spec: Any) -> str:
        """A service account token, as the kubelet asks for it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        token: str = self.make(path, {"spec": {"expirationSeconds": 600, **spec}})["status"]["token"]
        return token

    def kubeconfig(self, name: str, token: str) -> Path:
        """A kubeconfig for whoever holds this token."""
        cluster = {"server": self.server, "certificate-authority": str(self.ca)}
        return write_kubeconfig(self.folder / f"{name}.kubeconfig", cluster, {"token": token})


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    if not (assets := os.environ.get("KUBEBUILDER_ASSETS")):
        pytest.skip("KUBEBUILDER_ASSETS is not set: it names a folder with kube-apiserver and etcd")
    folder = tmp_path_factory.mktemp("apiserver")
    pki, port, etcd = Pki(folder), free_port(), f"http://127.0.0.1:{free_port()}"
    context = ssl.create_default_context(cafile=pki.ca)
    context.load_cert_chain(*pki.certify("admin", "system:masters"))
    server = f"https://127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(_running(folder, Path(assets) / "etcd", _etcd_flags(folder, etcd)))
        flags = _api_server_flags(folder, pki, etcd, port)
        process = stack.enter_context(_running(folder, Path(assets) / "kube-apiserver", flags))
        admin = stack.enter_context(httpx.Client(base_url=server, verify=context, trust_env=False))
        _wait(admin, process, folder / "kube-apiserver.log")
        yield ControlPlane(server, pki.ca, folder, admin)


@contextmanager
def _running(folder: Path, program: Path, flags: Mapping[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """A program, and its end by its own id."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    with (folder / f"{program.name}.log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], env={"HOME": str(folder)}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _etcd_flags(folder: Path, client: str) -> dict[str, Any]:
    peer = f"http://127.0.0.1:{free_port()}"
    return {
        "data_dir": folder / "etcd",
        "listen_client_urls": client,
        "advertise_client_urls": client,
        "listen_peer_urls": peer,
        "initial_advertise_peer_urls": peer,
        "initial_cluster": f"default={peer}",
        "unsafe_no_fsync": "true",
    }


def _api_server_flags(folder: Path, pki: Pki, etcd: str, port: int) -> dict[str, Any]:
    certificate, key = pki.certify("server")
    signing_key, public_key = signing_keys(folder)
    return {
        "etcd_servers": etcd,
        "bind_address": "127.0.0.1",
        "advertise_address": "127.0.0.1",
        "secure_port": port,
        "endpoint_reconciler_type": "none",
        "service_cluster_ip_range": "10.0.0.0/24",
        "authorization_mode": "RBAC",
        "client_ca_file": pki.ca,
        "tls_cert_file": certificate,
        "tls_private_key_file": key,
        "cert_dir": folder,
        "service_account_issuer": _ISSUER,
        "service_account_signing_key_file": signing_key,
        "service_account_key_file": public_key,
        "api_audiences": _ISSUER,
    }


def _wait(admin: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if admin.get("/readyz").text == "ok":
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"kube-apiserver did not get ready:\n{log.read_text()[-3000:]}")
