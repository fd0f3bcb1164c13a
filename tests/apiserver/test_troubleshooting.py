"""A real API server says what the tables for troubleshooting quote."""

import base64
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import until
from tests.apiserver.permissions import REGISTRATION
from tests.apiserver.pki import Pki
from tests.support.troubleshooting import messages

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

CALL, ENROLL = "## The API server cannot call RayWarden", "## Pods cannot enroll"
_CONFIGURATIONS = f"/apis/{REGISTRATION}/v1/validatingwebhookconfigurations"


def test_every_reason_for_a_failed_call_is_one_that_the_api_server_gives(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    documented = set(messages("deploy/TROUBLESHOOTING.md", CALL))
    namespace = f"hooked-{uuid4().hex[:8]}"
    control_plane.make("/api/v1/namespaces", {"metadata": {"name": namespace}})
    ports = [{"port": 443, "targetPort": 8443}]
    control_plane.make(
        f"/api/v1/namespaces/{namespace}/services",
        {"metadata": {"name": "raywarden"}, "spec": {"selector": {"a": "b"}, "ports": ports}},
    )
    # No controller runs here. Older versions of Kubernetes look for it, such as 1.30.
    endpoints = {"metadata": {"name": "raywarden"}}
    control_plane.make(f"/api/v1/namespaces/{namespace}/endpoints", endpoints)
    pki = Pki(tmp_path)
    said = set()
    with _silent() as silent, _full() as full, _tls(pki, tmp_path) as (good, expired):
        trusted, other = pki.ca.read_bytes(), control_plane.ca.read_bytes()
        clients: tuple[tuple[Mapping[str, Any], bytes], ...] = (
            ({"service": {"namespace": namespace, "name": "raywarden"}}, trusted),
            ({"url": "https://127.0.0.1:1/"}, trusted),
            ({"url": f"https://127.0.0.1:{silent}/"}, trusted),
            ({"url": f"https://127.0.0.1:{full}/"}, trusted),
            ({"url": f"https://127.0.0.1:{good}/"}, other),
            ({"url": f"https://127.0.0.1:{expired}/"}, trusted),
        )
        for client, ca in clients:
            answer = _called(control_plane, namespace, {**client, "caBundle": _text(ca)})
            said |= {message for message in documented if message in answer}
    assert said == documented


def test_quotas_and_limit_ranges_refuse_the_init_container_in_these_words(
    control_plane: ControlPlane,
) -> None:
    namespace = f"limited-{uuid4().hex[:8]}"
    control_plane.make("/api/v1/namespaces", {"metadata": {"name": namespace}})
    core = f"/api/v1/namespaces/{namespace}"
    control_plane.make(f"{core}/serviceaccounts", {"metadata": {"name": "ray"}})
    hard = {"hard": {"requests.memory": "1Mi"}}
    requests = {"cpu": "50m", "memory": "64Mi"}
    container = {"name": "enroll", "image": "raywarden:0.1.0", "resources": {"requests": requests}}
    pod = {
        "metadata": {"name": "head"},
        "spec": {"serviceAccountName": "ray", "containers": [container]},
    }
    control_plane.make(f"{core}/resourcequotas", {"metadata": {"name": "ray"}, "spec": hard})
    # No controller runs here that does this.
    status = {"status": {**hard, "used": {"requests.memory": "0"}}}
    control_plane.patch(f"{core}/resourcequotas/ray/status", status)
    answers = [until(lambda: _refusal(control_plane, core, pod, "quota"))]
    control_plane.delete(f"{core}/resourcequotas/ray")
    limits = [{"type": "Container", "min": {"cpu": "100m"}}]
    control_plane.make(
        f"{core}/limitranges", {"metadata": {"name": "ray"}, "spec": {"limits": limits}}
    )
    answers.append(until(lambda: _refusal(control_plane, core, pod, "minimum")))
    for quoted in ("exceeded quota", "minimum cpu usage per Container is ..."):
        assert quoted in messages("deploy/TROUBLESHOOTING.md", ENROLL)
        assert any(quoted.removesuffix("...") in answer for answer in answers)


def _refusal(control_plane: ControlPlane, core: str, pod: Mapping[str, Any], word: str) -> str:
    """What the API server says; empty until it knows the limit."""
    response = control_plane.post(f"{core}/pods?dryRun=All", pod)
    return response.text if response.status_code == 403 and word in response.text else ""


def _called(control_plane: ControlPlane, namespace: str, client: Mapping[str, Any]) -> str:
    """What the API server says when it calls a webhook with this client configuration."""
    name = f"unreachable-{uuid4().hex[:8]}"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    webhook = {
        "name": f"{name}.example.com",
        "clientConfig": client,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "namespaceSelector": selector,
        "rules": [{**rule, "operations": ["CREATE"]}],
    }
    control_plane.make(_CONFIGURATIONS, {"metadata": {"name": name}, "webhooks": [webhook]})
    path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
    document = {"metadata": {"name": "any"}}

    def failed_call() -> str:
        message = str(control_plane.post(path, document).json().get("message"))
        return message if f'failed calling webhook "{name}' in message else ""

    try:
        return until(failed_call)
    finally:
        control_plane.delete(f"{_CONFIGURATIONS}/{name}")
        until(lambda: control_plane.post(path, document).is_success)


@contextmanager
def _silent() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def _full() -> Iterator[int]:
    """A port that answers no SYN, as behind a firewall that drops packets: its queue is full."""
    waiting = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            waiting.append(client)
        yield server.getsockname()[1]
        for client in waiting:
            client.close()


@contextmanager
def _tls(pki: Pki, folder: Path) -> Iterator[tuple[int, int]]:
    """Ports of two TLS servers: one with a valid certificate, one with an expired certificate."""
    past = datetime.now(UTC) - timedelta(days=9)
    files = pki.certify("valid"), pki.certify("expired", now=past)
    servers = [_serve(certificate, key) for certificate, key in files]
    yield servers[0].getsockname()[1], servers[1].getsockname()[1]
    for server in servers:
        server.close()


def _serve(certificate: Path, key: Path) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
                with context.wrap_socket(connection, server_side=True):
                    pass
            except ssl.SSLError:
                continue
            except OSError:
                return

    Thread(target=accept, daemon=True).start()
    return server


def _text(ca: bytes) -> str:
    return base64.b64encode(ca).decode()
