"""`python -m tests.matrix [--publish] [PART ...]`, with the parts apiserver, e2e and cluster."""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tests.matrix import record
from tests.matrix.machine import Machine
from tests.matrix.runner import Matrix
from tests.support.paths import REPOSITORY

# where `setup-envtest use` puts them on Linux
_ENVTEST = Path(".local", "share", "kubebuilder-envtest", "k8s")


def main(arguments: list[str], environment: Mapping[str, str]) -> str | int:
    """Run the named parts or all of them, or publish what ran; returns what is wrong, or 0."""
    if arguments == ["--publish"]:
        return _publish()
    matrix = Matrix(
        machine=_machine(environment),
        results=record.RECORDS.parent,
        date=datetime.now(UTC).date().isoformat(),
        note=environment.get("MATRIX_NOTE", ""),
    )
    parts = {"apiserver": matrix.apiserver, "e2e": matrix.e2e, "cluster": matrix.cluster}
    names = arguments or list(parts)
    if unknown := [name for name in names if name not in parts]:
        return f"unknown part {unknown[0]}: choose from {', '.join(parts)}"
    for name in names:
        parts[name]()
    ran = [f"ran:     {line}" for line in matrix.ran or ["nothing"]]
    not_run = [f"not run: {line}" for line in matrix.not_run]
    print("", *ran, *not_run, sep="\n")
    return 0 if matrix.is_good else 1


def _publish() -> str | int:
    records = record.read(record.RECORDS)
    if not records:
        return f"{record.RECORDS} has no records: run make matrix first"
    record.publish(records, record.PUBLISHED)
    return 0


def _machine(environment: Mapping[str, str]) -> Machine:
    return Machine(
        kubernetes=Path(environment.get("MATRIX_KUBERNETES") or Path.home() / _ENVTEST),
        environments=REPOSITORY,
        kubeconfig=environment.get("KUBECONFIG", ""),
        python=Path(sys.executable),
        isolated=REPOSITORY / "tests" / "e2e" / "isolated",
        make=Path("make"),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
