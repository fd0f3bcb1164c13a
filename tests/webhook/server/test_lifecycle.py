"""Starting and stopping the server, as an operator and the kubelet do it."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.support import factory
from tests.support.live_server import serving

JSON = {"Content-Type": "application/json"}


def test_sigterm_drains_and_exits_with_zero() -> None:
    with serving({"RAYWARDEN_DRAIN_SECONDS": "1"}) as server:
        body = orjson.dumps(factory.review(factory.ray_cluster()))
        with httpx.Client(base_url=server.admission, verify=server.trust, headers=JSON) as client:
            server.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 5
            while httpx.get(f"{server.operations}/readyz").status_code == 200:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            answer = client.post("/mutate", content=body)
            assert answer.status_code == 200, "refused while draining"
            # The API server must not send its next call to a server that is about to stop.
            assert answer.headers["connection"] == "close"
        assert server.process.wait(timeout=20) == 0
        events = [event["event"] for event in server.log()]
        assert events.index("draining") < events.index("stopped")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": "/usr/bin:/bin", "RAYWARDEN_HOST": "127.0.0.1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "webhook", *arguments],
        env=base,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_it_does_not_start_without_a_cluster(tmp_path: Path) -> None:
    ended = run("serve", HOME=str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        "raywarden: no Kubernetes configuration: in a pod, mount the service account's token"
    )


def test_it_does_not_start_with_an_invalid_policy(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n  tls-of: {mode: warn}\n")
    ended = run("serve", "--dev", RAYWARDEN_POLICY_FILE=str(policy))
    assert ended.returncode == 2
    assert (
        f"{policy}:2:3: rules.tls-of: no rule is called tls-of; did you mean tls-on?"
        in ended.stderr
    )


def test_it_does_not_start_with_invalid_settings() -> None:
    ended = run("serve", "--dev", RAYWARDEN_ADMISSION_PORT="many", RAYWARDEN_KEEP_ALIVE_SECONDS="5")
    assert ended.returncode == 2
    assert "RAYWARDEN_ADMISSION_PORT: " in ended.stderr
    assert "RAYWARDEN_KEEP_ALIVE_SECONDS: " in ended.stderr


def test_it_does_not_start_on_a_port_in_use() -> None:
    others = {"RAYWARDEN_ENROLLMENT_PORT": "0", "RAYWARDEN_OPERATIONS_PORT": "0"}
    with serving() as server:
        port = str(server.admission_port)
        ended = run("serve", "--dev", RAYWARDEN_ADMISSION_PORT=port, **others)
    assert ended.returncode == 2
    in_use = f"raywarden: port {port} cannot be opened (Address already in use)"
    assert f"{in_use}: set RAYWARDEN_ADMISSION_PORT to another" in ended.stderr


def test_policy_and_namespaces_come_from_files(tmp_path: Path) -> None:
    policy, namespaces = tmp_path / "policy.yaml", tmp_path / "namespaces.yaml"
    policy.write_text("profiles: {enforce: privileged, warn: privileged}\n")
    namespaces.write_text(
        "apiVersion: v1\nkind: Namespace\n"
        "metadata: {name: strict, labels: {raywarden.io/enforce: baseline}}\n"
    )
    offender = factory.changed(
        factory.ray_cluster(), {"/spec/headGroupSpec/serviceType": "LoadBalancer"}
    )
    files = {"RAYWARDEN_POLICY_FILE": str(policy), "RAYWARDEN_OBJECTS_FILE": str(namespaces)}
    with (
        serving(files) as server,
        httpx.Client(base_url=server.admission, verify=server.trust, headers=JSON) as client,
    ):

        def allowed(namespace: str) -> Any:
            body = orjson.dumps(factory.review(offender, namespace=namespace))
            return client.post("/validate", content=body).json()["response"]["allowed"]

        assert allowed("loose") is True
        assert allowed("strict") is False
