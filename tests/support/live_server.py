"""A real `raywarden serve` in its own process."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_DEV = {
    "RAYWARDEN_HOST": "127.0.0.1",
    "RAYWARDEN_ADMISSION_PORT": "0",
    "RAYWARDEN_ENROLLMENT_PORT": "0",
    "RAYWARDEN_OPERATIONS_PORT": "0",
    "RAYWARDEN_DRAIN_SECONDS": "0",
}
_COMMAND = (sys.executable, "-m", "webhook", "serve")
# A start takes about a second; a busy machine may need much longer.
_START_SECONDS = 30


@dataclass(frozen=True)
class RunningServer:
    """A running `raywarden serve`, with its ports, its CA and its log."""

    process: subprocess.Popen[bytes]
    log_file: Path
    ca_file: Path
    token_dir: Path
    admission_port: int
    enrollment_port: int
    operations_port: int
    trust: ssl.SSLContext

    @property
    def admission(self) -> str:
        return f"https://localhost:{self.admission_port}"

    @property
    def enrollment(self) -> str:
        return f"https://localhost:{self.enrollment_port}"

    @property
    def operations(self) -> str:
        return f"http://127.0.0.1:{self.operations_port}"

    def token(self, pod: str, namespace: str = "team-a") -> str:
        """The token of one of the pods in the `objects` of `serving`."""
        return self.pod_token(pod, namespace).read_text()

    def pod_token(self, pod: str, namespace: str = "team-a") -> Path:
        """The file with that token."""
        return self.token_dir / namespace / pod / "token"

    def log(self) -> list[dict[str, Any]]:
        return _events(self.log_file)

    def stop(self) -> int:
        """Stop the server as the kubelet does, with SIGTERM; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextmanager
def serving(
    environment: Mapping[str, str] | None = None, objects: Iterable[Any] = ()
) -> Iterator[RunningServer]:
    """Run `raywarden serve --dev` on free ports; it is killed when the block ends.

    `objects` are the live objects of its cluster.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = ["--dev", "--token-dir", str(folder / "tokens")]
        cluster = _write_objects(folder / "objects.json", list(objects))
        variables = {**_clean_environment(), **_DEV, **cluster, **(environment or {})}
        with started(folder, arguments, variables) as server:
            yield server


@contextmanager
def started(
    folder: Path, arguments: Sequence[str], environment: Mapping[str, str]
) -> Iterator[RunningServer]:
    """Run `raywarden serve` with its files in `folder`; it is killed when the block ends."""
    ca_file, log_file = folder / "ca.crt", folder / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*_COMMAND, "--ca-file", str(ca_file), *arguments],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        ports = _wait_for_ports(process, log_file)
        trust = ssl.create_default_context(cafile=str(ca_file))
        yield RunningServer(process, log_file, ca_file, folder / "tokens", *ports, trust)
    finally:
        process.kill()
        process.wait()


def _write_objects(file: Path, objects: list[Any]) -> dict[str, str]:
    """Write the live objects to `file`; returns the setting that names it."""
    if not objects:
        return {}
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return {"RAYWARDEN_OBJECTS_FILE": str(file)}


def _clean_environment() -> dict[str, str]:
    """The environment of this process without the settings of RayWarden."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAYWARDEN_")}


def _wait_for_ports(process: subprocess.Popen[bytes], log_file: Path) -> tuple[int, int, int]:
    """The ports of a server, as soon as it is ready."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for event in _events(log_file):
            if event["event"] == "ready":
                admission, enrollment, operations = event["ports"]
                return admission, enrollment, operations
        time.sleep(0.02)
    raise AssertionError(f"the server did not get ready:\n{log_file.read_text()}")


def _events(log_file: Path) -> list[dict[str, Any]]:
    """The complete lines of the log; a line that is not JSON fails the test."""
    return [
        json.loads(line)
        for line in log_file.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def raw(server: RunningServer) -> ssl.SSLSocket:
    """A TLS connection to the admission port, for tests that send malformed HTTP."""
    plain = socket.create_connection(("127.0.0.1", server.admission_port), timeout=10)
    return server.trust.wrap_socket(plain, server_hostname="localhost")


def read_all(connection: ssl.SSLSocket) -> bytes:
    """Everything that the server sends until it closes or resets the connection."""
    received = b""
    with suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def metric(server: RunningServer, line: str) -> float:
    """The value of a metric; 0 if it does not exist yet.

    `line` is its name with its labels, as `/metrics` prints them.
    """
    for sample in httpx.get(f"{server.operations}/metrics").text.splitlines():
        if sample.startswith(line):
            return float(sample.rpartition(" ")[2])
    return 0.0
