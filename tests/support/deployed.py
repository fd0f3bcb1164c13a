"""The manifests of `deploy/`, as written and as rendered by kubectl."""

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
# The kinds of `deploy/` without a namespace.
CLUSTER_KINDS = {
    "ClusterRole",
    "ClusterRoleBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "PriorityClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
}
NO_KUBECTL = (
    "kubectl is needed to render deploy/: install it, "
    "or set KUBEBUILDER_ASSETS to the folder that contains it"
)


def overlays() -> list[Path]:
    """Every folder that can be applied with `kubectl apply -k`."""
    kustomizations = sorted((DEPLOY / "overlays").glob("*/kustomization.yaml"))
    return [BASE, *(file.parent for file in kustomizations)]


def read(file: Path) -> list[Object]:
    """The objects in a YAML file."""
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


@cache
def base() -> tuple[Object, ...]:
    """The objects of `deploy/base` as written, without the namespaces that kustomize adds."""
    names = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    return tuple(document for name in names for document in read(BASE / name))


def only(objects: tuple[Object, ...] | list[Object], kind: str, name: str = "raywarden") -> Object:
    """The object with this kind and name; there must be exactly one."""
    (match,) = [
        document
        for document in objects
        if (document["kind"], document["metadata"]["name"]) == (kind, name)
    ]
    return match


def kubectl() -> str:
    """The path of kubectl; empty if it is not installed."""
    folder = os.environ.get("KUBEBUILDER_ASSETS", "")
    return shutil.which("kubectl", path=folder) or shutil.which("kubectl") or ""


@cache
def rendered(folder: Path) -> tuple[Object, ...]:
    """The output of `kubectl kustomize` for a folder; skips the test if kubectl is missing."""
    program = kubectl()
    if not program:
        pytest.skip(NO_KUBECTL)
    command = [program, "kustomize", str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stderr) == (0, ""), process.stderr
    return tuple(yaml.safe_load_all(process.stdout))


def variables(deployment: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables of RayWarden's container.

    The value is empty if Kubernetes sets it when the pod starts (`valueFrom`).
    """
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}
