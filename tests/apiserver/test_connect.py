"""People get in: RBAC decides, a real API server says who asks, and the signer answers."""

import base64
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.client import ClusterName
from tests.apiserver.control_plane import AUDIT_LOG, ControlPlane
from tests.apiserver.free_ports import free_port
from tests.apiserver.installation import Installation, until
from tests.apiserver.permissions import RBAC
from tests.apiserver.pki import Pki
from tests.apiserver.pods import cluster_of, pods_made_of
from tests.apiserver.replica import Replica, replicas
from tests.support.deployed import BASE, rendered
from tests.support.factory import Object, changed
from tests.support.fake_kubelet import FakeKubelet, kubelet_in_background
from tests.support.paths import DEPLOY
from tests.support.secrecy import leaked
from webhook.kube.permissions import client_permissions

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "raywarden.io/ray-client"
USAGES = ["digital signature", "client auth"]
KEY = ec.generate_private_key(ec.SECP256R1())
TOKEN = "the-token-of-the-cluster"
# Prints what the program sees, and speaks once to each port.
PROGRAM = """
import json, os, pathlib, socket, stat, sys, urllib.parse
names = [name for name in os.environ if name.startswith("RAY_")]
said = {name: os.environ[name] for name in names}
for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
    url = urllib.parse.urlsplit(os.environ[name])
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(b"ping")
        said["echo of " + name] = connection.recv(4).decode()
folder = pathlib.Path(os.environ["RAY_TLS_SERVER_KEY"]).parent
said["mode"] = oct(stat.S_IMODE(folder.stat().st_mode))
said["files"] = {file.name: file.read_text() for file in folder.iterdir()}
said["folder"] = str(folder)
pathlib.Path(sys.argv[1]).write_text(json.dumps(said))
sys.exit(7)
"""


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


@pytest.fixture(scope="module")
def signers(installation: Installation) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas with `deploy/components/connect`."""
    shipped = rendered(DEPLOY / "overlays" / "connect")
    known = {(document["kind"], document["metadata"]["name"]) for document in rendered(BASE)}
    added = [
        document
        for document in shipped
        if (document["kind"], document["metadata"]["name"]) not in known
    ]
    text = yaml.safe_dump_all(added).replace("raywarden-system", installation.namespace)
    installation.control_plane.apply(*yaml.safe_load_all(text))
    settings = {"CLIENT_CERTIFICATES": "true", "WEBHOOK_CONFIGURATION": ""}
    settings["CLIENT_CERTIFICATES_PER_MINUTE"] = "1000"
    with replicas(installation, 2, **settings) as (first, second):
        for replica in (first, second):
            replica.wait_ready()
        yield first, second


@pytest.fixture(scope="module")
def team(
    control_plane: ControlPlane, installation: Installation, signers: tuple[Replica, Replica]
) -> Team:
    namespace = installation.team()
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


class TestSigner:
    def test_a_user_who_may_connect_gets_a_certificate_of_hours(
        self, team: Team, signers: tuple[Replica, Replica]
    ) -> None:
        path = team.ask(team.user("alice"), team.csr(), expirationSeconds=3600)
        assert team.answer(path) == (
            "Approved",
            f"{team.user('alice')} may connect to {title(team)}",
        )
        leaf, *authorities = team.certificates(path)
        assert leaf.public_key() == KEY.public_key()
        leaf.verify_directly_issued_by(authorities[0])
        lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        assert lifetime.total_seconds() == 2 * 3600, "an hour, and one for slow clocks"
        record = until(lambda: issued(signers, path))
        assert record["user"] == team.user("alice") and record["cluster"] == "demo"
        assert record["serial"] == f"{leaf.serial_number:x}"
        outcome = 'raywarden_client_certificates_total{outcome="issued"}'
        assert sum(replica.metric(outcome) for replica in signers) >= 1
        assert events(team) and f"{leaf.serial_number:x}" in events(team)[-1]["note"]

    def test_a_client_certificate_serves_as_nobody(self, team: Team) -> None:
        path = team.ask(team.user("alice"), team.csr())
        team.answer(path)
        leaf = team.certificates(path)[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uri = f"spiffe://cluster.local/ns/{team.namespace}/ray/demo/client"
        assert list(names) == [x509.UniformResourceIdentifier(uri)]
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]

    def test_a_user_without_the_role_is_told_its_name(
        self, team: Team, signers: tuple[Replica, Replica]
    ) -> None:
        path = team.ask(team.user("bob"), team.csr())
        kind, message = team.answer(path)
        assert kind == "Denied"
        assert f"the ClusterRole raywarden-ray-user in the namespace {team.namespace}" in message
        assert f"--user={team.user('bob')}" in message
        assert "certificate" not in team.control_plane.get(path)["status"]
        until(lambda: logged(signers, "client certificate refused", path))

    def test_one_cluster_can_be_granted_by_its_name(self, team: Team) -> None:
        rule = {"apiGroups": ["ray.io"], "resources": ["rayclusters"], "verbs": ["connect"]}
        place = f"{RBAC}/namespaces/{team.namespace}"
        user = "carol"
        role = {"metadata": {"name": "one"}, "rules": [{**rule, "resourceNames": ["demo"]}]}
        team.control_plane.make(f"{place}/roles", role)
        group = "rbac.authorization.k8s.io"
        binding = {
            "metadata": {"name": "one"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "one"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        }
        team.control_plane.make(f"{place}/rolebindings", binding)
        admin = team.control_plane
        allow_requests(admin, user)
        assert team.answer(team.ask(user, team.csr()))[0] == "Approved"
        assert team.answer(team.ask(user, team.csr("other")))[0] == "Denied"

    def test_nobody_can_write_who_asks(self, team: Team) -> None:
        """The signer trusts these fields, because the API server overwrites them."""
        forged = {"username": "admin", "groups": ["system:masters"], "uid": "1"}
        path = team.ask(team.user("bob"), team.csr(), **forged)
        spec = team.control_plane.get(path)["spec"]
        assert spec["username"] == team.user("bob") and "system:masters" not in spec["groups"]
        assert team.answer(path)[0] == "Denied"
        team.control_plane.change(path, {"spec": forged}, team.user("bob"))
        assert team.control_plane.get(path)["spec"]["username"] == team.user("bob")

    def test_requests_of_other_signers_are_never_touched(
        self, team: Team, signers: tuple[Replica, Replica]
    ) -> None:
        path = team.ask(team.user("alice"), team.csr(), signerName="raywarden.io/other")
        team.answer(team.ask(team.user("alice"), team.csr()))
        assert team.control_plane.get(path)["status"] == {}
        name = path.rpartition("/")[2]
        assert f'"name":"{name}"' not in audit_of_raywarden(team.control_plane)

    def test_raywarden_may_not_approve_for_other_signers(
        self, team: Team, installation: Installation
    ) -> None:
        path = team.ask(team.user("alice"), team.csr(), signerName="example.com/other")
        document = team.control_plane.get(path)
        condition = {"type": "Approved", "status": "True", "reason": "x", "message": "x"}
        approved = {**document, "status": {"conditions": [condition]}}
        user = f"system:serviceaccount:{installation.namespace}:raywarden"
        headers = {"Impersonate-User": user}
        response = team.control_plane.admin.put(f"{path}/approval", json=approved, headers=headers)
        assert response.status_code == 403 and "signer" in response.text

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"usages": ["digital signature", "server auth"]}, "spec.usages must be"),
            ({"usages": [*USAGES, "cert sign"]}, "spec.usages must be"),
        ],
    )
    def test_other_usages_fail(self, spec: Any, message: str, team: Team) -> None:
        kind, said = team.answer(team.ask(team.user("alice"), team.csr(), **spec))
        assert kind == "Failed" and message in said

    def test_a_cluster_that_does_not_exist_fails_only_for_those_who_may_connect(
        self, team: Team
    ) -> None:
        path = team.ask(team.user("alice"), team.csr("nothing"))
        expected = ("Failed", f"there is no Ray cluster {team.namespace}/nothing")
        assert team.answer(path) == expected
        assert team.answer(team.ask(team.user("bob"), team.csr("nothing")))[0] == "Denied"

    def test_an_approval_by_somebody_else_grants_nothing(self, team: Team) -> None:
        with_signer_paused = team.csr("demo", "elsewhere")
        path = team.ask(team.user("bob"), with_signer_paused)
        assert team.answer(path)[0] == "Denied"

    def test_the_signer_uses_every_right_and_needs_no_other(
        self, team: Team, installation: Installation
    ) -> None:
        team.answer(team.ask(team.user("alice"), team.csr()))
        until(lambda: events(team))
        used = set[tuple[str, str, str]]()
        for line in audit_of_raywarden(team.control_plane, installation.namespace).splitlines():
            entry = json.loads(line)
            target = entry.get("objectRef", {})
            resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
            used.add((entry["verb"], target.get("apiGroup", ""), resource))
        needed = {
            (right.verb, right.resource.group, right.resource.plural)
            for right in client_permissions()
            # The API server asks for these itself; see the test of other signers.
            if right.resource.plural != "signers"
        }
        assert needed <= used
        groups = ("certificates.k8s.io", "events.k8s.io", "authorization.k8s.io")
        assert {use for use in used if use[1] in groups} == needed


def title(team: Team) -> str:
    return f"{team.namespace}/demo"


def allow_requests(control_plane: ControlPlane, user: str) -> None:
    group = "rbac.authorization.k8s.io"
    control_plane.make(
        f"{RBAC}/clusterrolebindings",
        {
            "metadata": {"generateName": "requests-"},
            "roleRef": {
                "apiGroup": group,
                "kind": "ClusterRole",
                "name": "raywarden-ray-user-requests",
            },
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        },
    )


def logged(signers: tuple[Replica, Replica], event: str, path: str) -> Mapping[str, Any]:
    name = path.rpartition("/")[2]
    records = [record for replica in signers for record in replica.log(event)]
    return next((record for record in records if record["request"] == name), {})


def issued(signers: tuple[Replica, Replica], path: str) -> Mapping[str, Any]:
    return logged(signers, "client certificate issued", path)


def events(team: Team) -> list[Mapping[str, Any]]:
    path = f"/apis/events.k8s.io/v1/namespaces/{team.namespace}/events"
    items: list[Mapping[str, Any]] = team.control_plane.get(path)["items"]
    ours = [item for item in items if item["reason"] == "ClientCertificateIssued"]
    return [item for item in ours if item["regarding"]["uid"] == team.cluster["metadata"]["uid"]]


def audit_of_raywarden(control_plane: ControlPlane, namespace: str = "") -> str:
    lines = (control_plane.folder / AUDIT_LOG).read_text().splitlines()
    user = f":{namespace or 'raywarden-'}"
    return "\n".join(line for line in lines if f'"username":"system:serviceaccount{user}' in line)


class TestCommand:
    def test_a_program_gets_files_ports_and_its_exit_code(
        self, team: Team, tmp_path: Path, control_plane: ControlPlane
    ) -> None:
        grant_token(team)
        with head(team, tmp_path) as kubelet, echoing() as port:
            kubelet.ports |= {10001: port, 8265: port, 6379: port}
            output = tmp_path / "seen"
            code, said = connect(team.alice, title(team), sys.executable, "-c", PROGRAM, output)
        assert code == 7, said
        assert f"connected to {title(team)} (Ray 2." in said
        seen = json.loads(output.read_text())
        assert seen["echo of RAY_ADDRESS"] == seen["echo of RAY_API_SERVER_ADDRESS"] == "ping"
        assert seen["RAY_ADDRESS"].startswith("ray://127.0.0.1:") and seen["RAY_USE_TLS"] == "1"
        assert seen["RAY_AUTH_MODE"] == "token" and seen["files"]["token"] == TOKEN
        assert seen["mode"] == "0o700" and not Path(seen["folder"]).exists()
        files = {name: content.encode() for name, content in seen["files"].items()}
        key = load_pem_private_key(files["tls.key"], None)
        leaf = x509.load_pem_x509_certificate(files["tls.crt"])
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert leaf.public_key() == key.public_key()
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(files["ca.crt"]))
        ssl.create_default_context(cadata=seen["files"]["ca.crt"])

    def test_a_user_without_rights_is_told_the_role(self, team: Team) -> None:
        code, said = connect(team.bob, title(team), "true")
        assert code == 2 and said.count("\n") == 1
        assert "you may not get rayclusters.ray.io" in said and "raywarden-ray-user" in said

    def test_a_user_who_may_not_read_the_token_is_told_what_to_ask_for(
        self, team: Team, tmp_path: Path
    ) -> None:
        user = service_account(team, "dave", "raywarden-ray-user", "raywarden-ray-user-requests")
        with head(team, tmp_path):
            code, said = connect(user, title(team), "true")
        assert code == 2 and "you may not read the token" in said
        assert "--resource=secrets --resource-name=demo" in said

    def test_a_user_who_may_not_create_requests_is_told_the_role(
        self, team: Team, tmp_path: Path
    ) -> None:
        user = service_account(team, "erin", "raywarden-ray-user")
        with head(team, tmp_path):
            code, said = connect(user, title(team), "true", RAY_AUTH_TOKEN=TOKEN)
        assert code == 2 and "the ClusterRole raywarden-ray-user-requests" in said

    def test_a_name_that_is_wrong_is_corrected(self, team: Team) -> None:
        code, said = connect(team.alice, f"{team.namespace}/dem", "true")
        assert code == 2 and f"did you mean {title(team)}?" in said

    def test_a_cluster_without_a_head_says_so(self, team: Team) -> None:
        code, said = connect(team.alice, title(team), "true")
        assert code == 2 and "has no head yet" in said

    def test_credentials_that_are_not_valid_mean_log_in(self, team: Team) -> None:
        nobody = team.control_plane.kubeconfig("nobody", "not-a-token")
        code, said = connect(nobody, title(team), "true")
        assert code == 2 and "you are not logged in: log in as for kubectl" in said

    def test_a_head_without_ray_is_named(self, team: Team, tmp_path: Path) -> None:
        grant_token(team)
        with head(team, tmp_path):
            code, said = connect(team.alice, title(team), "true")
        assert code == 2 and "does not accept connections to its port 10001" in said


def connect(kubeconfig: Path, cluster: str, *command: object, **variables: str) -> tuple[int, str]:
    """Run `raywarden connect`; returns its exit code and what it says."""
    environment = {"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1", **variables}
    process = subprocess.run(
        [
            *(sys.executable, "-m", "webhook", "connect", cluster),
            *("--kubeconfig", str(kubeconfig), "--", *map(str, command)),
        ],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert leaked(process.stdout, process.stderr) is None
    assert "Traceback" not in process.stderr and not process.stdout
    return process.returncode, process.stderr


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
