"""The manifests to start from: nothing to refuse or to warn about, and valid to Kubernetes and to KubeRay."""

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

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
_KINDS = {
    *(
        "raycluster",
        "rayjob",
        "rayservice",
        "raycronjob",
        "deployment",
        "service",
        "ingress",
        "httproute",
    ),
    *("networkpolicy", "namespace"),
}


def manifests(source: Path) -> list[Manifest]:
    found = list(read(str(source)))
    assert all(isinstance(one, Manifest) for one in found), found
    return [one for one in found if isinstance(one, Manifest)]


def objects(of_kuberay: bool) -> pytest.MarkDecorator:
    found = [
        one
        for one in manifests(_FOLDER)
        if (one.document["apiVersion"] == "ray.io/v1") is of_kuberay
    ]
    return pytest.mark.parametrize(
        "document", [one.document for one in found], ids=map(str, map(_title, found))
    )


def _title(one: Manifest) -> str:
    return f"{Path(one.source).stem}-{one.document['kind']}-{one.number}"


def test_there_is_one_for_each_kind() -> None:
    assert {file.stem for file in _FILES} == _KINDS
    assert all(
        any(one.document["kind"].lower() == file.stem for one in manifests(file)) for file in _FILES
    )


@pytest.mark.parametrize("source", [*_FILES, _FOLDER], ids=lambda source: source.stem)
def test_nothing_is_refused_or_warned_about(source: Path) -> None:
    found = manifests(source)
    policy = Policy.parse({"profiles": {"enforce": "restricted"}})
    around = ManifestNamespaces(one.document for one in found)
    reviewer = Reviewer(lambda: policy, lambda: factory.SIGNER, around, lambda: factory.TODAY)
    examined = [
        one for one in (review_manifest(reviewer, manifest, "default") for manifest in found) if one
    ]
    outcomes = [outcome for one in examined for outcome in (one.outcome, *one.derived)]
    assert outcomes
    assert [
        violation for outcome in outcomes for violation in (*outcome.denied, *outcome.warned)
    ] == []
    assert [note for outcome in outcomes for note in outcome.notes] == []


@objects(of_kuberay=False)
def test_kubernetes_takes_them(document: Any) -> None:
    if document["apiVersion"].startswith("gateway."):
        pytest.skip("the Gateway API is not Kubernetes' own")
    kubernetes_validate.validate(document, "1.37", strict=True)


@objects(of_kuberay=True)
def test_kuberay_takes_them(document: Any) -> None:
    jsonschema.validate(document, crd(document["kind"]))
