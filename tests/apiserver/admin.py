"""Somebody who rotates the seed: `raywarden ca`, with a kubeconfig that may do anything."""

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
    """Somebody with a kubeconfig that may do anything, at a terminal nobody sits at."""

    installation: Installation

    def ca(self, *arguments: str) -> tuple[int, str]:
        """`raywarden ca`: exit code and everything it said."""
        kubeconfig = str(self.installation.control_plane.admin_kubeconfig)
        environment = {"PATH": os.environ["PATH"], "KUBECONFIG": kubeconfig}
        ended = subprocess.run(
            [sys.executable, "-m", "webhook", "ca", *arguments],
            env={**environment, "RAYWARDEN_NAMESPACE": self.installation.namespace},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr

    def does(self, *arguments: str) -> str:
        code, said = self.ca(*arguments)
        assert code == 0, said
        return said

    def listed(self, cluster: Object) -> tuple[dict[str, str], dict[str, Any]]:
        """The generations with their states, and the entry of a cluster."""
        document = json.loads(self.does("list", "-o", "json"))
        generations = {one["name"]: one["state"] for one in document["generations"]}
        metadata = cluster["metadata"]
        (entry,) = [
            one for one in document["clusters"] if one["namespace"] == metadata["namespace"]
        ]
        return generations, entry


def activate(installation: Installation, generation: str) -> str:
    """Let the minutes pass until a generation is activated: it gets the name of one that is now; gives that."""
    stored = installation.control_plane.get(installation.secret)["data"]
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    data = {generation: None, name: stored[generation]}
    installation.control_plane.patch(installation.secret, {"data": data})
    return name
