"""The dashboard proxy of a stored pod, run by the real program, and a dashboard behind it."""

import http.server
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from policies.ray.dashboard_proxy import DASHBOARD_PROXY
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.free_ports import free_port
from tests.apiserver.installation import until
from tests.apiserver.pods import Tls
from tests.support.factory import Object

# The address of the pod; the dashboard has the other one.
ADDRESS = "127.0.0.2"
_LOOPBACK = "127.0.0.1"
_PORT = 8265


def program() -> Path:
    """The real kube-rbac-proxy."""
    path = os.environ.get("KUBE_RBAC_PROXY")
    if not path:
        pytest.skip("set KUBE_RBAC_PROXY to the program kube-rbac-proxy")
    return Path(path)


def proxy_of(pod: Object) -> Object:
    """The proxy's container in a stored pod."""
    containers: list[Object] = pod["spec"]["containers"]
    (proxy,) = [container for container in containers if container["name"] == DASHBOARD_PROXY]
    return proxy


@dataclass(frozen=True)
class Dashboard:
    """A running proxy, as its users see it."""

    url: str
    host: str
    trust: ssl.SSLContext

    def ask(
        self, token: str, method: str = "GET", path: str = "/api/version", **headers: str
    ) -> httpx.Response:
        """Ask for a page; the certificate must be that of the head's Service."""
        if token:
            headers["Authorization"] = f"Bearer {token}"
        with httpx.Client(verify=self.trust, trust_env=False, timeout=30) as client:
            extensions = {"sni_hostname": self.host}
            url = f"{self.url}{path}"
            return client.request(method, url, headers=headers, extensions=extensions)

    def wait_up(self) -> None:
        def answers() -> bool:
            with suppress(httpx.TransportError):
                return self.ask("").status_code > 0
            return False

        until(answers)


@contextmanager
def proxied(
    control_plane: ControlPlane, pod: Object, tls: Tls, folder: Path, port: int
) -> Iterator[Dashboard]:
    """Run the proxy with the arguments of a stored pod, and the files of its volumes."""
    account, namespace = pod["spec"]["serviceAccountName"], pod["metadata"]["namespace"]
    token = control_plane.token(namespace, account)
    kubeconfig = control_plane.kubeconfig(f"proxy-{namespace}-{account}", token)
    arguments = _arguments(pod, tls, folder, port)
    log = folder / "proxy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program(), *arguments, f"--kubeconfig={kubeconfig}"],
            env={"PATH": os.environ["PATH"]},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    cluster = pod["metadata"]["labels"]["ray.io/cluster"]
    trust = ssl.create_default_context(cadata=tls.bundle.decode())
    dashboard = Dashboard(f"https://{ADDRESS}:{port}", f"{cluster}-head-svc.{namespace}.svc", trust)
    try:
        dashboard.wait_up()
        yield dashboard
    except BaseException:
        print(log.read_text())
        raise
    finally:
        process.kill()
        process.wait()


def _arguments(pod: Object, tls: Tls, folder: Path, port: int) -> list[str]:
    """The arguments of the stored pod, as the kubelet and its volumes would provide for them."""
    proxy = proxy_of(pod)
    directories = {mount["name"]: mount["mountPath"] for mount in proxy["volumeMounts"]}
    for volume in pod["spec"]["volumes"]:
        if volume["name"] == "raywarden-dashboard":
            _write_annotations(volume["downwardAPI"]["items"], pod["metadata"], folder)
    replaced = {
        "$(RAYWARDEN_POD_IP)": ADDRESS,
        directories["raywarden-tls"]: str(tls.folder),
        directories["raywarden-dashboard"]: str(folder),
        # Tests run at the same time on one machine.
        f":{_PORT}": f":{port}",
    }
    return [_with(argument, replaced) for argument in proxy["args"]]


def _write_annotations(items: list[Object], metadata: Object, folder: Path) -> None:
    for item in items:
        path: str = item["fieldRef"]["fieldPath"]
        name = path.removeprefix("metadata.annotations['").removesuffix("']")
        (folder / item["path"]).write_text(metadata["annotations"][name])


def _with(argument: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        argument = argument.replace(old, new)
    return argument


@contextmanager
def dashboard_on_loopback() -> Iterator[int]:
    """A dashboard that answers with the headers of the request; its port is free elsewhere."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = json.dumps({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer((_LOOPBACK, free_port()), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
