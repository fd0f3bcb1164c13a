"""The hardened examples violate no rule, and Kubernetes and KubeRay accept them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from policies.config import Policy
from tests.support import factory
from tests.support.paths import EXAMPLES
from tests.webhook.admission.test_captures import crd
from webhook.admission.reviewer import Reviewer
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest, read
from webhook.manifests.state import ManifestNamespaces

_FOLDER = EXAMPLES / "hardened"
_FILES = sorted(_FOLDER.glob("*.yaml"))
_CERT_MANAGER = EXAMPLES / "cert-manager"
_KINDS = {
    "raycluster",
    "rayjob",
    "rayservice",
    "raycronjob",
    "deployment",
    "service",
    "ingress",
    "httproute",
    "networkpolicy",
    "namespace",
}


def manifests(source: Path) -> list[Manifest]:
    manifests = []
    for result in read(str(source)):
        assert isinstance(result, Manifest), result
        manifests.append(result)
    return manifests


def objects(of_kuberay: bool) -> pytest.MarkDecorator:
    selected = []
    for manifest in manifests(_FOLDER):
        if (manifest.document["apiVersion"] == "ray.io/v1") is of_kuberay:
            selected.append(pytest.param(manifest.document, id=_title(manifest)))
    return pytest.mark.parametrize("document", selected)


def _title(manifest: Manifest) -> str:
    return f"{Path(manifest.source).stem}-{manifest.document['kind']}-{manifest.number}"


def test_every_kind_has_an_example() -> None:
    assert {file.stem for file in _FILES} == _KINDS
    for file in _FILES:
        assert file.stem in {manifest.document["kind"].lower() for manifest in manifests(file)}


@pytest.mark.parametrize("source", [*_FILES, _FOLDER], ids=lambda source: source.stem)
def test_the_hardened_examples_have_no_violation(source: Path) -> None:
    assert_no_violation(manifests(source))


def test_the_examples_let_their_clients_in_under_deny_ingress() -> None:
    assert_no_violation(manifests(_FOLDER), networkIsolation={"mode": "deny-ingress"})


def test_the_example_of_cert_manager_has_no_violation_with_its_policy() -> None:
    policy_file = yaml.safe_load((_CERT_MANAGER / "policy.yaml").read_text())
    assert_no_violation(manifests(_CERT_MANAGER / "ray.yaml"), **policy_file)


def test_kubernetes_accepts_the_example_of_cert_manager() -> None:
    for example in manifests(_CERT_MANAGER / "ray.yaml"):
        if not example.document["apiVersion"].startswith("cert-manager.io/"):
            kubernetes_validate.validate(example.document, "1.37", strict=True)


def assert_no_violation(examples: Sequence[Manifest], **policy_file: Any) -> None:
    policy = Policy.parse({"profiles": {"enforce": "restricted"}, **policy_file})
    namespaces = ManifestNamespaces(example.document for example in examples)
    reviewer = Reviewer(lambda: policy, lambda: factory.SIGNER, namespaces, lambda: factory.TODAY)
    outcomes = []
    for example in examples:
        reviewed = review_manifest(reviewer, example, "default")
        if reviewed:
            outcomes += [reviewed.outcome, *reviewed.derived]
    assert outcomes
    for outcome in outcomes:
        assert (outcome.denied, outcome.warned, outcome.notes) == ((), (), ())


@objects(of_kuberay=False)
def test_kubernetes_accepts_them(document: Any) -> None:
    if document["apiVersion"].startswith("gateway."):
        pytest.skip("the Gateway API is not part of Kubernetes")
    kubernetes_validate.validate(document, "1.37", strict=True)


@objects(of_kuberay=True)
def test_kuberay_accepts_them(document: Any) -> None:
    jsonschema.validate(document, crd(document["kind"]))
