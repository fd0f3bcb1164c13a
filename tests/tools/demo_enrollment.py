"""The second part of `make demo`: pods enroll as their init containers do."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from rich.table import Table

from certs.identity import LivePod
from webhook.kube.objects import pod_of
from webhook.manifests.read import Manifest, read
from webhook.server.server import Server


async def enrollments(server: Server, objects_file: Path, folder: Path) -> Table:
    """Enroll every pod in `objects_file`; returns a table of the certificates.

    The token of a pod is in a folder below `folder`.
    """
    table = Table(title="Enrolled pods and their certificates", show_lines=True)
    table.add_column("pod", overflow="fold", max_width=26)
    table.add_column("seconds")
    table.add_column("names and expiry of the certificate", overflow="fold")
    clock = asyncio.get_running_loop().time
    for pod in _pods(objects_file):
        started = clock()
        directory = folder / pod.namespace / pod.name
        failure = await _enroll(server, pod, directory)
        result = failure or _describe(directory / "tls.crt")
        table.add_row(pod.name, f"{clock() - started:.2f}", result)
    return table


def _pods(objects_file: Path) -> Iterator[LivePod]:
    for manifest in read(str(objects_file)):
        if isinstance(manifest, Manifest) and manifest.document.get("kind") == "Pod":
            yield pod_of(manifest.document)


async def _enroll(server: Server, pod: LivePod, directory: Path) -> str:
    """Run the init container's program for a pod; returns why it failed, empty if it did not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "webhook", "enroll", "--token-file", str(directory / "token")),
        *("--directory", str(directory), "--deadline", "10"),
        env={
            "PATH": os.defpath,
            "RAYWARDEN_POD_IP": str(pod.addresses[0]),
            "RAYWARDEN_SIGNER_URL": f"https://localhost:{server.enrollment.port}",
            "RAYWARDEN_SIGNER_CA": server.ca.decode(),
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl-C must reach only the demo, which then kills this process.
        start_new_session=True,
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return errors.decode() if process.returncode else ""


def _describe(file: Path) -> str:
    leaf = x509.load_pem_x509_certificate(file.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return ", ".join(str(name.value) for name in names) + f"\nuntil {leaf.not_valid_after_utc:%F}"
