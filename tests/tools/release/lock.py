"""Reads `requirements.lock`."""

import re
from dataclasses import dataclass

_ENTRY = re.compile(
    r"^([a-z0-9-]+)==(\S+)(?: ; (.+?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE
)
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """A package, its version, and the SHA-256 of every file that pip may install for it."""

    name: str
    version: str
    # Where the package is needed, as in `sys_platform == 'win32'`; empty: everywhere.
    marker: str
    hashes: tuple[str, ...]


def locked_packages(lock: str) -> list[LockedPackage]:
    """The packages of a lock file, in its order."""
    return [
        LockedPackage(name, version, marker, tuple(_HASH.findall(hashes)))
        for name, version, marker, hashes in _ENTRY.findall(lock)
    ]


def normalized(name: str) -> str:
    """The name of a package as lock files have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
