"""What a real API server says of fields, against the field tables of `kuberay-accepts`.

`KUBERAY_CRDS` is a folder of the CustomResourceDefinitions of the newest KubeRay that RayWarden
knows. `RAYWARDEN_MANIFESTS` is a folder of further manifests.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from policies.kuberay.as_written import AsWritten
from policies.ray.operator import KubeRayOperator
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import until
from tests.support import factory
from tests.tools.kuberay_fields import definitions
from webhook.manifests.kuberay_schemas import load_schemas
from webhook.manifests.read import Manifest, read

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_CRDS, _MANIFESTS = os.environ.get("KUBERAY_CRDS"), os.environ.get("RAYWARDEN_MANIFESTS")
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HEAD = "/spec/headGroupSpec/template/spec"
RAY = f"{HEAD}/containers/0"
WORKERS = "/spec/workerGroupSpecs/0"
# Each is made to the smallest RayCluster.
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "unknown-field": {"/spec/rayversion": "2.60.0"},
    "unknown-in-template": {f"{RAY}/imagePullPolcy": "Always"},
    "unknown-null": {"/spec/headGroupSpec/template/metadata": {"creationTimestamp": None}},
    "unknown-at-top": {"/sepc": {}},
    "unknown-in-metadata": {"/metadata/lables": {"a": "b"}},
    "misplaced": {"/spec/headGroupSpec/template/containers": []},
    "known-null": {f"{RAY}/securityContext": {"runAsUser": None}},
    "default-null": {f"{RAY}/ports": [{"containerPort": 1, "protocol": None}]},
    "required-null": {f"{RAY}/env": [{"name": None, "value": "a"}]},
    "required-missing": {f"{WORKERS}/groupName": None},
    "required-empty": {f"{HEAD}/containers": []},
    "null-in-list": {f"{RAY}/args": ["a", None]},
    "null-in-map": {f"{HEAD}/nodeSelector": {"a": None}},
    "number-for-string": {"/spec/rayVersion": 2.6},
    "whole-number-for-string": {f"{RAY}/env": [{"name": "A", "value": 1}]},
    "boolean-for-string": {f"{RAY}/env": [{"name": "A", "value": True}]},
    "number-in-labels": {"/metadata/labels": {"a": 1}},
    "number-in-selector": {f"{HEAD}/nodeSelector": {"a": 8}},
    "number-in-start-params": {"/spec/headGroupSpec/rayStartParams": {"num-cpus": 0}},
    "string-for-number": {f"{WORKERS}/replicas": "1"},
    "string-for-boolean": {"/spec/enableInTreeAutoscaling": "true"},
    "fraction-for-whole": {f"{WORKERS}/replicas": 1.5},
    "whole-fraction": {f"{WORKERS}/replicas": 2.0},
    "large": {f"{WORKERS}/maxReplicas": 2**31},
    "largest": {f"{WORKERS}/maxReplicas": 2**31 - 1},
    "negative": {f"{WORKERS}/minReplicas": -1},
    "map-for-list": {f"{RAY}/args": {"a": "b"}},
    "list-for-map": {"/spec/headGroupSpec/rayStartParams": ["a"]},
    "string-for-map": {f"{HEAD}/securityContext": "restricted"},
    "port-as-text": {f"{RAY}/ports": [{"containerPort": "8265"}]},
    "probe-port-as-text": {f"{RAY}/livenessProbe": {"tcpSocket": {"port": "gcs"}}},
    "probe-port-as-number": {f"{RAY}/livenessProbe": {"tcpSocket": {"port": 6379}}},
    "quantity-as-number": {f"{RAY}/resources": {"limits": {"cpu": 2}}},
    "quantity-as-fraction": {f"{RAY}/resources": {"limits": {"cpu": 0.5}}},
    "quantity-as-text": {f"{RAY}/resources": {"limits": {"cpu": "500m", "memory": "8Gi"}}},
    "no-quantity": {f"{RAY}/resources": {"limits": {"memory": "8GB"}}},
    "quantity-with-space": {f"{RAY}/resources": {"limits": {"memory": "8 Gi"}}},
    "other-choice": {"/spec/managedBy": "me"},
    "known-choice": {"/spec/managedBy": "ray.io/kuberay-operator"},
    "other-enum": {"/spec/authOptions": {"mode": "tokens"}},
    "same-variable": {f"{RAY}/env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
    "same-port": {f"{RAY}/ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]},
    "other-protocol": {
        f"{RAY}/ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]
    },
    "same-mount": {f"{RAY}/volumeMounts": [{"name": "a", "mountPath": "/a"}] * 2},
    "same-container": {f"{HEAD}/containers": [{"name": "a"}, {"name": "a"}]},
    "owner-without-uid": {
        "/metadata/ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a"}]
    },
}


@pytest.fixture(scope="module")
def kuberay(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The API server with KubeRay's definitions; at the end it has those of before."""
    if not _CRDS:
        pytest.skip("set KUBERAY_CRDS to a folder of KubeRay's CustomResourceDefinitions")
    # The API server needs seconds for a definition of more than a megabyte.
    usual, control_plane.admin.timeout = control_plane.admin.timeout, httpx.Timeout(120)
    own = {document["metadata"]["name"]: document for document in definitions(Path(_CRDS))}
    before = {name: control_plane.get(f"{_DEFINITIONS}/{name}") for name in own}
    _replace(control_plane, own)
    yield control_plane
    _replace(control_plane, {name: document for name, document in before.items() if document}, own)
    control_plane.admin.timeout = usual


def _replace(
    server: ControlPlane, wanted: dict[str, Any], others: dict[str, Any] | None = None
) -> None:
    """Replace definitions by `wanted` ones, and delete `others`."""
    for name in {**wanted, **(others or {})}:
        server.delete(f"{_DEFINITIONS}/{name}")
        until(partial(_is_gone, server, f"{_DEFINITIONS}/{name}"), 120)
    for name, document in wanted.items():
        server.make(_DEFINITIONS, {"metadata": {"name": name}, "spec": document["spec"]})
        until(partial(_is_served, server, f"/apis/ray.io/v1/{name.partition('.')[0]}"), 120)


def _is_gone(server: ControlPlane, path: str) -> bool:
    return not server.get(path)


def _is_served(server: ControlPlane, path: str) -> bool:
    return server.admin.get(path).is_success


def refused_by(server: ControlPlane, document: dict[str, Any]) -> str:
    """What the API server says to a strict client; empty if it takes the object."""
    metadata = {**document["metadata"], "namespace": "default"}
    path = f"/apis/{document['apiVersion']}/namespaces/default/{document['kind'].lower()}s"
    response = server.post(
        f"{path}?dryRun=All&fieldValidation=Strict", {**document, "metadata": metadata}
    )
    return "" if response.is_success else response.json()["message"]


def refused_here(document: dict[str, Any]) -> list[str]:
    """The messages of `kuberay-accepts` about fields."""
    found = AsWritten(document, load_schemas()).refusals(KubeRayOperator())
    return [refusal.message for refusal in found]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_field_is_refused_as_by_the_api_server(
    kuberay: ControlPlane, change: dict[str, Any]
) -> None:
    document = factory.changed(factory.ray_cluster(), change)
    ours, theirs = refused_here(document), refused_by(kuberay, document)
    if change == CHANGES["large"] and ours and not theirs:
        # KubeRay cannot read such an object, so it must not be stored.
        pytest.skip(f"Kubernetes {kuberay.version} does not check the size of numbers")
    assert bool(ours) == bool(theirs)


def test_manifests_are_refused_as_by_the_api_server(kuberay: ControlPlane) -> None:
    if not _MANIFESTS:
        pytest.skip("set RAYWARDEN_MANIFESTS to a folder of manifests")
    differences = []
    for manifest in read(_MANIFESTS):
        if not isinstance(manifest, Manifest) or "ray.io/" not in manifest.document["apiVersion"]:
            continue
        theirs, ours = refused_by(kuberay, manifest.document), refused_here(manifest.document)
        # A template fills these in before anything is sent.
        has_placeholder = "$" in str(manifest.document)
        if bool(theirs) != bool(ours) and not has_placeholder:
            differences.append((str(manifest), theirs, ours))
    assert differences == []
