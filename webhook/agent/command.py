"""`raywarden enroll`: the command line of the init container's program."""

import random
import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated

import typer

from webhook.agent.enroll import Enrollment, Runtime, enroll
from webhook.agent.signer_client import EnrollError


class KeyMode(StrEnum):
    """Who can read the key: its owner, its group, or every user who sees the volume."""

    OWNER = "0400"
    GROUP = "0440"
    EVERYONE = "0444"


SignerUrl = Annotated[
    str, typer.Option(envvar="RAYWARDEN_SIGNER_URL", help="Enrollment URL of RayWarden (https).")
]
SignerCa = Annotated[
    str, typer.Option(envvar="RAYWARDEN_SIGNER_CA", help="The only CA to trust at that URL (PEM).")
]
PodIp = Annotated[
    str, typer.Option(envvar="RAYWARDEN_POD_IP", help="IP address the certificate must contain.")
]
TokenFile = Annotated[Path, typer.Option(help="Projected service account token.")]
Directory = Annotated[Path, typer.Option(help="Folder for tls.key, tls.crt and ca.crt.")]
Mode = Annotated[KeyMode, typer.Option(help="File mode of tls.key.")]
Deadline = Annotated[float, typer.Option(min=1, help="Give up after this many seconds.")]
TerminationLog = Annotated[
    Path, typer.Option(help="Write the reason for a failure to this file, if it exists.")
]


def enroll_command(
    signer_url: SignerUrl = "",
    signer_ca: SignerCa = "",
    pod_ip: PodIp = "",
    token_file: TokenFile = Path("/var/run/secrets/raywarden.io/token"),
    directory: Directory = Path("/etc/ray/tls"),
    key_mode: Mode = KeyMode.OWNER,
    # After that the kubelet restarts the init container, and the pod's status shows the reason.
    # Longer than `networkIsolation.holdSeconds`, so that a pod which is let start needs no restart:
    # KubeRay would delete a pod that is never restarted.
    deadline: Deadline = 300,
    termination_log: TerminationLog = Path("/dev/termination-log"),
) -> None:
    """Create a private key in this pod, obtain a certificate for it, and write both for Ray.

    The init container that RayWarden injects runs this command.
    """
    runtime = Runtime(lambda: datetime.now(UTC), time.monotonic, time.sleep, random.random)
    started = time.monotonic()
    try:
        _require(
            RAYWARDEN_SIGNER_URL=signer_url, RAYWARDEN_SIGNER_CA=signer_ca, RAYWARDEN_POD_IP=pod_ip
        )
        enrollment = Enrollment(
            url=signer_url,
            ca=signer_ca,
            pod_ip=_ip_address(pod_ip),
            token_file=token_file,
            directory=directory,
            key_mode=int(key_mode, 8),
            deadline=deadline,
        )
        not_after = enroll(enrollment, runtime, _log)
    except EnrollError as error:
        _report_failure(termination_log, str(error))
        raise typer.Exit(1) from None
    seconds = time.monotonic() - started
    print(f"enrolled {pod_ip} in {seconds:.3f} s; the certificate expires on {not_after:%F}")


def _require(**variables: str) -> None:
    missing = [name for name, value in variables.items() if not value.strip()]
    if missing:
        raise EnrollError(f"not set: {', '.join(missing)}")


def _ip_address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise EnrollError(f"RAYWARDEN_POD_IP is not an IP address: {text!r}") from None


def _log(line: str) -> None:
    print(f"raywarden enroll: {line}", file=sys.stderr, flush=True)


def _report_failure(termination_log: Path, reason: str) -> None:
    """Write the reason to stderr and to the pod's status, where `kubectl describe pod` shows it."""
    _log(reason)
    if termination_log.exists():
        try:
            termination_log.write_text(reason + "\n")
        except OSError as error:
            _log(f"{termination_log}: {error.strerror}")


def main() -> None:
    """Run this command alone: importing the other commands takes far longer than enrolling."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command("enroll")(enroll_command)
    app(prog_name="raywarden enroll", args=sys.argv[2:])
