"""`raywarden enroll`: the command line of the init container's program."""

import os
import sys
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from webhook.agent.enroll import Enrollment, Runtime, enroll
from webhook.agent.options import parse
from webhook.agent.signer_client import EnrollError


def main() -> None:
    """Run `raywarden enroll` with the arguments of this process."""
    code = run(sys.argv[2:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Every file is closed. Freeing all modules first would take a tenth of the program's time.
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Enroll this pod; returns the exit code."""
    options = parse(arguments, os.environ)
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
