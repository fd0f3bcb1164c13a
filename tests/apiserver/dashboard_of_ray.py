"""A real Ray head whose dashboard listens on loopback, and clients that go through its proxy."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.apiserver.dashboard import Dashboard
from tests.apiserver.free_ports import free_port
from tests.apiserver.installation import until
from tests.apiserver.pods import Tls

RAY_TOKEN = "the-token-of-this-ray-cluster-0123456789"
_LOOPBACK = "127.0.0.1"
_START_SECONDS = 120
_PORTS = (
    "port",
    "ray-client-server-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
    "runtime-env-agent-port",
    "node-manager-port",
    "object-manager-port",
)


def _ray() -> Path:
    """The program `ray` of the virtual environment in E2E_RAY."""
    folder = os.environ.get("E2E_RAY")
    if not folder:
        pytest.skip("set E2E_RAY to a virtual environment that contains Ray")
    return Path(folder) / "bin" / "ray"


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": RAY_TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@contextmanager
def ray_head(folder: Path) -> Iterator[int]:
    """A head with token authentication; the port of its dashboard."""
    port = free_port()
    # The path of a socket below it must be short.
    files = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    options = [
        f"--node-ip-address={_LOOPBACK}",
        f"--dashboard-host={_LOOPBACK}",
        f"--dashboard-port={port}",
        *(f"--{name}={free_port()}" for name in _PORTS),
        # Chosen by Linux: Ray's default range contains the ports above.
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--num-cpus=1",
        "--object-store-memory=80000000",
        f"--temp-dir={files}",
    ]
    process = subprocess.Popen(
        [_ray(), "start", "--head", "--block", *options],
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )

    def answers() -> bool:
        assert process.poll() is None, process.communicate()[0]
        with suppress(httpx.TransportError):
            url = f"http://{_LOOPBACK}:{port}/api/version"
            return httpx.get(url, trust_env=False).status_code > 0
        return False

    try:
        until(answers, _START_SECONDS)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(files, ignore_errors=True)


def submit(
    dashboard: Dashboard, token: str, headers: Mapping[str, str], tls: Tls
) -> subprocess.CompletedProcess[str]:
    """Run `ray job submit` as the user with this token."""
    sent = {"Authorization": f"Bearer {token}", **headers}
    return subprocess.run(
        [
            _ray(), "job", "submit", f"--address={dashboard.url}", "--no-wait",
            f"--verify={tls.folder / 'ca.crt'}", f"--headers={json.dumps(sent)}",
            "--", "echo", "done",
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(tls.folder)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
