"""Every kind of KubeRay as an author creates and updates it: denials, warnings and dry runs.

And a mutating webhook that is called after RayWarden.
"""

import json

import httpx
import pytest

from policies.documents.draft import Draft
from policies.documents.pointer import ROOT
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, define, until
from tests.apiserver.kuberay_operator import OPERATOR
from tests.apiserver.other_webhook import OtherWebhook
from tests.apiserver.pods import cluster_of, init_container, make_cluster, marked_worker, place_of
from tests.apiserver.replica import Replica
from tests.support import factory
from tests.support.factory import Object, changed

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_PLURALS = {
    "RayCluster": "rayclusters",
    "RayJob": "rayjobs",
    "RayService": "rayservices",
    "RayCronJob": "raycronjobs",
}
_HEADS = {
    "RayCluster": "/spec",
    "RayJob": "/spec/rayClusterSpec",
    "RayService": "/spec/rayClusterConfig",
    "RayCronJob": "/spec/jobTemplate/rayClusterSpec",
}
KINDS = pytest.mark.parametrize("kind", _PLURALS)


@pytest.fixture(scope="module")
def namespace(
    control_plane: ControlPlane, installation: Installation, pair: tuple[Replica, Replica]
) -> str:
    for kind in _PLURALS:
        define(control_plane, "ray.io", "v1", kind)
    return installation.team()


def path_of(kind: str, namespace: str) -> str:
    return f"/apis/ray.io/v1/namespaces/{namespace}/{_PLURALS[kind]}"


def document_of(kind: str, name: str, change: Object | None = None) -> Object:
    """A minimal valid object of a kind, with a change of its RayClusterSpec."""
    below = {f"{_HEADS[kind]}{place}": value for place, value in (change or {}).items()}
    return changed(factory.MINIMAL[kind.lower()](), {"/metadata": {"name": name}, **below})


@KINDS
def test_a_valid_object_is_stored_with_warnings(
    control_plane: ControlPlane, namespace: str, kind: str
) -> None:
    response = control_plane.post(
        path_of(kind, namespace),
        document_of(kind, "good", {"/headGroupSpec/template/spec/serviceAccountName": "default"}),
    )
    assert response.is_success, response.text
    assert any("dedicated-service-account" in warning for warning in warnings(response))
    injected = "raywarden-enroll" in response.text
    assert injected is (kind == "RayCluster"), (
        "KubeRay creates RayClusters from the other kinds; only those are injected"
    )


@KINDS
def test_a_violation_is_denied_with_its_place_and_remediation(
    control_plane: ControlPlane, namespace: str, kind: str
) -> None:
    bad = {
        "/headGroupSpec/serviceType": "LoadBalancer",
        "/headGroupSpec/template/spec/hostNetwork": True,
    }
    response = control_plane.post(path_of(kind, namespace), document_of(kind, "bad", bad))
    assert response.status_code == 403
    message = response.json()["message"]
    assert 'raywarden.io" denied the request: ' in message
    for rule, place in (
        ("no-public-head-service", "/serviceType"),
        ("no-host-access", "/template/spec/hostNetwork"),
    ):
        assert f"{rule}: " in message and f"(at {_HEADS[kind]}/headGroupSpec{place})" in message
    assert message.count("Fix: ") == 2, "not all violations are reported"
    assert control_plane.get(f"{path_of(kind, namespace)}/bad") == {}


@KINDS
def test_a_dry_run_has_the_same_verdict_and_stores_nothing(
    control_plane: ControlPlane, namespace: str, kind: str
) -> None:
    path = f"{path_of(kind, namespace)}?dryRun=All"
    assert control_plane.post(path, document_of(kind, "dry")).is_success
    public = document_of(kind, "dry", {"/headGroupSpec/serviceType": "NodePort"})
    assert control_plane.post(path, public).status_code == 403
    assert control_plane.get(f"{path_of(kind, namespace)}/dry") == {}


@KINDS
def test_an_update_is_denied_only_for_new_violations(
    control_plane: ControlPlane, installation: Installation, namespace: str, kind: str
) -> None:
    """Violations that were stored before RayWarden was installed become warnings."""
    namespace = installation.team(unseen="true")
    control_plane.make(
        path_of(kind, namespace),
        document_of(kind, "old", {"/headGroupSpec/serviceType": "NodePort"}),
    )
    control_plane.patch(
        f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"unseen": None}}}
    )
    place = f"{path_of(kind, namespace)}/old"
    worse = pointed(f"{_HEADS[kind]}/headGroupSpec/template/spec/hostNetwork", True)
    message = until(lambda: refused(control_plane.change(f"{place}?dryRun=All", worse)))
    assert "no-host-access" in message and "no-public-head-service" not in message
    response = control_plane.change(place, {"metadata": {"labels": {"team": "vision"}}})
    assert response.is_success
    assert any(warning.startswith("no-public-head-service") for warning in warnings(response))


def pointed(pointer: str, value: object) -> Object:
    """A merge patch that sets the value at a pointer; the path must not lead through lists."""
    document: object = value
    for name in reversed(pointer.split("/")[1:]):
        document = {name: document}
    assert isinstance(document, dict)
    return document


def test_older_versions_of_a_kind_are_converted_and_judged(
    control_plane: ControlPlane, namespace: str
) -> None:
    """A `v1alpha1` object is judged like any other (`matchPolicy: Equivalent`)."""
    definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rayclusters.ray.io"
    (served,) = control_plane.get(definition)["spec"]["versions"]
    older = {**served, "name": "v1alpha1", "storage": False}
    control_plane.patch(definition, {"spec": {"versions": [served, older]}})
    path = f"/apis/ray.io/v1alpha1/namespaces/{namespace}/rayclusters"
    try:
        until(lambda: control_plane.get(path))
        good = {**document_of("RayCluster", "older"), "apiVersion": "ray.io/v1alpha1"}
        bad = changed(
            good, {"/spec/headGroupSpec/serviceType": "NodePort", "/metadata/name": "bad"}
        )
        # The API server learns of new versions and of registrations with different delays.
        until(
            lambda: (
                "no-public-head-service" in refused(control_plane.post(f"{path}?dryRun=All", bad))
            )
        )
        stored = control_plane.make(path, good)
        assert (
            stored["apiVersion"] == "ray.io/v1alpha1"
            and stored["metadata"]["labels"]["raywarden.io/tls"] == "managed"
        )
    finally:
        control_plane.patch(definition, {"spec": {"versions": [served]}})


def refused(response: httpx.Response) -> str:
    """The message of a denial; empty if the request was not denied."""
    return str(response.json()["message"]) if response.status_code == 403 else ""


def warnings(response: httpx.Response) -> list[str]:
    """The Warning headers (RFC 7234), as kubectl shows them."""
    return [value.split('"', 1)[1].rstrip('"') for value in response.headers.get_list("warning")]


def add_sidecar(draft: Draft) -> None:
    """Adds a container with Ray's image."""
    containers = draft.document["spec"]["containers"]
    if not any(container["name"] == "sidecar" for container in containers):
        sidecar = {"name": "sidecar", "image": containers[0]["image"]}
        draft.insert(ROOT / "spec", "containers", len(containers), [sidecar])


# Called after RayWarden, because of its name.
SIDECARS = OtherWebhook("sidecars", add_sidecar)


def test_a_container_that_a_later_webhook_adds_is_mutated_too(
    control_plane: ControlPlane, installation: Installation, namespace: str
) -> None:
    pod = marked_worker(make_cluster(control_plane, namespace))
    path = f"/api/v1/namespaces/{namespace}/pods"
    with SIDECARS.running(control_plane):
        stored = until(lambda: with_sidecar(control_plane.post(path, pod, OPERATOR)))
    ray, sidecar = stored["spec"]["containers"]
    for container in (ray, sidecar):
        tls = [entry["value"] for entry in container["env"] if entry["name"] == "RAY_USE_TLS"]
        assert tls == ["1"]
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert mounts.count("/etc/ray/tls") == 1
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert stored["spec"]["initContainers"][0] == init_container(stored), "not once and first"
    hint = json.loads(stored["metadata"]["annotations"]["raywarden.io/injected"])
    assert "ray-tls" in hint["mutations"]
    assert control_plane.get(place_of(stored))["spec"] == stored["spec"]


def with_sidecar(response: httpx.Response) -> Object:
    """The stored pod; empty if the API server has not yet called the other webhook."""
    assert response.is_success, response.text
    pod: Object = response.json()
    return pod if len(pod["spec"]["containers"]) == 2 else {}


def test_kubectl_applies_a_cluster_twice_without_a_change(
    control_plane: ControlPlane, namespace: str
) -> None:
    """The injected parts do not make the second apply a change."""
    document = {**cluster_of("applied"), "metadata": {"name": "applied", "namespace": namespace}}
    place = f"{path_of('RayCluster', namespace)}/applied"
    control_plane.apply(document)
    first = control_plane.get(place)
    control_plane.apply(document)
    assert _meant(control_plane.get(place)) == _meant(first)
    assert "raywarden-enroll" in json.dumps(first["spec"])


def _meant(document: Object) -> Object:
    """The object without what Kubernetes 1.30 changes when nothing else has changed.

    That is a time in `managedFields`, and so the `resourceVersion`; the `generation` stays.
    """
    unimportant = ("managedFields", "resourceVersion")
    metadata = document["metadata"]
    kept = {name: metadata[name] for name in metadata if name not in unimportant}
    return {**document, "metadata": kept}
