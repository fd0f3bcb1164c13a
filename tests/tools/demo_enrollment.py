"""The other half of the demonstration: pods enroll as their init containers do."""

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
    """Have every pod in `objects_file` enroll, its token below `folder`, and show what it got."""
    table = Table(title="Pods enroll, and what their certificates hold", show_lines=True)
    table.add_column("pod", overflow="fold", max_width=26)
    table.add_column("seconds")
    table.add_column("names and end of the certificate", overflow="fold")
    clock = asyncio.get_running_loop().time
    for pod in _pods(objects_file):
        started = clock()
        directory = folder / pod.namespace / pod.name
        said = await _enroll(server, pod, directory)
        table.add_row(pod.name, f"{clock() - started:.2f}", said or _held(directory / "tls.crt"))
    return table


def _pods(objects_file: Path) -> Iterator[LivePod]:
    for one in read(str(objects_file)):
        if isinstance(one, Manifest) and one.document.get("kind") == "Pod":
            yield pod_of(one.document)


async def _enroll(server: Server, pod: LivePod, directory: Path) -> str:
    """Run the init container's program as the pod's would be; gives why it failed."""
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
        # Ctrl-C is for us, and we end what we started.
        start_new_session=True,
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return said.decode() if process.returncode else ""


def _held(file: Path) -> str:
    leaf = x509.load_pem_x509_certificate(file.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return ", ".join(str(name.value) for name in names) + f"\nuntil {leaf.not_valid_after_utc:%F}"
