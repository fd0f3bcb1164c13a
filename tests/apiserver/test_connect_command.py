"""`raywarden connect` with a real API server, which forwards to a fake kubelet."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.fake_node import echoing, grant_token, head, service_account
from tests.apiserver.installation import until
from tests.apiserver.people import TOKEN, Team
from tests.support.secrecy import leaked

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

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


def test_a_program_gets_files_ports_and_its_exit_code(
    people: Team, tmp_path: Path, control_plane: ControlPlane
) -> None:
    grant_token(people)
    with head(people, tmp_path) as kubelet, echoing() as port:
        kubelet.ports |= {10001: port, 8265: port, 6379: port}
        output = tmp_path / "seen"
        code, said = connect(people.alice, people.title, sys.executable, "-c", PROGRAM, output)
    assert code == 7, said
    assert f"connected to {people.title} (Ray 2." in said
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


def test_a_user_without_rights_is_told_the_role(people: Team) -> None:
    code, said = connect(people.bob, people.title, "true")
    assert code == 2 and said.count("\n") == 1
    assert "you may not get rayclusters.ray.io" in said and "raywarden-ray-user" in said


def test_a_user_who_may_not_read_the_token_is_told_what_to_ask_for(
    people: Team, tmp_path: Path
) -> None:
    user = service_account(people, "dave", "raywarden-ray-user", "raywarden-ray-user-requests")
    with head(people, tmp_path):
        code, said = connect(user, people.title, "true")
    assert code == 2 and "you may not read the token" in said
    assert "--resource=secrets --resource-name=demo" in said


def test_a_user_who_may_not_create_requests_is_told_the_role(people: Team, tmp_path: Path) -> None:
    user = service_account(people, "erin", "raywarden-ray-user")
    with head(people, tmp_path):
        code, said = connect(user, people.title, "true", RAY_AUTH_TOKEN=TOKEN)
    assert code == 2 and "the ClusterRole raywarden-ray-user-requests" in said


def test_a_name_that_is_wrong_is_corrected(people: Team) -> None:
    code, said = connect(people.alice, f"{people.namespace}/dem", "true")
    assert code == 2 and f"did you mean {people.title}?" in said


def test_a_cluster_without_a_head_says_so(people: Team) -> None:
    code, said = connect(people.alice, people.title, "true")
    assert code == 2 and "has no head yet" in said


def test_credentials_that_are_not_valid_mean_log_in(people: Team) -> None:
    nobody = people.control_plane.kubeconfig("nobody", "not-a-token")
    code, said = connect(nobody, people.title, "true")
    assert code == 2 and "you are not logged in: log in as for kubectl" in said


def test_a_head_without_ray_is_named(people: Team, tmp_path: Path) -> None:
    grant_token(people)
    with head(people, tmp_path):
        code, said = connect(people.alice, people.title, "true")
    assert code == 2 and "does not accept connections to its port 10001" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_and_removes_the_key(
    number: signal.Signals, people: Team, tmp_path: Path
) -> None:
    grant_token(people)
    waiting = "import os, time; print(os.environ['RAY_TLS_SERVER_KEY'], flush=True); time.sleep(60)"
    with head(people, tmp_path) as kubelet, echoing() as port:
        kubelet.ports[10001] = port
        with running(people, "--", sys.executable, "-c", waiting) as process:
            assert process.stdout
            key = Path(process.stdout.readline().strip())
            assert key.exists()
            process.send_signal(number)
            assert process.wait(20) in (128 + number, 1), "Python ends with 1 after Ctrl-C"
    assert not key.parent.exists()


def test_variables_can_be_printed_for_another_shell(people: Team, tmp_path: Path) -> None:
    grant_token(people)
    with head(people, tmp_path) as kubelet, echoing() as port:
        kubelet.ports[10001] = port
        with running(people, "--print") as process:
            stderr = process.stderr
            assert stderr
            until(lambda: "another terminal" in stderr.readline())
            process.send_signal(signal.SIGINT)
            lines, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and leaked(lines) is None and TOKEN not in lines
    assert "unset RAY_AUTH_TOKEN\n" in lines and "export RAY_USE_TLS=1\n" in lines
    assert re.search(r"^export RAY_ADDRESS=ray://127.0.0.1:\d+$", lines, re.MULTILINE)


def test_a_program_that_does_not_exist_is_named(people: Team, tmp_path: Path) -> None:
    with head(people, tmp_path) as kubelet, echoing() as port:
        kubelet.ports[10001] = port
        code, said = connect(people.alice, people.title, "no-such-program", RAY_AUTH_TOKEN="x")
    assert code == 2 and "no-such-program: there is no such command" in said


@contextmanager
def running(people: Team, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`raywarden connect` as alice, in the background."""
    environment = {"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1"}
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "webhook", "connect", people.title),
            *("--kubeconfig", str(people.alice), *arguments),
        ],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


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
