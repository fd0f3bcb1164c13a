"""`raywarden serve` in its own process, with a real API server."""

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.apiserver.free_ports import free_port
from tests.apiserver.installation import Installation, until

RESYNC_SECONDS = 0.5
_START_SECONDS = 60


@dataclass(frozen=True)
class Replica:
    """A running server, with its ports and its log."""

    process: subprocess.Popen[bytes]
    log_file: Path
    ports: tuple[int, int, int]

    @property
    def admission(self) -> str:
        return f"https://localhost:{self.ports[0]}"

    @property
    def enrollment(self) -> str:
        return f"https://localhost:{self.ports[1]}"

    @property
    def operations(self) -> str:
        return f"http://127.0.0.1:{self.ports[2]}"

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """The complete lines of the log, or those of one event; a line that is not JSON fails."""
        lines = self.log_file.read_text().splitlines(keepends=True)
        records = [json.loads(line) for line in lines if line.endswith("\n")]
        return [record for record in records if not event or record["event"] == event]

    @property
    def missing(self) -> set[str]:
        """What `/readyz` reports as missing; empty if the server is ready."""
        try:
            text = httpx.get(f"{self.operations}/readyz", trust_env=False).text
        except httpx.TransportError:
            assert self.process.poll() is None, self.log_file.read_text()
            return {"an answer"}
        if text == "ok\n":
            return set()
        return set(text.strip().removeprefix("not ready: ").split(", "))

    def wait_ready(self) -> None:
        """Wait until the server is ready; on a busy machine, a new process needs a while."""
        self.wait_missing(seconds=_START_SECONDS)

    def wait_missing(self, *names: str, seconds: float = 20) -> None:
        """Wait until exactly these are missing."""
        try:
            until(lambda: self.missing == set(names), seconds)
        except AssertionError as error:
            text = f"missing: {self.missing}\n{self.log_file.read_text()[-2000:]}"
            raise AssertionError(f"{error}, {text}") from None

    def wait_logged(self, event: str, seconds: float = 20, **fields: Any) -> None:
        """Wait until the server has logged an event with these fields."""
        until(lambda: any(record | fields == record for record in self.log(event)), seconds)

    def metric(self, line: str) -> float:
        """The value of a metric; 0 if it does not exist yet.

        `line` is its name with its labels, as `/metrics` prints them.
        """
        text = httpx.get(f"{self.operations}/metrics", trust_env=False).text
        for sample in text.splitlines():
            if sample.startswith(line):
                return float(sample.rpartition(" ")[2])
        return 0.0

    def issued(self) -> float:
        """The number of certificates that the server has signed."""
        return self.metric('raywarden_enrollments_total{outcome="issued"}')

    def pods_let_in(self) -> float:
        """The number of new pods that the validating webhook has allowed.

        Mutations would be counted twice where the API server reinvokes the webhook.
        """
        labels = 'allowed="true",kind="Pod",operation="CREATE",webhook="validate"'
        return self.metric(f"raywarden_admission_requests_total{{{labels}}}")

    def enroll(self, trust: ssl.SSLContext, token: str, csr: str) -> httpx.Response:
        """Send an enrollment request as a pod does."""
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.enrollment}/v1/certificates"
        return httpx.post(
            url, json={"csr": csr}, headers=headers, verify=trust, trust_env=False, timeout=30
        )

    def mutate(self, trust: ssl.SSLContext, review: Mapping[str, Any]) -> httpx.Response:
        """Send an AdmissionReview as the API server does."""
        return httpx.post(f"{self.admission}/mutate", json=review, verify=trust, trust_env=False)

    def stop(self) -> int:
        """Stop the server as the kubelet does, with SIGTERM; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextmanager
def replicas(
    installation: Installation, number: int, **settings: str
) -> Iterator[tuple[Replica, ...]]:
    """Start servers at the same moment; they are killed when the block ends."""
    with ExitStack() as stack:
        yield tuple([stack.enter_context(serving(installation, **settings)) for _ in range(number)])


@contextmanager
def serving(
    installation: Installation, command: Sequence[str] = ("-m", "webhook"), **settings: str
) -> Iterator[Replica]:
    """Run a server with these settings besides those of all tests."""
    # The ports must be known before the start: tests tell them to pods and to the API server before
    # the server is ready, and only then does it log them.
    ports = (free_port(), free_port(), free_port())
    log_file = installation.control_plane.folder / f"serve-{ports[0]}-{uuid4().hex[:4]}.log"
    environment = {
        **_environment(installation, *ports),
        **{f"RAYWARDEN_{name}": settings[name] for name in settings},
    }
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command, "serve"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Replica(process, log_file, ports)
    finally:
        process.kill()
        process.wait()


def _environment(
    installation: Installation, admission: int, enrollment: int, operations: int
) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "RAYWARDEN_KUBECONFIG": str(installation.kubeconfig),
        "RAYWARDEN_NAMESPACE": installation.namespace,
        "RAYWARDEN_HOST": "127.0.0.1",
        "RAYWARDEN_ADMISSION_PORT": str(admission),
        "RAYWARDEN_ENROLLMENT_PORT": str(enrollment),
        "RAYWARDEN_OPERATIONS_PORT": str(operations),
        "RAYWARDEN_SERVING_NAMES": "localhost,127.0.0.1",
        "RAYWARDEN_SIGNER_URL": f"https://localhost:{enrollment}",
        "RAYWARDEN_RESYNC_SECONDS": str(RESYNC_SECONDS),
        "RAYWARDEN_DRAIN_SECONDS": "0",
        # Tests enroll the same pod repeatedly.
        "RAYWARDEN_ENROLLMENTS_PER_MINUTE": "1000",
    }
