"""The Helm chart installs what `deploy/base` and its components install, and nothing else."""

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.chart import LABELS, helm, hook_of, hooks, templated
from tests.support.deployed import CLUSTER_KINDS, base, only, rendered, variables
from tests.support.factory import Object
from tests.support.paths import DEPLOY, REPOSITORY
from tests.tools.chart import CHART, files
from tests.tools.chart_edits import Edit
from webhook.commands.cli import command_line
from webhook.policy.file import load_policy
from webhook.settings import Settings

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
# The folder of `deploy/`, and the options of Helm that install the same.
SAME = {
    "base": (),
    "overlays/autoscaling": ("--set=autoscaling.enabled=true",),
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


class TestValues:
    def test_one_replica_has_no_disruption_budget(self) -> None:
        kinds = {document["kind"] for document in templated("--set=replicas=1")}
        assert "PodDisruptionBudget" not in kinds

    def test_images_follow_each_other(self) -> None:
        digest = f"sha256:{'0' * 64}"
        server = ("--set=image.repository=images.example/raywarden", "--set=image.tag=0.2.0")
        small = "images.example/raywarden:0.2.0-enroll"
        assert images(*server) == ("images.example/raywarden:0.2.0", small)
        assert images(*server, f"--set=enrollImage.digest={digest}")[1] == f"{small}@{digest}"
        assert images(f"--set=image.digest={digest}")[0] == f"raywarden:0.1.0@{digest}"

    def test_a_priority_class_of_the_cluster_replaces_the_own_one(self) -> None:
        objects = templated("--set=priorityClassName=platform")
        assert "PriorityClass" not in {document["kind"] for document in objects}
        pod = only(objects, "Deployment")["spec"]["template"]["spec"]
        assert pod["priorityClassName"] == "platform"

    def test_what_stands_in_values_yaml_is_what_the_chart_does_without(self) -> None:
        container = only(base(), "Deployment")["spec"]["template"]["spec"]["containers"][0]
        assert VALUES["replicas"] == only(base(), "Deployment")["spec"]["replicas"]
        assert VALUES["resources"] == container["resources"]
        jsonschema.validate(VALUES, SCHEMA)

    def test_the_policy_of_the_values_is_read_like_the_file(self, tmp_path: Path) -> None:
        policy = {
            "inject": {"nonRootImages": [{"image": "own/*", "uid": 1000660000}]},
            "rules": {"no-root": {"mode": "off"}},
        }
        objects = templated(f"--set-json=policy={json.dumps(policy)}")
        file = tmp_path / "policy.yaml"
        file.write_text(only(objects, "ConfigMap", "raywarden-policy")["data"]["policy.yaml"])
        assert load_policy(file).inject.non_root_images[0].uid == 1000660000

    @pytest.mark.parametrize(
        ("option", "line"),
        [
            ("--set=replicas=two", "at '/replicas': got string, want integer"),
            ("--set=imgae.tag=1", "additional properties 'imgae' not allowed"),
            ("--set=image.digest=abc", "at '/image/digest': 'abc' does not match pattern"),
            ("--set=settings.RAYWARDEN_NONE=x", "properties 'RAYWARDEN_NONE' not allowed"),
            ("--set=policy.profiles.enforce=strict", "at '/policy/profiles/enforce': value must"),
            ("--set=policy.rules.no-such.mode=warn", "properties 'no-such' not allowed"),
            (
                "--set=certManager.enabled=true,caBundleByHand.enabled=true",
                "certManager and caBundleByHand are both enabled",
            ),
        ],
    )
    def test_a_wrong_value_is_named(self, option: str, line: str) -> None:
        process = helm("template", "raywarden", str(CHART), option)
        assert process.returncode == 1 and line in process.stderr


def images(*options: str) -> tuple[str, str]:
    """The image of the server and that of the init container."""
    deployment = only(templated(*options), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container["image"], variables(deployment)["RAYWARDEN_ENROLL_IMAGE"]


class TestHooks:
    def test_rights_come_before_the_job_and_go_after_it(self) -> None:
        weights: dict[str, dict[str, int]] = {}
        for document in hooks("--set=tests.dryRunNamespace=team-a"):
            annotations = document["metadata"]["annotations"]
            event = weights.setdefault(hook_of(document), {})
            event[document["kind"]] = int(annotations["helm.sh/hook-weight"])
            keeps_log = document["kind"] == "Job" and hook_of(document) == "test"
            goes = "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]
            assert goes is not keeps_log
        assert weights.keys() == {"pre-delete", "test"}
        for event in weights.values():
            assert event["ServiceAccount"] < event["ClusterRoleBinding"] < event["Job"] == 0

    def test_jobs_meet_the_restricted_pod_security_standard(self) -> None:
        for job in (document for document in hooks() if document["kind"] == "Job"):
            pod = job["spec"]["template"]["spec"]
            server = only(base(), "Deployment")["spec"]["template"]["spec"]
            assert pod["securityContext"] == server["securityContext"]
            (container,), (own,) = pod["containers"], server["containers"]
            assert container["securityContext"] == own["securityContext"]

    def test_jobs_run_existing_commands(self) -> None:
        jobs = [document for document in hooks() if document["kind"] == "Job"]
        arguments = [job["spec"]["template"]["spec"]["containers"][0]["args"] for job in jobs]
        assert sorted(arguments) == [["check"], ["unregister", "--yes"]]
        names = {command.name for command in command_line([]).registered_commands}
        assert {"check", "unregister"} <= names


class TestFiles:
    def test_the_version_is_that_of_the_project(self) -> None:
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        assert chart["version"] == chart["appVersion"] == project["version"]
        assert chart["annotations"]["artifacthub.io/license"] == project["license"]

    def test_no_template_is_left_of_a_manifest_that_is_gone(self) -> None:
        fresh = files().keys()
        for template in sorted((CHART / "templates").rglob("*.yaml")):
            assert template in fresh or "Generated from" not in template.read_text()

    def test_the_schema_holds_that_of_the_policy_file(self) -> None:
        policy = json.loads((REPOSITORY / "policies" / "policy.schema.json").read_text())
        definitions = policy.pop("$defs")
        for name, definition in definitions.items():
            same = re.sub(re.escape("(?![0-9])"), "([^0-9]|$)", json.dumps(definition))
            assert SCHEMA["$defs"][name] == json.loads(same)
        held = SCHEMA["$defs"]["PolicyFile"]
        assert (held["properties"], held["additionalProperties"]) == (policy["properties"], False)

    def test_the_schema_has_only_expressions_that_helm_can_read(self) -> None:
        # Go has no lookaround.
        assert not re.search(r"\(\?[=!<]", (CHART / "values.schema.json").read_text())

    def test_the_values_in_the_guide_are_valid(self) -> None:
        guide = (DEPLOY / "README.md").read_text()
        (example,) = re.findall(r"^# values for helm\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)
        jsonschema.validate(yaml.safe_load(example), SCHEMA)

    def test_every_setting_is_a_value_or_set_by_the_chart(self) -> None:
        names = {f"RAYWARDEN_{name.upper()}" for name in Settings.model_fields}
        assert SCHEMA["properties"]["settings"]["properties"].keys() < names
        owned = set(variables(only(base(), "Deployment")))
        assert not SCHEMA["properties"]["settings"]["properties"].keys() & owned

    def test_a_manifest_that_changes_where_an_edit_applies_is_noticed(self) -> None:
        with pytest.raises(ValueError, match=r"x\.yaml: 0 times instead of 1: replicas: 2"):
            Edit("replicas: 2", "").applied("replicas: 3", "x.yaml")
