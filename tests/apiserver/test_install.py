"""`kubectl apply -k deploy/base`, and again, and away; what the server then asks for, by the audit log."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.apiserver.control_plane import AUDIT_LOG, ControlPlane
from tests.apiserver.installation import Installation, define
from tests.apiserver.permissions import REGISTRATION
from tests.apiserver.pods import enroll, make_cluster, make_pods
from tests.apiserver.replica import Replica
from tests.support.deployed import only, overlays, rendered
from tests.support.factory import Object
from webhook.kube.permissions import permissions

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_FOREIGN = ("cert-manager.io/", "monitoring.coreos.com/")


@pytest.fixture(scope="module")
def installation(control_plane: ControlPlane) -> Iterator[Installation]:
    """Where all that may be watched is there to be watched."""
    define(control_plane, "scheduling.sigs.k8s.io", "v1beta1", "ElasticQuota")
    define(control_plane, "scheduling.sigs.k8s.io", "v1beta1", "ElasticQuotaTree")
    define(control_plane, "scheduling.x-k8s.io", "v1alpha1", "ElasticQuota")
    made = Installation.make(control_plane)
    yield made
    made.unregister()


@pytest.mark.parametrize("folder", overlays(), ids=lambda folder: folder.name)
def test_the_api_server_takes_every_object(control_plane: ControlPlane, folder: Path) -> None:
    """Under another name, so that no other test sees it; what others define is left out."""
    text = yaml.safe_dump_all(rendered(folder)).replace("raywarden", f"{folder.name}-raywarden")
    objects = [
        one for one in yaml.safe_load_all(text) if not one["apiVersion"].startswith(_FOREIGN)
    ]
    try:
        control_plane.apply(*objects)
        assert_pods_are_let_in(
            control_plane, only(objects, "Deployment", f"{folder.name}-raywarden")
        )
    finally:
        control_plane.take_away(*objects)


def assert_pods_are_let_in(control_plane: ControlPlane, deployment: Object) -> None:
    """By the restricted Pod Security Standard of the namespace, with the priority and the account they name."""
    template, namespace = deployment["spec"]["template"], deployment["metadata"]["namespace"]
    pod = {
        "metadata": {"generateName": "raywarden-", "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    }
    made = control_plane.make(f"/api/v1/namespaces/{namespace}/pods", pod)
    assert made["spec"]["priority"] == 1000000000
    (token,) = [one for one in made["spec"]["volumes"] if one["name"].startswith("kube-api-access")]
    assert token["projected"]


def test_applied_again_it_leaves_what_the_server_has_written(
    control_plane: ControlPlane, installation: Installation, pair: tuple[Replica, Replica]
) -> None:
    before, bundles = registered(installation), installation.bundles()
    installation.register(*pair)
    assert (registered(installation), installation.bundles()) == (before, bundles)


def registered(installation: Installation) -> list[str]:
    paths = [
        f"/apis/{REGISTRATION}/v1/{kind}webhookconfigurations/raywarden"
        for kind in ("mutating", "validating")
    ]
    return [installation.control_plane.get(path)["metadata"]["resourceVersion"] for path in paths]


def test_every_right_is_used_and_no_other_is_asked_for(
    control_plane: ControlPlane,
    installation: Installation,
    pair: tuple[Replica, Replica],
    tmp_path: Path,
) -> None:
    """All a server does in its life, by the API server's own log."""
    namespace = installation.team()
    head, _ = make_pods(control_plane, make_cluster(control_plane, namespace))
    enroll(control_plane, head, "10.1.0.1", tmp_path / "kuberay")
    enroll(
        control_plane, make_opted_in(control_plane, namespace), "10.1.0.2", tmp_path / "opted-in"
    )
    # Written by more than one replica, the seed is put together again.
    stored = control_plane.get(installation.secret)
    control_plane.patch(
        installation.secret,
        {
            "data": {
                **dict.fromkeys(stored["data"]),
                "20261101T000000Z": base64.b64encode(os.urandom(32)).decode(),
            }
        },
    )
    for replica in pair:
        replica.wait_logged("seed adopted", generations=["20261101T000000Z", *stored["data"]])
    wanted = {
        (
            right.verb,
            right.resource.group,
            right.resource.plural,
            right.name,
            installation.namespace if right.ours else "",
        )
        for right in permissions("raywarden")
    }
    assert set(asked(control_plane, installation.namespace)) == wanted


def make_opted_in(control_plane: ControlPlane, namespace: str) -> Object:
    labels = {"raywarden.io/cluster": "own", "raywarden.io/role": "head"}
    container = {
        "name": "ray",
        "image": "rayproject/ray:2.55.1",
        "command": ["ray", "start", "--head", "--block"],
    }
    spec = {"serviceAccountName": "ray", "containers": [container]}
    return control_plane.make(
        f"/api/v1/namespaces/{namespace}/pods",
        {"metadata": {"generateName": "own-", "labels": labels}, "spec": spec},
    )


def asked(control_plane: ControlPlane, namespace: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Verb, group, resource, name and namespace of what our service account asked for, as RBAC weighs it."""
    user = f"system:serviceaccount:{namespace}:raywarden"
    named = ("raywarden", "raywarden-seed")
    for line in (control_plane.folder / AUDIT_LOG).read_text().splitlines():
        event = json.loads(line)
        place = event.get("objectRef")
        if event["user"]["username"] == user and place:
            ours = place.get("namespace") == namespace
            yield (
                event["verb"],
                place.get("apiGroup", ""),
                place["resource"],
                place.get("name", "")
                if place.get("name") in named and event["verb"] != "create"
                else "",
                namespace if ours else "",
            )
