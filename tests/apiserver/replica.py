"""`raywarden serve` in a process of its own, beside a real API server."""

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


@dataclass(frozen=True)
class Replica:
    """A running server: where it listens, and where it logs."""

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
        """Every whole line of the log, or those of one event; lines that are no JSON are a failure of the test."""
        lines = self.log_file.read_text().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [one for one in events if not event or one["event"] == event]

    @property
    def missing(self) -> set[str]:
        """What it says it lacks; nothing where it is ready."""
        try:
            said = httpx.get(f"{self.operations}/readyz", trust_env=False).text
        except httpx.TransportError:
            assert self.process.poll() is None, self.log_file.read_text()
            return {"an answer"}
        return (
            set() if said == "ok\n" else set(said.strip().removeprefix("not ready: ").split(", "))
        )

    def wait_ready(self) -> None:
        """Until it lacks nothing."""
        self.wait_missing()

    def wait_missing(self, *whats: str) -> None:
        """Until this is all it lacks."""
        until(lambda: self.missing == set(whats))

    def wait_logged(self, event: str, seconds: float = 20, **fields: Any) -> None:
        """Until it has logged an event with these fields."""
        until(lambda: any(one | fields == one for one in self.log(event)), seconds)

    def metric(self, line: str) -> float:
        """The value of a metric, named with its labels as `/metrics` prints them; 0 where it is not there yet."""
        text = httpx.get(f"{self.operations}/metrics", trust_env=False).text
        return next(
            (
                float(found.rpartition(" ")[2])
                for found in text.splitlines()
                if found.startswith(line)
            ),
            0.0,
        )

    def issued(self) -> float:
        """How many certificates it has signed."""
        return self.metric('raywarden_enrollments_total{outcome="issued"}')

    def pods_let_in(self) -> float:
        """How many new pods it has let in. Defaults are written twice where the API server adds to them."""
        labels = 'allowed="true",kind="Pod",operation="CREATE",webhook="validate"'
        return self.metric(f"raywarden_admission_requests_total{{{labels}}}")

    def enroll(self, trust: ssl.SSLContext, token: str, csr: str) -> httpx.Response:
        """Send an enrollment as it comes out of a pod."""
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.enrollment}/v1/certificates"
        return httpx.post(
            url, json={"csr": csr}, headers=headers, verify=trust, trust_env=False, timeout=30
        )

    def mutate(self, trust: ssl.SSLContext, review: Mapping[str, Any]) -> httpx.Response:
        """Send an AdmissionReview as the API server does."""
        return httpx.post(f"{self.admission}/mutate", json=review, verify=trust, trust_env=False)

    def stop(self) -> int:
        """End it as the kubelet would; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextmanager
def replicas(
    installation: Installation, number: int, **settings: str
) -> Iterator[tuple[Replica, ...]]:
    """Servers started at the same moment; ended, by their own ids, with the block."""
    with ExitStack() as stack:
        yield tuple([stack.enter_context(serving(installation, **settings)) for _ in range(number)])


@contextmanager
def serving(
    installation: Installation, command: Sequence[str] = ("-m", "webhook"), **settings: str
) -> Iterator[Replica]:
    """One server, with these settings beside those of all tests."""
    # Known beforehand: pods and the API server are told where we are before we are ready, and a server says it then.
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
        # Tests ask for the same pod again and again.
        "RAYWARDEN_ENROLLMENTS_PER_MINUTE": "1000",
    }
