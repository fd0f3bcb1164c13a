"""`raywarden enroll`: the command line of the init container's program."""

import gc
import os
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, HelpFormatter
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from webhook.agent.enroll import Enrollment, Runtime, enroll
from webhook.agent.signer_client import EnrollError

# After that the kubelet restarts the init container, and the pod's status shows the reason. Longer
# than `networkIsolation.holdSeconds`, so that a pod which is let start needs no restart: KubeRay
# would delete a pod that is never restarted.
DEADLINE_SECONDS = 300.0
# Who can read the key: its owner, its group, or every user who sees the volume.
_KEY_MODES = ("0400", "0440", "0444")


def main() -> None:
    """Run `raywarden enroll` with the arguments of this process."""
    # The process ends before a collection would free anything worth its time.
    gc.disable()
    sys.exit(run(sys.argv[2:]))


def run(arguments: Sequence[str]) -> int:
    """Enroll this pod; returns the exit code."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    try:
        _require(
            RAYWARDEN_SIGNER_URL=options.signer_url,
            RAYWARDEN_SIGNER_CA=options.signer_ca,
            RAYWARDEN_POD_IP=options.pod_ip,
        )
        enrollment = Enrollment(
            url=options.signer_url,
            ca=options.signer_ca,
            pod_ip=_ip_address(options.pod_ip),
            token_file=options.token_file,
            directory=options.directory,
            key_mode=int(options.key_mode, 8),
            deadline=options.deadline,
        )
        end = enroll(enrollment, Runtime(time.monotonic, time.sleep, _chance), _log)
    except EnrollError as error:
        _report_failure(options.termination_log, str(error))
        return 1
    seconds = time.monotonic() - started
    print(f"enrolled {options.pod_ip} in {seconds:.3f} s; the certificate expires on {end}")
    return 0


def _parser() -> ArgumentParser:
    # A width of its own: to find that of the terminal, argparse imports compression libraries.
    parser = ArgumentParser(
        prog="raywarden enroll",
        formatter_class=lambda prog: HelpFormatter(prog, width=100),
        description="Create a private key in this pod, obtain a certificate for it, and write both "
        "for Ray. The init container that RayWarden injects runs this command.",
    )
    add, environment = parser.add_argument, os.environ
    add(
        "--signer-url",
        default=environment.get("RAYWARDEN_SIGNER_URL", ""),
        help="enrollment URL of RayWarden, https (default: RAYWARDEN_SIGNER_URL)",
    )
    add(
        "--signer-ca",
        default=environment.get("RAYWARDEN_SIGNER_CA", ""),
        help="the only CA to trust at that URL, PEM (default: RAYWARDEN_SIGNER_CA)",
    )
    add(
        "--pod-ip",
        default=environment.get("RAYWARDEN_POD_IP", ""),
        help="IP address the certificate must contain (default: RAYWARDEN_POD_IP)",
    )
    add(
        "--token-file",
        default="/var/run/secrets/raywarden.io/token",
        help="projected service account token (default: %(default)s)",
    )
    add(
        "--directory",
        default="/etc/ray/tls",
        help="folder for tls.key, tls.crt and ca.crt (default: %(default)s)",
    )
    add(
        "--key-mode",
        choices=_KEY_MODES,
        default=_KEY_MODES[0],
        help="file mode of tls.key (default: %(default)s)",
    )
    add(
        "--deadline",
        type=_seconds,
        default=DEADLINE_SECONDS,
        help="give up after this many seconds (default: %(default)g)",
    )
    add(
        "--termination-log",
        default="/dev/termination-log",
        help="write the reason for a failure to this file, if it exists (default: %(default)s)",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds >= 1:
        raise ArgumentTypeError(f"{text} is not a number of seconds from 1 up")
    return seconds


def _chance() -> float:
    # Only a pod that waits needs it, and importing it takes a few milliseconds.
    import random

    return random.random()


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


def _report_failure(termination_log: str, reason: str) -> None:
    """Write the reason to stderr and to the pod's status, where `kubectl describe pod` shows it."""
    _log(reason)
    if os.path.exists(termination_log):
        try:
            with open(termination_log, "w", encoding="utf-8") as stream:
                stream.write(reason + "\n")
        except OSError as error:
            _log(f"{termination_log}: {error.strerror}")
