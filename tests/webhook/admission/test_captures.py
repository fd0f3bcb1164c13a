"""Captured AdmissionReviews and manifests get valid answers; point these variables at your own.

`RAYWARDEN_REVIEWS`: a folder of AdmissionReviews (JSON); without it the examples are used.
`RAYWARDEN_MANIFESTS`: a folder of manifests. `KUBERAY_CRDS`: a folder of KubeRay's
CustomResourceDefinitions, against which mutated objects are validated, without unknown fields.
Pods are validated against the schema of Kubernetes.
"""

import copy
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonpatch
import jsonschema
import kubernetes_validate
import orjson
import pytest
import yaml

from policies.registry import RULES
from tests.support import factory
from tests.support.injection import TLS, env, lost_values
from tests.support.paths import EXAMPLES
from webhook.admission.wire import AdmissionRequest, parse
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest, UnreadableManifest, read

_REVIEWS = Path(os.environ.get("RAYWARDEN_REVIEWS", EXAMPLES))
_MANIFESTS = os.environ.get("RAYWARDEN_MANIFESTS")
_CRDS = os.environ.get("KUBERAY_CRDS")
_FILES = sorted(_REVIEWS.glob("*.json"))


@cache
def crd(kind: str) -> Any:
    """The schema of a KubeRay kind (v1), changed so that it refuses unknown fields."""
    if _CRDS is None:
        pytest.skip("KUBERAY_CRDS is not set: there is no schema for mutated RayClusters")
    file = Path(_CRDS) / f"ray.io_{kind.lower()}s.yaml"
    # The safe loader is enough: the file is one of our own schemas.
    definition = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    versions = definition["spec"]["versions"]
    schema = next(
        version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1"
    )
    refuse_unknown_fields(schema)
    # CustomResourceDefinitions leave out ObjectMeta, which the API server defines.
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def refuse_unknown_fields(schema: Any) -> None:
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
        # The API server fills in defaults before it checks for required fields.
        names = schema.get("required")
        if isinstance(names, list):
            schema["required"] = [
                name for name in names if "default" not in schema["properties"].get(name, {})
            ]
        for part in schema.values():
            refuse_unknown_fields(part)
    elif isinstance(schema, list):
        for part in schema:
            refuse_unknown_fields(part)


@cache
def parsed(file: Path) -> AdmissionRequest:
    return parse(file.read_bytes())


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.stem)
def test_a_review_is_answered_and_its_patch_is_valid(file: Path) -> None:
    request, reviewer = parsed(file), factory.reviewer()
    assert request.object is not None
    original = copy.deepcopy(request.object)
    response = orjson.loads(reviewer.mutate(request).response.encode())["response"]
    assert (response["uid"], response["allowed"]) == (request.uid, True)
    mutated = reviewer.mutated(request)
    after = jsonpatch.apply_patch(original, mutated.operations)
    assert not list(lost_values(original, after))
    again = reviewer.mutated(request.model_copy(update={"object": after}))
    assert again.operations == []
    verdict = orjson.loads(
        reviewer.validate(request.model_copy(update={"object": after})).response.encode()
    )
    assert verdict["response"]["uid"] == request.uid


@pytest.mark.parametrize(
    "file", [file for file in _FILES if parsed(file).kind.kind == "Pod"], ids=lambda file: file.stem
)
@pytest.mark.parametrize("managed", [False, True])
def test_a_mutated_pod_is_valid_for_kubernetes(file: Path, managed: bool) -> None:
    after = mutated_pod(file, managed)
    kubernetes_validate.validate(after, "1.37", strict=True)


def is_managed_pod(file: Path) -> bool:
    """Whether the review is for a pod of a Ray cluster that did not set up TLS of its own."""
    request = parsed(file)
    if request.kind.kind != "Pod" or request.object is None:
        return False
    pod = request.object
    has_own_tls = "RAY_USE_TLS" in str(pod["spec"])
    return "ray.io/cluster" in pod["metadata"]["labels"] and not has_own_tls


@pytest.mark.parametrize(
    "file", [file for file in _FILES if is_managed_pod(file)], ids=lambda file: file.stem
)
def test_every_ray_container_of_a_managed_cluster_uses_tls(file: Path) -> None:
    after = mutated_pod(file, managed=True)
    assert after["spec"]["initContainers"][0]["name"] == "raywarden-enroll"
    mount = {"name": "raywarden-tls", "mountPath": "/etc/ray/tls", "readOnly": True}
    for container in (*after["spec"]["containers"], *after["spec"]["initContainers"][1:]):
        if container["name"] in ("ray-head", "ray-worker", "autoscaler", "wait-gcs-ready"):
            assert env(container).items() >= TLS.items()
            assert mount in container["volumeMounts"]


def mutated_pod(file: Path, managed: bool) -> Any:
    """The pod after `/mutate`.

    `managed` adds the label that KubeRay copies from the template of a cluster with managed TLS.
    """
    request = parsed(file)
    document = copy.deepcopy(request.object)
    assert document is not None
    if managed:
        document["metadata"]["labels"]["raywarden.io/tls"] = "managed"
    return factory.reviewer().mutated(request.model_copy(update={"object": document})).document


@pytest.mark.parametrize(
    "file",
    [file for file in _FILES if parsed(file).kind.group == "ray.io"],
    ids=lambda file: file.stem,
)
def test_a_mutated_ray_object_is_valid_for_kuberay(file: Path) -> None:
    schema = crd(parsed(file).kind.kind)
    jsonschema.validate(factory.reviewer().mutated(parsed(file)).document, schema)


def without_nulls(value: Any) -> Any:
    """The value as the API server reads it: a member that is null is treated as missing."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def manifests() -> list[Manifest]:
    documents = list(read(_MANIFESTS)) if _MANIFESTS else []
    assert not any(isinstance(document, UnreadableManifest) for document in documents)
    return [document for document in documents if isinstance(document, Manifest)]


@pytest.mark.skipif(
    _MANIFESTS is None,
    reason="RAYWARDEN_MANIFESTS is not set: only our own manifests are reviewed",
)
def test_manifests_are_reviewed_and_denials_name_rules() -> None:
    rule_ids = {rule.id for rule in RULES}
    for manifest in manifests():
        result = review_manifest(factory.reviewer(), manifest, "default")
        if result is None:
            continue
        for outcome in (result.outcome, *result.derived):
            assert {violation.rule for violation in outcome.denied} <= rule_ids
        if _CRDS and result.outcome.kind.startswith("Ray"):
            document = without_nulls(result.outcome.document)
            jsonschema.validate(document, crd(result.outcome.kind))
        for outcome in result.derived:
            if outcome.kind == "Pod" and result.allowed:
                pod = copy.deepcopy(outcome.document)
                # A dry run does not know the owner's uid, which Kubernetes requires.
                pod["metadata"].pop("ownerReferences", None)
                kubernetes_validate.validate(pod, "1.37")
