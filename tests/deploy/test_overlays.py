"""Every overlay of `deploy/`, as kubectl renders it, is complete, valid and consistent."""

import re
import shutil
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.support import factory, registration, related_objects
from tests.support.deployed import only, overlays, rendered, variables
from tests.support.factory import Object
from tests.support.paths import DEPLOY
from webhook import __version__
from webhook.settings import Settings

FOLDERS = pytest.mark.parametrize("folder", overlays(), ids=lambda folder: folder.name)
GUIDE = DEPLOY / "README.md"
# The groups of custom resources, whose schemas kubernetes-validate does not have.
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
    def test_init_containers_use_the_small_image_of_the_same_version(self, folder: Path) -> None:
        deployment = only(rendered(folder), "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        enroll = variables(deployment)["RAYWARDEN_ENROLL_IMAGE"]
        assert enroll == f"{container['image']}-enroll"
        assert container["image"].endswith(f":{__version__}")

    @FOLDERS
    def test_nothing_runs_as_root(self, folder: Path) -> None:
        pod = only(rendered(folder), "Deployment")["spec"]["template"]["spec"]
        ids = {pod["securityContext"].get(name) for name in ("runAsUser", "runAsGroup")}
        # OpenShift chooses the user of each namespace, and refuses any other.
        assert ids == ({None} if folder.name == "openshift" else {65532})
        assert pod["securityContext"]["runAsNonRoot"] is True

    @FOLDERS
    def test_requests_in_raywardens_own_namespace_are_not_sent(self, folder: Path) -> None:
        objects = rendered(folder)
        namespace = namespace_of(objects)
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            for webhook in only(objects, kind)["webhooks"]:
                (expression,) = webhook["namespaceSelector"]["matchExpressions"]
                assert expression["values"] == [namespace, "kube-system"]
                assert webhook["clientConfig"]["service"]["namespace"] == namespace

    @FOLDERS
    def test_everything_is_in_one_namespace(self, folder: Path) -> None:
        objects = rendered(folder)
        namespace = namespace_of(objects)
        named = {document["metadata"].get("namespace", namespace) for document in objects}
        subjects = [subject for document in objects for subject in document.get("subjects", [])]
        bound = {subject["namespace"] for subject in subjects}
        assert named | bound == {namespace}

    @FOLDERS
    def test_every_reference_of_the_pod_exists(self, folder: Path) -> None:
        objects = rendered(folder)
        pod = only(objects, "Deployment")["spec"]["template"]["spec"]
        only(objects, "PriorityClass", pod["priorityClassName"])
        only(objects, "ServiceAccount", pod["serviceAccountName"])
        certificates = [document for document in objects if document["kind"] == "Certificate"]
        secrets = {certificate["spec"].get("secretName") for certificate in certificates}
        for volume in pod["volumes"]:
            if "configMap" in volume:
                config_map = only(objects, "ConfigMap", volume["configMap"]["name"])
                assert "policy.yaml" in config_map["data"]
            else:
                assert volume["secret"]["secretName"] in secrets

    @FOLDERS
    def test_every_variable_is_a_setting_with_a_valid_value(self, folder: Path) -> None:
        environment = variables(only(rendered(folder), "Deployment"))
        fields = {
            name.removeprefix("RAYWARDEN_").lower(): value for name, value in environment.items()
        }
        assert fields.keys() <= Settings.model_fields.keys()
        Settings.model_validate({name: value for name, value in fields.items() if value})

    def test_requests_in_openshifts_own_namespaces_are_not_sent(self) -> None:
        objects = rendered(DEPLOY / "overlays" / "openshift")
        route = factory.request(related_objects.route())
        for webhook in only(objects, "ValidatingWebhookConfiguration")["webhooks"]:
            (expression,) = [
                condition["expression"]
                for condition in webhook["matchConditions"]
                if condition["name"] == "is-not-openshift-namespace"
            ]
            for namespace, is_sent in (
                ("openshift-ingress", False),
                ("openshift", True),
                ("team-openshift-", True),
            ):
                request = route.model_copy(update={"namespace": namespace})
                assert registration.holds(expression, request) is is_sent

    def test_with_ca_bundle_by_hand_the_server_writes_no_cluster_object(self) -> None:
        objects = rendered(DEPLOY / "overlays" / "ca-bundle-by-hand")
        rules = only(objects, "ClusterRole")["rules"]
        verbs = {verb for rule in rules for verb in rule["verbs"]}
        creates = [rule["resources"] for rule in rules if "create" in rule["verbs"]]
        assert verbs == {"get", "list", "watch", "create"} and creates == [["tokenreviews"]]
        (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
        assert {"name": "RAYWARDEN_WEBHOOK_CONFIGURATION", "value": ""} in container["env"]

    def test_with_cert_manager_the_server_does_not_write_the_ca_bundle(self) -> None:
        objects = rendered(DEPLOY / "overlays" / "cert-manager")
        environment = variables(only(objects, "Deployment"))
        assert {"RAYWARDEN_TLS_CERT_FILE", "RAYWARDEN_ROOT_KEY_FILE"} <= environment.keys()
        rules = only(objects, "ClusterRole")["rules"]
        groups = [group for rule in rules for group in rule["apiGroups"]]
        assert "admissionregistration.k8s.io" not in groups
        (serving,) = [
            document
            for document in objects
            if document["metadata"]["name"] == "raywarden-serving"
            and "dnsNames" in document["spec"]
        ]
        services = [document["metadata"] for document in objects if document["kind"] == "Service"]
        names = {f"{service['name']}.{service['namespace']}.svc" for service in services}
        assert set(serving["spec"]["dnsNames"]) == names
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            annotations = only(objects, kind)["metadata"]["annotations"]
            assert annotations == {
                "cert-manager.io/inject-ca-from": "raywarden-system/raywarden-serving"
            }
        annotated = [document for document in objects if "annotations" in document["metadata"]]
        assert len(annotated) == 2, "only webhook configurations have a caBundle"


def namespace_of(objects: tuple[Object, ...]) -> str:
    (namespace,) = [document for document in objects if document["kind"] == "Namespace"]
    return str(namespace["metadata"]["name"])


def test_cert_manager_works_with_another_namespace(tmp_path: Path) -> None:
    """This needs the additions that the guide describes."""
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    custom = (DEPLOY / "overlays" / "custom" / "kustomization.yaml").read_text()
    (more,) = re.findall(
        r"^# cert-manager under another namespace\n(.*?)^```",
        GUIDE.read_text(),
        re.DOTALL | re.MULTILINE,
    )
    kustomization = custom.replace(
        "  - ../../components/monitoring\n", "  - ../../components/cert-manager\n"
    )
    kustomization += more
    (folder / "kustomization.yaml").write_text(kustomization.replace("../../", "../deploy/"))
    shutil.copy(DEPLOY / "overlays" / "custom" / "policy.yaml", folder)
    text = yaml.safe_dump_all(rendered(folder))
    assert "inject-ca-from: ray-security/raywarden-serving" in text
    assert "raywarden.ray-security.svc" in text and "raywarden-enroll.ray-security.svc" in text
    assert "raywarden-system" not in text
