"""A real server in a process of its own, as an operator starts it."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
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
_COMMAND = (sys.executable, "-m", "webhook", "serve", "--dev")
_START_SECONDS = 30


@dataclass(frozen=True)
class Live:
    """A running `raywarden serve`: where it listens, what to trust, and where it logs."""

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
        """The token of one of the pods in `objects`."""
        return (self.token_dir / namespace / pod / "token").read_text()

    def log(self) -> list[dict[str, Any]]:
        return _events(self.log_file)

    def stop(self) -> int:
        """End it as the kubelet would; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextmanager
def serving(
    environment: Mapping[str, str] | None = None, objects: Iterable[Any] = ()
) -> Iterator[Live]:
    """`raywarden serve --dev` on ports of the system's choice; ended, by its own id, with the block.

    `objects` are the live objects of its cluster.
    """
    with tempfile.TemporaryDirectory() as folder:
        ca_file, log_file, token_dir = (
            Path(folder) / "ca.crt",
            Path(folder) / "log",
            Path(folder) / "tokens",
        )
        cluster = {}
        if listed := list(objects):
            cluster["RAYWARDEN_OBJECTS_FILE"] = str(objects_file := Path(folder) / "objects.json")
            objects_file.write_text(
                json.dumps({"apiVersion": "v1", "kind": "List", "items": listed})
            )
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [*_COMMAND, "--ca-file", str(ca_file), "--token-dir", str(token_dir)],
                env={**_surroundings(), **_DEV, **cluster, **(environment or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            ports = _wait_for_ports(process, log_file)
            trust = ssl.create_default_context(cafile=str(ca_file))
            yield Live(process, log_file, ca_file, token_dir, *ports, trust)
        finally:
            process.kill()
            process.wait()


def _surroundings() -> dict[str, str]:
    """Our environment without what is meant for the tests, or for another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAYWARDEN_")}


def _wait_for_ports(process: subprocess.Popen[bytes], log_file: Path) -> tuple[int, int, int]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for event in _events(log_file):
            if event["event"] == "ready":
                admission, enrollment, operations = event["ports"]
                return admission, enrollment, operations
        time.sleep(0.02)
    raise AssertionError(f"the server did not get ready:\n{log_file.read_text()}")


def _events(log_file: Path) -> list[dict[str, Any]]:
    """Every whole line of the log; lines that are no JSON are a failure of the test."""
    return [
        json.loads(line)
        for line in log_file.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def raw(live: Live) -> ssl.SSLSocket:
    """A connection to the admission port, for those who do not want to speak HTTP properly."""
    plain = socket.create_connection(("127.0.0.1", live.admission_port), timeout=10)
    return live.trust.wrap_socket(plain, server_hostname="localhost")


def read_all(connection: ssl.SSLSocket) -> bytes:
    """Everything until the server hangs up, politely or not."""
    received = b""
    with suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def metric(live: Live, line: str) -> float:
    """The value of a metric, named with its labels as `/metrics` prints them; 0 where it is not there yet."""
    text = httpx.get(f"{live.operations}/metrics").text
    return next(
        (float(found.rpartition(" ")[2]) for found in text.splitlines() if found.startswith(line)),
        0.0,
    )
