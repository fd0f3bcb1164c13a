"""The Helm chart, as `helm template` renders it."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import yaml

from tests.support.factory import Object
from tests.tools.chart import CHART

NO_HELM = "helm is needed to render the chart: install it, or set HELM to its path"
# What the chart adds to the labels of `deploy/base`.
LABELS = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
}


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The result of a helm command; skips the test if there is no helm."""
    program = os.environ.get("HELM") or shutil.which("helm")
    if not program:
        pytest.skip(NO_HELM)
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@cache
def templated(*options: str, namespace: str = "raywarden-system") -> tuple[Object, ...]:
    """The objects that the chart installs with these options of `helm template`."""
    process = helm("template", "raywarden", str(CHART), "--namespace", namespace, *options)
    assert process.returncode == 0, process.stderr
    return tuple(document for document in yaml.safe_load_all(process.stdout) if document)


def hooks(*options: str) -> list[Object]:
    """The objects that Helm creates only for an uninstallation or a test."""
    return [document for document in templated(*options) if hook_of(document)]


def hook_of(document: Mapping[str, Any]) -> str:
    """The event of Helm for which an object is created; empty for the installation itself."""
    event = document["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    return str(event)
