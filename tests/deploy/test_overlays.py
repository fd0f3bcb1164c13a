"""What kubectl renders of `deploy/`: every overlay is whole, valid, and of one mind about namespace and image."""

import re
import shutil
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.support import factory, registration, related_objects
from tests.support.deployed import only, overlays, rendered, variables
from tests.support.paths import DEPLOY
from webhook.settings import Settings

FOLDERS = pytest.mark.parametrize("folder", overlays(), ids=lambda folder: folder.name)
GUIDE = DEPLOY / "README.md"
# Defined by others than Kubernetes, whose schemas kubernetes-validate does not have.
_FOREIGN = ("cert-manager.io/", "monitoring.coreos.com/")


class TestRendered:
    @FOLDERS
    def test_every_object_is_valid(self, folder: Path) -> None:
        for document in rendered(folder):
            if not document["apiVersion"].startswith(_FOREIGN):
                kubernetes_validate.validate(
                    document, kubernetes_validate.latest_version(), strict=True
                )

    @FOLDERS
    def test_pods_enroll_with_the_image_that_signs_for_them(self, folder: Path) -> None:
        deployment = only(rendered(folder), "Deployment")
        (ours,) = deployment["spec"]["template"]["spec"]["containers"]
        assert ours["image"] == variables(deployment)["RAYWARDEN_ENROLL_IMAGE"]
        assert ours["image"].endswith(":0.1.0")

    @FOLDERS
    def test_our_own_namespace_is_not_sent_to_us(self, folder: Path) -> None:
        objects = rendered(folder)
        (namespace,) = [one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"]
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            for webhook in only(objects, kind)["webhooks"]:
                (expression,) = webhook["namespaceSelector"]["matchExpressions"]
                assert expression["values"] == [namespace, "kube-system"]
                assert webhook["clientConfig"]["service"]["namespace"] == namespace

    @FOLDERS
    def test_everything_is_in_one_namespace(self, folder: Path) -> None:
        objects = rendered(folder)
        (namespace,) = [one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"]
        named = {one["metadata"].get("namespace", namespace) for one in objects}
        bound = {subject["namespace"] for one in objects for subject in one.get("subjects", [])}
        assert named | bound == {namespace}

    @FOLDERS
    def test_every_volume_and_reference_leads_somewhere(self, folder: Path) -> None:
        objects = rendered(folder)
        pod = only(objects, "Deployment")["spec"]["template"]["spec"]
        only(objects, "PriorityClass", pod["priorityClassName"])
        only(objects, "ServiceAccount", pod["serviceAccountName"])
        made = {one["spec"].get("secretName") for one in objects if one["kind"] == "Certificate"}
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert (
                    "policy.yaml" in only(objects, "ConfigMap", volume["configMap"]["name"])["data"]
                )
            else:
                assert volume["secret"]["secretName"] in made

    @FOLDERS
    def test_every_variable_is_a_setting_with_a_value_it_can_have(self, folder: Path) -> None:
        given = variables(only(rendered(folder), "Deployment"))
        fields = {name.removeprefix("RAYWARDEN_").lower(): value for name, value in given.items()}
        assert fields.keys() <= Settings.model_fields.keys()
        Settings.model_validate({name: value for name, value in fields.items() if value})

    def test_openshifts_own_namespaces_do_not_wait_for_us(self) -> None:
        objects = rendered(DEPLOY / "overlays" / "openshift")
        asked = factory.request(related_objects.route())
        for webhook in only(objects, "ValidatingWebhookConfiguration")["webhooks"]:
            (condition,) = [
                one for one in webhook["matchConditions"] if one["name"] == "is-not-openshifts-own"
            ]
            for namespace, is_sent in (
                ("openshift-ingress", False),
                ("openshift", True),
                ("team-openshift-", True),
            ):
                request = asked.model_copy(update={"namespace": namespace})
                assert registration.holds(condition["expression"], request) is is_sent

    def test_by_hand_the_server_writes_nothing_of_the_cluster(self) -> None:
        objects = rendered(DEPLOY / "overlays" / "ca-bundle-by-hand")
        verbs = {verb for rule in only(objects, "ClusterRole")["rules"] for verb in rule["verbs"]}
        creates = [
            rule["resources"]
            for rule in only(objects, "ClusterRole")["rules"]
            if "create" in rule["verbs"]
        ]
        assert verbs == {"get", "list", "watch", "create"} and creates == [["tokenreviews"]]
        (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
        assert {"name": "RAYWARDEN_WEBHOOK_CONFIGURATION", "value": ""} in container["env"]

    def test_cert_manager_takes_the_ca_bundle_over(self) -> None:
        objects = rendered(DEPLOY / "overlays" / "cert-manager")
        given = variables(only(objects, "Deployment"))
        assert {"RAYWARDEN_TLS_CERT_FILE", "RAYWARDEN_ROOT_KEY_FILE"} <= given.keys()
        groups = [
            group for rule in only(objects, "ClusterRole")["rules"] for group in rule["apiGroups"]
        ]
        assert "admissionregistration.k8s.io" not in groups
        (serving,) = [
            one
            for one in objects
            if one["metadata"]["name"] == "raywarden-serving" and "dnsNames" in one["spec"]
        ]
        names = {
            f"{one['metadata']['name']}.{one['metadata']['namespace']}.svc"
            for one in objects
            if one["kind"] == "Service"
        }
        assert set(serving["spec"]["dnsNames"]) == names
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            annotations = only(objects, kind)["metadata"]["annotations"]
            assert annotations == {
                "cert-manager.io/inject-ca-from": "raywarden-system/raywarden-serving"
            }
        assert sum("annotations" in one["metadata"] for one in objects) == 2, (
            "nothing else has a caBundle"
        )


def test_cert_manager_can_be_had_under_another_namespace(tmp_path: Path) -> None:
    """With what the guide says has to be added."""
    (folder := tmp_path / "own").mkdir()
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    custom = (DEPLOY / "overlays" / "custom" / "kustomization.yaml").read_text()
    (more,) = re.findall(
        r"^# cert-manager under another namespace\n(.*?)^```",
        GUIDE.read_text(),
        re.DOTALL | re.MULTILINE,
    )
    both = (
        custom.replace("  - ../../components/monitoring\n", "  - ../../components/cert-manager\n")
        + more
    )
    (folder / "kustomization.yaml").write_text(both.replace("../../", "../deploy/"))
    shutil.copy(DEPLOY / "overlays" / "custom" / "policy.yaml", folder)
    text = yaml.safe_dump_all(rendered(folder))
    assert "inject-ca-from: ray-security/raywarden-serving" in text
    assert "raywarden.ray-security.svc" in text and "raywarden-enroll.ray-security.svc" in text
    assert "raywarden-system" not in text
