"""Runs `raywarden` commands against the API server of the tests, as people and Jobs do."""

import os
import subprocess
import sys
from pathlib import Path

from tests.apiserver.installation import Installation


def run_command(
    installation: Installation, kubeconfig: Path, *arguments: str, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command with the rights of `kubeconfig`, and `settings` in its environment."""
    return subprocess.run(
        [sys.executable, "-m", "webhook", *arguments, "--kubeconfig", str(kubeconfig)],
        env={
            "PATH": os.environ["PATH"],
            "no_proxy": "127.0.0.1",
            "RAYWARDEN_NAMESPACE": installation.namespace,
            **settings,
        },
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
