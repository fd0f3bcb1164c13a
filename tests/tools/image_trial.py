"""Runs what the images are for, so that a missing module fails the build."""

import asyncio
import json
import os
import shutil
import signal
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support import live_objects
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import free_port, kubeconfig_for, listening
from tests.support.paths import REPOSITORY
from tests.tools.built_image import Image
from tests.webhook.commands.test_check import install
from tests.webhook.scan import scanned
from webhook import __version__

_EXAMPLES = REPOSITORY / "deploy" / "examples"
_FREE_PORTS = {
    "RAYWARDEN_HOST": "127.0.0.1",
    "RAYWARDEN_ADMISSION_PORT": "0",
    "RAYWARDEN_ENROLLMENT_PORT": "0",
    "RAYWARDEN_OPERATIONS_PORT": "0",
}
# An odd number, so that the median is a measured value.
_STARTS = 7
_POD = "demo-head-abcde"
# Uses each extension of CEL that RayWarden offers.
_EXPRESSION = "object.metadata.?name.orValue('').lowerAscii() != 'refused-by-cel'"
_POLICY = {
    "apiVersion": "raywarden.io/v1alpha1",
    "kind": "Policy",
    "expressions": [{"id": "own-name", "expression": _EXPRESSION, "message": "this name is taken"}],
}


def run_commands(image: Image, folder: Path) -> None:
    """Run the server image's commands once, and measure how long `enroll` and `serve` start."""
    assert image.run("--version") == f"raywarden {__version__}\n"
    assert len(image.run("rules").splitlines()) > 28
    assert "\nFixed:\n" in image.run("rules", "explain", "tls-on")
    assert "$schema" in image.run("rules", "schema")
    for command in ("scan", "check", "connect", "network-policy", "test", "ca", "serve"):
        assert command in image.run(command, "--help")
    mounted = folder / "mounted"
    shutil.copytree(_EXAMPLES, mounted)
    image.run("review", str(mounted / "01-good-raycluster.json"))
    _review(image, mounted)
    asyncio.run(_talk_to_api_server(image, folder))
    run_enroll(image, "in the server's image")
    line("serve --dev until ready", _figures(_ready_after(image) for _ in range(_STARTS)))


def _review(image: Image, mounted: Path) -> None:
    bad = str(mounted / "05-public-dashboard.json")
    for output in ("text", "json", "sarif", "junit", "html"):
        refused = image.run("review", "--output", output, bad, exits=1)
        assert "no-public-head-service" in refused, output
    policy = mounted / "policy.yaml"
    policy.write_text(yaml.safe_dump(_POLICY))
    image.run("review", "--policy", str(policy), str(mounted / "01-good-raycluster.json"))


def run_enroll(image: Image, title: str) -> None:
    """Measure how long `raywarden enroll` takes to start."""
    took = [_timed(lambda: image.run("enroll", "--help")) for _ in range(_STARTS)]
    line(f"enroll --help, {title}", _figures(took))


async def _talk_to_api_server(image: Image, folder: Path) -> None:
    """Run the commands that use the Kubernetes client."""
    output = await _with_api_server(image, folder, scanned.fill, 1, "scan")
    assert "tls-on" in output
    output = await _with_api_server(image, folder, install, 0, "check")
    assert "installation" in output
    # Nobody completed this cluster, so the command ends with the reason.
    await _with_api_server(image, folder, scanned.fill, 2, "connect", "team-a/demo")


async def _with_api_server(
    image: Image, folder: Path, fill: Callable[[FakeKubeApi], None], exits: int, *arguments: str
) -> str:
    fake = FakeKubeApi(free_port())
    fill(fake)
    kubeconfig = kubeconfig_for(fake, folder)
    kubeconfig.chmod(0o644)
    options = ("--kubeconfig", str(kubeconfig))
    async with listening(fake):
        return await asyncio.to_thread(
            lambda: image.run(*arguments, *options, exits=exits, no_proxy="127.0.0.1")
        )


def serve_once(image: Image, enroll: Image, folder: Path) -> None:
    """Send each kind of request to a server, and enroll from both images."""
    objects, policy = folder / "objects.json", folder / "policy.yaml"
    items = live_objects.objects()
    objects.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    policy.write_text(yaml.safe_dump(_POLICY))
    outside = folder / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    ca_file, tokens = outside / "ca.crt", outside / "tokens"
    arguments = ("--dev", "--ca-file", str(ca_file), "--token-dir", str(tokens))
    files = {"RAYWARDEN_OBJECTS_FILE": str(objects), "RAYWARDEN_POLICY_FILE": str(policy)}
    with _serving(image, *arguments, **files) as (admission, enrollment, operations):
        client = httpx.Client(verify=str(ca_file), trust_env=False)
        for path, allowed in (("mutate", True), ("validate", False)):
            review = json.loads((_EXAMPLES / "05-public-dashboard.json").read_text())
            answer = client.post(f"https://localhost:{admission}/{path}", json=review).json()
            assert answer["response"]["allowed"] is allowed
        metrics = client.get(f"http://127.0.0.1:{operations}/metrics").text
        assert "raywarden_" in metrics
        token = (tokens / "team-a" / _POD / "token").read_text()
        variables = {
            "RAYWARDEN_SIGNER_URL": f"https://localhost:{enrollment}",
            "RAYWARDEN_SIGNER_CA": ca_file.read_text(),
            "RAYWARDEN_POD_IP": "127.0.0.1",
        }
        _enroll(image, outside, Path("/"), token, variables)
        if os.geteuid() == 0:
            _enroll(enroll, enroll.root / "volumes", enroll.root, token, variables)
    line("served", "mutate, validate, metrics, enroll")


def _enroll(image: Image, volumes: Path, root: Path, token: str, variables: dict[str, str]) -> None:
    """Enroll with `volumes`, a folder in the container whose files are in `root`."""
    tls, token_file = volumes / "tls", volumes / "token"
    folders = {folder: folder.stat().st_mtime_ns for folder in (root, root / "etc")}
    tls.mkdir(parents=True)
    for writable in (volumes, tls):
        writable.chmod(0o777)
    token_file.write_text(token)
    hosts = root / "etc" / "hosts"
    if root != Path("/"):
        # As the kubelet does.
        hosts.write_text("127.0.0.1 localhost\n")
    inside = Path("/") / volumes.relative_to(root)
    arguments = ("--token-file", str(inside / "token"), "--directory", str(inside / "tls"))
    output = image.run("enroll", *arguments, exits=0, **variables)
    assert output.startswith("enrolled 127.0.0.1 in "), output
    assert {file.name for file in tls.iterdir()} == {"ca.crt", "tls.crt", "tls.key"}
    if root != Path("/"):
        hosts.unlink()
        shutil.rmtree(volumes)
        for folder, modified in folders.items():
            os.utime(folder, ns=(modified, modified))


@contextmanager
def _serving(image: Image, *arguments: str, **variables: str) -> Iterator[list[int]]:
    """Start a server on free ports, and yield them when it is ready; it must end well."""
    with image.start(*image.command, *arguments, **{**_FREE_PORTS, **variables}) as process:
        assert process.stdout
        try:
            events: Iterable[Any] = (json.loads(text) for text in process.stdout)
            ports = next((event["ports"] for event in events if event["event"] == "ready"), None)
            assert ports, "serve ended before it was ready"
            yield ports
        finally:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, ""), f"serve ended with {process.returncode}: {err}"


def _ready_after(image: Image) -> float:
    """Seconds from the start of a server until it logs "ready"; `/readyz` must agree."""
    started = time.perf_counter()
    with _serving(image, "--dev") as ports:
        took = time.perf_counter() - started
        readyz = f"http://127.0.0.1:{ports[2]}/readyz"
        with urllib.request.urlopen(readyz, timeout=10) as response:
            assert response.read() == b"ok\n"
    return took


def _timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _figures(seconds: Iterable[float]) -> str:
    took = sorted(seconds)
    return f"{statistics.median(took) * 1e3:.0f} ms, at most {took[-1] * 1e3:.0f}"


def line(title: str, figures: str) -> None:
    """Print a result."""
    print(f"{title:<38}{figures}", flush=True)
