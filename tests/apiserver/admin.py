"""An administrator who runs `raywarden ca` with a cluster-admin kubeconfig."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.apiserver.installation import Installation
from tests.support.factory import Object


@dataclass(frozen=True)
class Admin:
    """An administrator with a cluster-admin kubeconfig, without a terminal."""

    installation: Installation

    def ca(self, *arguments: str) -> tuple[int, str]:
        """Run `raywarden ca`; returns its exit code and output."""
        kubeconfig = str(self.installation.control_plane.admin_kubeconfig)
        environment = {"PATH": os.environ["PATH"], "KUBECONFIG": kubeconfig}
        process = subprocess.run(
            [sys.executable, "-m", "webhook", "ca", *arguments],
            env={**environment, "RAYWARDEN_NAMESPACE": self.installation.namespace},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return process.returncode, process.stdout + process.stderr

    def run(self, *arguments: str) -> str:
        """Run `raywarden ca`, which must succeed; returns its output."""
        code, output = self.ca(*arguments)
        assert code == 0, output
        return output

    def generations(self, cluster: Object) -> tuple[dict[str, str], dict[str, Any]]:
        """The states of the generations by name, and the entry of a cluster."""
        document = json.loads(self.run("list", "-o", "json"))
        states = {generation["name"]: generation["state"] for generation in document["generations"]}
        namespace = cluster["metadata"]["namespace"]
        (entry,) = [entry for entry in document["clusters"] if entry["namespace"] == namespace]
        return states, entry


def activate(installation: Installation, generation: str) -> str:
    """Activate a generation now, without waiting for its activation time; returns its new name."""
    stored = installation.control_plane.get(installation.secret)["data"]
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    data = {generation: None, name: stored[generation]}
    installation.control_plane.patch(installation.secret, {"data": data})
    return name
