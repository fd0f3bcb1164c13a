"""RayWarden can be taken away again in the steps of the documentation."""

import os
import re
import subprocess
from pathlib import Path
from textwrap import dedent
from uuid import uuid4

import pytest
import yaml

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import define_ray_clusters
from tests.apiserver.pods import cluster_of
from tests.support.deployed import kubectl, rendered
from tests.support.factory import Object
from tests.support.paths import DEPLOY

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

OVERLAY = DEPLOY / "overlays" / "dev"
SEED = {"metadata": {"name": "raywarden-seed"}, "data": {"20261120T080000Z": "AAAA"}}


def documented_steps() -> list[str]:
    """The commands of the section about uninstalling, one script a step."""
    text = (DEPLOY / "README.md").read_text()
    section = text.partition("\n## Uninstall\n")[2].partition("\n## ")[0]
    return [dedent(script) for script in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)]


def test_the_documented_steps_take_everything_away(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    define_ray_clusters(control_plane)
    namespace = f"team-{uuid4().hex[:8]}"
    control_plane.make("/api/v1/namespaces", {"metadata": {"name": namespace}})
    author = cluster_of("train") | {"metadata": {"name": "train", "namespace": namespace}}
    control_plane.make(f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters", author)
    (tmp_path / "raycluster.yaml").write_text(yaml.safe_dump(author))
    objects = rendered(OVERLAY)
    try:
        control_plane.apply(*objects)
        control_plane.make("/api/v1/namespaces/raywarden-system/secrets", SEED)
        steps = documented_steps()
        assert len(steps) == 4
        for step in steps:
            run(step, control_plane, tmp_path)
    finally:
        control_plane.take_away(*objects)
    assert yaml.safe_load((tmp_path / "seed.yaml").read_text())["data"] == SEED["data"]
    assert [left for left in objects if is_left(control_plane, left)] == []


def run(step: str, control_plane: ControlPlane, folder: Path) -> None:
    """Run a step in `folder`; nothing may be printed to stderr."""
    script = step.replace("deploy/overlays/custom", str(OVERLAY)).replace("=NAME", "=train")
    # No controller runs here that finishes the deletion of a namespace.
    script = script.replace("kubectl delete ", "kubectl delete --wait=false ")
    program = Path(kubectl())
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "KUBECONFIG": str(control_plane.admin_kubeconfig),
    }
    process = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, ""), f"{script}\n{process.stdout}"


def is_left(control_plane: ControlPlane, document: Object) -> bool:
    """Whether an object is still there, and no controller would delete it soon."""
    kind, metadata = document["kind"], document["metadata"]
    if kind == "Namespace" or "namespace" in metadata:
        # Its deletion has begun, with everything in it.
        name = metadata.get("namespace", metadata["name"])
        found = control_plane.get(f"/api/v1/namespaces/{name}")
        return bool(found) and "deletionTimestamp" not in found["metadata"]
    plural = f"{kind.lower().removesuffix('y')}{'ies' if kind.endswith('y') else 's'}"
    plural = plural.replace("classs", "classes")
    return bool(control_plane.get(f"/apis/{document['apiVersion']}/{plural}/{metadata['name']}"))
