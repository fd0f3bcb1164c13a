"""A ready head on a node whose kubelet is a fake."""

import base64
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.free_ports import free_port
from tests.apiserver.people import TOKEN, Team, bind
from tests.apiserver.permissions import RBAC
from tests.apiserver.pki import Pki
from tests.apiserver.pods import pods_made_of
from tests.support.factory import changed
from tests.support.fake_kubelet import FakeKubelet, kubelet_in_background


def service_account(team: Team, name: str, *roles: str) -> Path:
    """The kubeconfig of a new account with these roles."""
    plane = team.control_plane
    path = f"/api/v1/namespaces/{team.namespace}/serviceaccounts"
    plane.make(path, {"metadata": {"name": name}})
    for role in roles:
        place = "" if role.endswith("requests") else team.namespace
        bind(plane, place, role, name, of=team.namespace)
    return plane.kubeconfig(f"{team.namespace}-{name}", plane.token(team.namespace, name))


def grant_token(team: Team) -> None:
    """The Secret of the cluster, and alice's right to read it."""
    plane, core = team.control_plane, f"/api/v1/namespaces/{team.namespace}"
    if plane.get(f"{core}/secrets/demo"):
        return
    data = {"auth_token": base64.b64encode(TOKEN.encode()).decode()}
    plane.make(f"{core}/secrets", {"metadata": {"name": "demo"}, "data": data})
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["demo"]}
    place, group = f"{RBAC}/namespaces/{team.namespace}", "rbac.authorization.k8s.io"
    role = {"metadata": {"name": "token"}, "rules": [{**rule, "verbs": ["get"]}]}
    plane.make(f"{place}/roles", role)
    account = {"kind": "ServiceAccount", "name": "alice", "namespace": team.namespace}
    reference = {"apiGroup": group, "kind": "Role", "name": "token"}
    binding = {"metadata": {"name": "token"}, "roleRef": reference, "subjects": [account]}
    plane.make(f"{place}/rolebindings", binding)


@contextmanager
def head(team: Team, folder: Path) -> Iterator[FakeKubelet]:
    """A ready head with token authentication, on a node whose kubelet is a fake."""
    plane, port = team.control_plane, free_port()
    node = make_node(plane, port)
    pod, _ = pods_made_of(team.cluster)
    reference = {"secretKeyRef": {"name": "demo", "key": "auth_token"}}
    mode = [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN", "valueFrom": reference},
    ]
    pod = changed(pod, {"/spec/nodeName": node})
    pod["spec"]["containers"][0]["env"] = [*pod["spec"]["containers"][0].get("env", []), *mode]
    path = f"/api/v1/namespaces/{team.namespace}/pods"
    made = f"{path}/{plane.make(path, pod)['metadata']['name']}"
    ready = {"type": "Ready", "status": "True"}
    plane.patch(f"{made}/status", {"status": {"phase": "Running", "conditions": [ready]}})
    pki = Pki(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pki.certify("kubelet"))
    fake = FakeKubelet({})
    try:
        with kubelet_in_background(fake, port, context):
            yield fake
    finally:
        plane.delete(made)
        plane.delete(f"/api/v1/nodes/{node}")


def make_node(plane: ControlPlane, port: int) -> str:
    node: str = plane.make("/api/v1/nodes", {"metadata": {"name": f"node-{port}"}})["metadata"][
        "name"
    ]
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    plane.patch(f"/api/v1/nodes/{node}/status", {"status": status})
    return node


@contextmanager
def echoing() -> Iterator[int]:
    """A server that sends back what it gets; its port."""
    program = (
        "import socketserver as s\n"
        "class E(s.BaseRequestHandler):\n"
        "    def handle(self):\n"
        "        while (data := self.request.recv(65536)): self.request.sendall(data)\n"
        "class T(s.ThreadingTCPServer): daemon_threads = True\n"
        "server = T(('127.0.0.1', 0), E)\n"
        "print(server.server_address[1], flush=True)\n"
        "server.serve_forever()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
