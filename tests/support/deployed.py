"""What `deploy/` installs, as it is written and as kubectl renders it."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.factory import Object
from tests.support.paths import DEPLOY

BASE = DEPLOY / "base"
NO_KUBECTL = "no kubectl to render deploy/ with: install it, or have KUBEBUILDER_ASSETS name the folder it is in"


def overlays() -> list[Path]:
    """Every folder that `kubectl apply -k` takes."""
    return [
        BASE,
        *sorted(file.parent for file in (DEPLOY / "overlays").glob("*/kustomization.yaml")),
    ]


def read(file: Path) -> list[Object]:
    """The objects in a YAML file."""
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


@cache
def base() -> tuple[Object, ...]:
    """The objects of `deploy/base` as they are written: images, namespaces and the like are what kustomize adds."""
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    return tuple(document for name in listed for document in read(BASE / name))


def only(objects: tuple[Object, ...] | list[Object], kind: str, name: str = "raywarden") -> Object:
    """The one object of this kind and name."""
    (found,) = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def kubectl() -> str:
    """The program; empty where there is none."""
    folder = os.environ.get("KUBEBUILDER_ASSETS", "")
    return shutil.which("kubectl", path=folder) or shutil.which("kubectl") or ""


@cache
def rendered(folder: Path) -> tuple[Object, ...]:
    """What `kubectl kustomize` makes of a folder; skips the test where there is no kubectl."""
    if not (program := kubectl()):
        pytest.skip(NO_KUBECTL)
    command = [program, "kustomize", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    return tuple(yaml.safe_load_all(ended.stdout))


def variables(deployment: Mapping[str, Any]) -> dict[str, str]:
    """The environment of our container, by name; empty where a value is looked up when the pod starts."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}
