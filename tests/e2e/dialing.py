"""What listens in the network namespace of a pod, and who can connect to it."""

import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from tests.support.paths import REPOSITORY

Target = tuple[str, int]
_LISTENING = "0A"
OPEN, REFUSED, CLOSED = "open", "refused", "closed"


def listening(network: Path) -> set[int]:
    """The TCP ports on which anything in a network namespace listens for others.

    Source: proc_pid_net(5).
    """
    return set(_ports(_within(network, "cat", "/proc/net/tcp", "/proc/net/tcp6")))


def dialed(network: Path | None, targets: Collection[Target]) -> Mapping[Target, str]:
    """Connect to all targets from a network namespace, or from the node; returns the results."""
    if not targets:
        return {}
    program = [sys.executable, "-m", "tests.e2e.programs.dial"]
    output = _within(network, *program, *(f"{address}:{port}" for address, port in targets))
    results = {}
    for line in output.splitlines():
        target, result = line.split()
        address, _, port = target.rpartition(":")
        results[address, int(port)] = result
    assert results.keys() == set(targets), output
    return results


def with_result(results: Mapping[Target, str], wanted: str) -> set[Target]:
    """The targets with this result."""
    return {target for target, result in results.items() if result == wanted}


def _ports(table: str) -> Iterator[int]:
    for line in table.splitlines():
        _, local, _, state, *_ = line.split()
        address, _, port = local.rpartition(":")
        if state == _LISTENING and not _is_loopback(address):
            yield int(port, 16)


def _is_loopback(text: str) -> bool:
    """Whether an address in /proc/net is a loopback address; each word is in host byte order."""
    words: Iterable[bytes] = (
        int(text[start : start + 8], 16).to_bytes(4, sys.byteorder)
        for start in range(0, len(text), 8)
    )
    packed = b"".join(words)
    if len(packed) == 4:
        return IPv4Address(packed).is_loopback
    address = IPv6Address(packed)
    mapped = address.ipv4_mapped
    return mapped.is_loopback if mapped else address.is_loopback


def _within(network: Path | None, *command: str) -> str:
    entered = ["nsenter", f"--net={network}"] if network else []
    process = subprocess.run(
        [*entered, *command],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return process.stdout
