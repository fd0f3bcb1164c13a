"""AdmissionReviews and manifests captured elsewhere, for whoever has some: each gets a valid answer.

`RAYWARDEN_REVIEWS` names a folder of AdmissionReviews (JSON; without it the examples are taken),
`RAYWARDEN_MANIFESTS` one of manifests, `KUBERAY_CRDS` one with KubeRay's CustomResourceDefinitions, against which
mutated objects are validated with unknown fields refused. Pods are validated against Kubernetes' own schema.
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
from tests.support.injection import TLS, env, lost
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
    """The schema of a KubeRay kind (v1), with every object closed to fields it does not name."""
    if _CRDS is None:
        pytest.skip(
            "KUBERAY_CRDS is not set: mutated RayClusters are not validated against KubeRay's schema"
        )
    file = Path(_CRDS) / f"ray.io_{kind.lower()}s.yaml"
    definition = yaml.load(
        file.read_text(), Loader=yaml.CSafeLoader
    )  # safe loader, our own schemas
    versions = definition["spec"]["versions"]
    schema = next(
        version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1"
    )
    close(schema)
    # The API server knows ObjectMeta itself.
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def close(schema: Any) -> None:
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
        # What has a default the API server fills in before it asks whether it is there.
        names = schema.get("required")
        if isinstance(names, list):
            schema["required"] = [
                name for name in names if "default" not in schema["properties"].get(name, {})
            ]
        for part in schema.values():
            close(part)
    elif isinstance(schema, list):
        for part in schema:
            close(part)


@cache
def parsed(file: Path) -> AdmissionRequest:
    return parse(file.read_bytes())


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.stem)
def test_a_review_is_answered_and_its_patch_is_sound(file: Path) -> None:
    request, asked = parsed(file), factory.reviewer()
    assert request.object is not None
    original = copy.deepcopy(request.object)
    response = orjson.loads(asked.mutate(request).response.encode())["response"]
    assert (response["uid"], response["allowed"]) == (request.uid, True)
    mutated = asked.mutated(request)
    after = jsonpatch.apply_patch(original, mutated.operations)
    assert not list(lost(original, after))
    again = asked.mutated(request.model_copy(update={"object": after}))
    assert again.operations == []
    verdict = orjson.loads(
        asked.validate(request.model_copy(update={"object": after})).response.encode()
    )
    assert verdict["response"]["uid"] == request.uid


@pytest.mark.parametrize(
    "file", [f for f in _FILES if parsed(f).kind.kind == "Pod"], ids=lambda file: file.stem
)
@pytest.mark.parametrize("managed", [False, True])
def test_a_pod_is_valid_to_kubernetes_afterwards(file: Path, managed: bool) -> None:
    after = mutated_pod(file, managed)
    kubernetes_validate.validate(after, "1.37", strict=True)


def of_a_cluster(file: Path) -> bool:
    """A pod of a Ray cluster that KubeRay did not give TLS of its own."""
    pod = parsed(file).object if parsed(file).kind.kind == "Pod" else None
    return (
        pod is not None
        and "ray.io/cluster" in pod["metadata"]["labels"]
        and "RAY_USE_TLS" not in str(pod["spec"])
    )


@pytest.mark.parametrize("file", [f for f in _FILES if of_a_cluster(f)], ids=lambda file: file.stem)
def test_a_pod_of_a_managed_cluster_speaks_tls_in_every_ray_container(file: Path) -> None:
    after = mutated_pod(file, managed=True)
    assert after["spec"]["initContainers"][0]["name"] == "raywarden-enroll"
    for one in (*after["spec"]["containers"], *after["spec"]["initContainers"][1:]):
        if one["name"] in ("ray-head", "ray-worker", "autoscaler", "wait-gcs-ready"):
            assert env(one).items() >= TLS.items()
            assert {"name": "raywarden-tls", "mountPath": "/etc/ray/tls", "readOnly": True} in one[
                "volumeMounts"
            ]


def mutated_pod(file: Path, managed: bool) -> Any:
    """The pod after `/mutate`; `managed`: with the label KubeRay copies from the template of a cluster in our care."""
    request = parsed(file)
    document = copy.deepcopy(request.object)
    assert document is not None
    if managed:
        document["metadata"]["labels"]["raywarden.io/tls"] = "managed"
    return factory.reviewer().mutated(request.model_copy(update={"object": document})).document


@pytest.mark.parametrize(
    "file", [f for f in _FILES if parsed(f).kind.group == "ray.io"], ids=lambda file: file.stem
)
def test_a_ray_object_is_valid_to_kuberay_afterwards(file: Path) -> None:
    schema = crd(parsed(file).kind.kind)
    jsonschema.validate(factory.reviewer().mutated(parsed(file)).document, schema)


def without_nulls(value: Any) -> Any:
    """As the API server takes it: a null member is one that is not there."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def manifests() -> list[Manifest]:
    found = list(read(_MANIFESTS)) if _MANIFESTS else []
    assert not any(isinstance(one, UnreadableManifest) for one in found)
    return [one for one in found if isinstance(one, Manifest)]


@pytest.mark.skipif(
    _MANIFESTS is None,
    reason="RAYWARDEN_MANIFESTS is not set: no manifests but our own are reviewed",
)
def test_manifests_are_reviewed_and_denials_name_rules() -> None:
    known = {rule.id for rule in RULES}
    for manifest in manifests():
        one = review_manifest(factory.reviewer(), manifest, "default")
        if one:
            outcomes = (one.outcome, *one.derived)
            assert all(
                violation.rule in known for outcome in outcomes for violation in outcome.denied
            )
            if _CRDS and one.outcome.kind.startswith("Ray"):
                jsonschema.validate(without_nulls(one.outcome.document), crd(one.outcome.kind))
            for outcome in one.derived:
                if outcome.kind == "Pod" and one.allowed:
                    document = copy.deepcopy(outcome.document)
                    # A dry run knows no uid for the owner, and Kubernetes wants one.
                    document["metadata"].pop("ownerReferences", None)
                    kubernetes_validate.validate(document, "1.37")
