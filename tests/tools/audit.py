"""`make audit`: compares every locked package with the published advisories.

`pip-audit` asks the advisory database of the package index, so this needs the network. It is no
part of `make check`: what it finds changes without any change here.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.paths import REPOSITORY

# It contains all packages of requirements.lock and build.lock, too.
_LOCK = REPOSITORY / "tests" / "requirements.lock"


def problems(report: Any) -> Iterator[str]:
    """One line for each advisory, and for each package that could not be compared."""
    for package in report["dependencies"]:
        if "skip_reason" in package:
            yield f"{package['name']}: not compared: {package['skip_reason']}"
        for advisory in package.get("vulns", ()):
            fixed = ", ".join(advisory["fix_versions"]) or "no version yet"
            yield f"{package['name']} {package['version']}: {advisory['id']}, fixed in {fixed}"


def audit(lock: Path, arguments: Sequence[str], program: Sequence[str]) -> int:
    """Print what is wrong with the packages of a lock file; returns an exit code."""
    ended = subprocess.run(
        [*program, "--requirement", str(lock), "--disable-pip", "--require-hashes",
         "--format", "json", "--progress-spinner", "off", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        report = json.loads(ended.stdout)
    except ValueError:
        (*_, reason) = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        print(f"audit: the advisory database did not answer: {reason}", file=sys.stderr)
        return 2
    found = list(problems(report))
    print("\n".join([*found, f"{len(report['dependencies'])} packages, {len(found)} problems"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(audit(_LOCK, sys.argv[1:], [sys.executable, "-m", "pip_audit"]))
