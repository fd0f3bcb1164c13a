"""A kube-apiserver with its etcd, which tests start, call and interrupt."""

import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from tests.apiserver.free_ports import free_port
from tests.apiserver.pki import Pki, signing_keys
from tests.support.deployed import NO_KUBECTL, kubectl
from tests.support.kube_conversation import write_kubeconfig

# The name by which pods reach an API server.
HOST = "kubernetes.default"
AUDIT_LOG = "audit.log"
# A start takes some seconds; a busy machine may need much longer.
_START_SECONDS = 60
# As the API server's own limit for most requests.
_REQUEST_SECONDS = 60
# More than any storage needs to get ready.
_ATTEMPTS, _MAX_PAUSE_SECONDS = 10, 2
ISSUER = "https://kubernetes.default.svc.cluster.local"


class ControlPlane:
    """A running API server with RBAC and no controllers; `admin` may do anything."""

    def __init__(self, folder: Path, assets: Path) -> None:
        pki, port, etcd = Pki(folder), free_port(), f"http://127.0.0.1:{free_port()}"
        certificate, key = pki.certify("admin", "system:masters")
        context = ssl.create_default_context(cafile=pki.ca)
        context.load_cert_chain(certificate, key)
        transport = _PatientTransport(verify=context, trust_env=False)
        self.server, self.ca, self.folder = f"https://127.0.0.1:{port}", pki.ca, folder
        self.admin = httpx.Client(
            base_url=self.server, transport=transport, trust_env=False, timeout=_REQUEST_SECONDS
        )
        user = {"client-certificate": str(certificate), "client-key": str(key)}
        self.admin_kubeconfig = self._kubeconfig("admin", user)
        self._kubectl_program = kubectl()
        assert self._kubectl_program, NO_KUBECTL
        self._etcd = _Program(folder, assets / "etcd", _etcd_flags(folder, etcd))
        self._api_server = _Program(
            folder, assets / "kube-apiserver", _api_server_flags(folder, pki, etcd, port)
        )

    def __enter__(self) -> Self:
        self._etcd.start()
        self._start_api_server()
        return self

    def __exit__(self, *_: object) -> None:
        self.admin.close()
        self._api_server.kill()
        self._etcd.kill()

    def make(self, path: str, document: Mapping[str, Any], user: str = "") -> dict[str, Any]:
        """Create an object as the admin, or with the rights of `user`; returns what is stored."""
        response = self.post(path, document, user)
        assert response.is_success, response.text
        stored: dict[str, Any] = response.json()
        return stored

    def post(self, path: str, document: Mapping[str, Any], user: str = "") -> httpx.Response:
        """Like `make`, but returns the response, which may be an error."""
        headers = {"Impersonate-User": user} if user else {}
        return self.admin.post(path, json=document, headers=headers)

    def patch(self, path: str, document: Mapping[str, Any]) -> None:
        """Change an object as the admin with a merge patch (RFC 7386)."""
        response = self.change(path, document)
        assert response.is_success, response.text

    def change(self, path: str, document: Mapping[str, Any], user: str = "") -> httpx.Response:
        """Like `patch`, with the rights of `user`; returns the response, which may be an error."""
        headers = {"Content-Type": "application/merge-patch+json"}
        if user:
            headers["Impersonate-User"] = user
        return self.admin.patch(path, json=document, headers=headers)

    def delete(self, path: str) -> None:
        """Delete an object as the admin, without a grace period, if it exists."""
        response = self.admin.delete(path, params={"gracePeriodSeconds": 0})
        assert response.is_success or response.status_code == 404, response.text

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Run `kubectl apply` as the admin."""
        self.apply_text(yaml.safe_dump_all(documents))

    def apply_text(self, manifests: str) -> None:
        """Run `kubectl apply -f -` as the admin on these manifests."""
        self._kubectl("apply", manifests)

    def dry_run(self, *documents: Mapping[str, Any]) -> None:
        """Run `kubectl apply --dry-run=server` as the admin."""
        self._kubectl("apply", yaml.safe_dump_all(documents), "--dry-run=server")

    def take_away(self, *documents: Mapping[str, Any]) -> None:
        """Run `kubectl delete` as the admin, for objects that may not exist."""
        manifests = yaml.safe_dump_all(documents)
        self._kubectl("delete", manifests, "--ignore-not-found", "--wait=false")

    def _kubectl(self, verb: str, manifests: str, *options: str) -> None:
        # A separate cache: the API server of the next test run is another one at the same address.
        command = [
            self._kubectl_program,
            verb,
            "--filename=-",
            *options,
            f"--cache-dir={self.folder / 'kubectl'}",
        ]
        process = subprocess.run(
            [*command, f"--kubeconfig={self.admin_kubeconfig}"],
            input=manifests,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr

    def get(self, path: str) -> dict[str, Any]:
        """An object as the admin sees it; empty if it does not exist."""
        response = self.admin.get(path)
        document: dict[str, Any] = response.json() if response.is_success else {}
        assert document or response.status_code == 404, response.text
        return document

    @property
    def version(self) -> str:
        """The version of Kubernetes, such as 1.30.14."""
        version: str = self.get("/version")["gitVersion"]
        return version.removeprefix("v")

    def needs(self, api: str, resource: str) -> None:
        """Skip the test if the API server does not have this resource."""
        resources = self.get(f"/apis/{api}")["resources"]
        if resource not in {offered["name"] for offered in resources}:
            pytest.skip(f"Kubernetes {self.version} has no {resource} in {api}")

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self.server.rpartition(":")[2])

    @property
    def process_id(self) -> int:
        """The process of the API server."""
        return self._api_server.process_id

    def token(self, namespace: str, account: str, **spec: Any) -> str:
        """A service account token, requested as the kubelet does."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        request = self.make(path, {"spec": {"expirationSeconds": 600, **spec}})
        token: str = request["status"]["token"]
        return token

    def kubeconfig(self, name: str, token: str) -> Path:
        """A kubeconfig that authenticates with `token`."""
        return self._kubeconfig(name, {"token": token})

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Stop the API server within the block; it returns at the same address with all objects."""
        self._api_server.kill()
        try:
            yield
        finally:
            self._start_api_server()

    def _kubeconfig(self, name: str, user: Mapping[str, str]) -> Path:
        cluster = {"server": self.server, "certificate-authority": str(self.ca)}
        return write_kubeconfig(self.folder / f"{name}.kubeconfig", cluster, user)

    def _start_api_server(self) -> None:
        self._api_server.start()
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._api_server.running:
            try:
                if self.admin.get("/readyz").text == "ok":
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(
            f"kube-apiserver did not get ready:\n{self._api_server.log.read_text()[-3000:]}"
        )


class _PatientTransport(httpx.HTTPTransport):
    """Comes again when the API server says so.

    Since Kubernetes 1.36, it answers 429 while it prepares the storage of a new resource.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(_ATTEMPTS):
            response = super().handle_request(request)
            seconds = response.headers.get("Retry-After", "")
            if response.status_code != 429 or not seconds.isdecimal():
                break
            response.close()
            time.sleep(min(int(seconds), _MAX_PAUSE_SECONDS))
        return response


class _Program:
    """A program that can be started repeatedly with the same flags."""

    def __init__(self, folder: Path, program: Path, flags: Mapping[str, Any]) -> None:
        self.log = folder / f"{program.name}.log"
        self._command = [
            str(program),
            *(f"--{name.replace('_', '-')}={value}" for name, value in flags.items()),
        ]
        self._environment = {"HOME": str(folder)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log
            )

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


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
    certificate, key = pki.certify("server", host=HOST)
    signing_key, public_key = signing_keys(folder)
    return {
        "etcd_servers": etcd,
        "bind_address": "127.0.0.1",
        "advertise_address": "127.0.0.1",
        "secure_port": port,
        "endpoint_reconciler_type": "none",
        # Services are reached at their endpoints, because nothing here routes their addresses.
        "enable_aggregator_routing": "true",
        "service_cluster_ip_range": "10.0.0.0/24",
        "authorization_mode": "RBAC",
        "allow_privileged": "true",
        "client_ca_file": pki.ca,
        "tls_cert_file": certificate,
        "tls_private_key_file": key,
        "cert_dir": folder,
        "service_account_issuer": ISSUER,
        "service_account_signing_key_file": signing_key,
        "service_account_key_file": public_key,
        "api_audiences": ISSUER,
        "audit_policy_file": _audit_policy(folder),
        "audit_log_path": folder / AUDIT_LOG,
    }


def _audit_policy(folder: Path) -> Path:
    """Log the requests of all service accounts, without bodies."""
    rules = [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": rules,
    }
    file = folder / "audit-policy.yaml"
    file.write_text(yaml.safe_dump(policy))
    return file
