"""The Helm chart installs what `deploy/base` and its components install, and nothing else."""

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support.chart import LABELS, helm, hook_of, hooks, templated
from tests.support.deployed import CLUSTER_KINDS, base, only, rendered, variables
from tests.support.factory import Object
from tests.support.paths import DEPLOY, REPOSITORY
from tests.tools.chart import CHART
from webhook.settings import Settings

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
# The folder of `deploy/`, and the options of Helm that install the same.
SAME = {
    "base": (),
    "overlays/ca-bundle-by-hand": ("--set=caBundleByHand.enabled=true",),
    "overlays/cert-manager": ("--set=certManager.enabled=true",),
    "overlays/connect": ("--set=connect.enabled=true",),
    "overlays/kuberay-gitops": ("--set=policy.inject.rayCluster=marker",),
    "overlays/monitoring": ("--set=monitoring.enabled=true",),
    "overlays/openshift": ("--set=openshift.enabled=true",),
    "overlays/own-network-policies": ("--set=ownNetworkPolicies.enabled=true",),
    "overlays/scan": ("--set=scan.enabled=true",),
}
Key = tuple[str, str, str]


class TestManifests:
    @pytest.mark.parametrize("folder", SAME)
    def test_the_chart_installs_what_kustomize_installs(self, folder: str) -> None:
        expected = by_key(rendered(DEPLOY / folder))
        # `helm install --create-namespace` creates it, and a chart cannot contain it besides.
        del expected["Namespace", "", "raywarden-system"]
        installed = by_key(
            document for document in templated(*SAME[folder]) if not hook_of(document)
        )
        assert installed.keys() == expected.keys()
        for key, document in expected.items():
            assert installed[key] == document, key

    def test_every_component_is_a_value(self) -> None:
        components = {f"overlays/{folder.name}" for folder in (DEPLOY / "components").iterdir()}
        assert components == SAME.keys() - {"base"}

    def test_every_object_has_the_labels_of_the_release(self) -> None:
        switches = [option for options in SAME.values() for option in options]
        switches.remove("--set=caBundleByHand.enabled=true")
        for document in templated(*switches):
            labels = document["metadata"]["labels"]
            assert labels.keys() >= LABELS, document["metadata"]
            assert labels["helm.sh/chart"] == "raywarden-0.1.0"

    def test_another_namespace_is_named_everywhere(self) -> None:
        options = ("--set=certManager.enabled=true", "--set=monitoring.enabled=true")
        objects = templated(*options, "--set=scan.enabled=true", namespace="ray-security")
        text = yaml.safe_dump_all(
            document for document in objects if document["metadata"]["name"] != "raywarden-policy"
        )
        assert "ray-security" in text and "raywarden-system" not in text


def by_key(documents: Iterable[Object]) -> dict[Key, Object]:
    """Each object by kind, namespace and name, without the labels of the chart."""
    objects: dict[Key, Object] = {}
    for original in documents:
        document = with_plain_expressions(original)
        metadata = document["metadata"]
        labels = {
            name: value for name, value in metadata.pop("labels", {}).items() if name not in LABELS
        }
        if labels:
            metadata["labels"] = labels
        if document["kind"] in CLUSTER_KINDS:
            # kustomize does not know that policies of admission have none.
            metadata.pop("namespace", "")
        if "policy.yaml" in document.get("data", {}):
            document["data"]["policy.yaml"] = yaml.safe_load(document["data"]["policy.yaml"])
        key = document["kind"], metadata.get("namespace", ""), metadata["name"]
        assert key not in objects
        objects[key] = document
    return objects


def with_plain_expressions(value: Any) -> Any:
    """`value` with single spaces in expressions of CEL: kubectl doubles some of their newlines."""
    if isinstance(value, list):
        return [with_plain_expressions(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {name: with_plain_expressions(item) for name, item in value.items()}
    if isinstance(plain.get("expression"), str):
        plain["expression"] = " ".join(plain["expression"].split())
    return plain
