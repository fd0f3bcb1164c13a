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

from webhook.agent.enroll import EnrollError, Enrollment, Runtime, enroll


class KeyMode(StrEnum):
    """Who may read the key: its owner, its group, everyone who can see the volume."""

    OWNER = "0400"
    GROUP = "0440"
    EVERYONE = "0444"


def enroll_command(
    signer_url: Annotated[
        str, typer.Option(envvar="RAYWARDEN_SIGNER_URL", help="Where to enroll (https).")
    ] = "",
    signer_ca: Annotated[
        str, typer.Option(envvar="RAYWARDEN_SIGNER_CA", help="The only CA to trust there (PEM).")
    ] = "",
    pod_ip: Annotated[
        str, typer.Option(envvar="RAYWARDEN_POD_IP", help="The address the certificate must hold.")
    ] = "",
    token_file: Annotated[Path, typer.Option(help="The projected service account token.")] = Path(
        "/var/run/secrets/raywarden.io/token"
    ),
    directory: Annotated[Path, typer.Option(help="Where tls.key, tls.crt and ca.crt go.")] = Path(
        "/etc/ray/tls"
    ),
    key_mode: Annotated[KeyMode, typer.Option(help="Mode of tls.key.")] = KeyMode.OWNER,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds after which to give up.")] = 120,
    termination_log: Annotated[
        Path, typer.Option(help="Where a reason for failing goes, if it exists.")
    ] = Path("/dev/termination-log"),
) -> None:
    """Make a key in this pod, have it certified, and write both for Ray to read. The init container runs this."""
    surroundings = Runtime(lambda: datetime.now(UTC), time.monotonic, time.sleep, random.random)
    started = time.monotonic()
    try:
        _check_set(
            RAYWARDEN_SIGNER_URL=signer_url, RAYWARDEN_SIGNER_CA=signer_ca, RAYWARDEN_POD_IP=pod_ip
        )
        address = _address(pod_ip)
        enrollment = Enrollment(
            signer_url, signer_ca, address, token_file, directory, int(key_mode, 8), deadline
        )
        not_after = enroll(enrollment, surroundings)
    except EnrollError as error:
        _say_why(termination_log, str(error))
        raise typer.Exit(1) from None
    print(
        f"enrolled {pod_ip} in {time.monotonic() - started:.3f} s; the certificate ends {not_after:%F}"
    )


def _check_set(**given: str) -> None:
    if missing := [name for name, value in given.items() if not value.strip()]:
        raise EnrollError(f"not set: {', '.join(missing)}")


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise EnrollError(f"RAYWARDEN_POD_IP is no IP address: {text!r}") from None


def _say_why(termination_log: Path, reason: str) -> None:
    print(f"raywarden enroll: {reason}", file=sys.stderr)
    if termination_log.exists():
        try:
            termination_log.write_text(reason + "\n")
        except OSError as error:
            print(f"raywarden enroll: {termination_log}: {error.strerror}", file=sys.stderr)


def main() -> None:
    """The command alone, without the rest of `raywarden`, which takes far longer to import."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command("enroll")(enroll_command)
    app(prog_name="raywarden enroll", args=sys.argv[2:])
