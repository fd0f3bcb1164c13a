"""Every overlay can be installed, and the server uses exactly the rights that it is granted."""

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from policies.network.isolation import ISOLATION_ANNOTATION
from tests.apiserver.control_plane import AUDIT_LOG, ControlPlane
from tests.apiserver.installation import Installation, define, until
from tests.apiserver.network_policies import (
    allow_no_network_policies,
    items,
    make_managed,
    policies_in,
)
from tests.apiserver.permissions import REGISTRATION
from tests.apiserver.pods import csr, enroll, give_address, make_cluster, make_pods, token_for
from tests.apiserver.replica import Replica
from tests.support.deployed import only, overlays, rendered
from tests.support.factory import Object, changed
from tests.support.pod_tokens import TokenSigner
from webhook.kube.permissions import permissions

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_FOREIGN = ("cert-manager.io/", "monitoring.coreos.com/")


@pytest.fixture(scope="module")
def installation(control_plane: ControlPlane) -> Iterator[Installation]:
    """An installation where every resource that the server may watch is defined."""
    define(control_plane, "scheduling.sigs.k8s.io", "v1beta1", "ElasticQuota")
    define(control_plane, "scheduling.sigs.k8s.io", "v1beta1", "ElasticQuotaTree")
    define(control_plane, "scheduling.x-k8s.io", "v1alpha1", "ElasticQuota")
    installed = Installation.make(control_plane)
    yield installed
    installed.unregister()


@pytest.mark.parametrize("folder", overlays(), ids=lambda folder: folder.name)
def test_the_api_server_accepts_every_object(control_plane: ControlPlane, folder: Path) -> None:
    """Under another name, so that it does not affect other tests, and without custom resources."""
    text = yaml.safe_dump_all(rendered(folder)).replace("raywarden", f"{folder.name}-raywarden")
    objects = [
        document
        for document in yaml.safe_load_all(text)
        if not document["apiVersion"].startswith(_FOREIGN)
    ]
    try:
        control_plane.apply(*objects)
        assert_pods_are_accepted(
            control_plane, only(objects, "Deployment", f"{folder.name}-raywarden")
        )
    finally:
        control_plane.take_away(*objects)


def assert_pods_are_accepted(control_plane: ControlPlane, deployment: Object) -> None:
    """The namespace accepts the pods under the restricted Pod Security Standard.

    They get the priority and the service account that they name.
    """
    template, namespace = deployment["spec"]["template"], deployment["metadata"]["namespace"]
    pod = {
        "metadata": {"generateName": "raywarden-", "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    }
    spec = control_plane.make(f"/api/v1/namespaces/{namespace}/pods", pod)["spec"]
    assert spec["priority"] == 1000000000
    (token,) = [
        volume for volume in spec["volumes"] if volume["name"].startswith("kube-api-access")
    ]
    assert token["projected"]


def test_a_second_apply_keeps_the_ca_bundles_that_the_server_has_written(
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


def test_the_server_uses_every_right_and_needs_no_other(
    control_plane: ControlPlane,
    installation: Installation,
    pair: tuple[Replica, Replica],
    tmp_path: Path,
) -> None:
    """The audit log of the API server records everything that the servers do."""
    namespace = installation.team()
    head, _ = make_pods(control_plane, make_cluster(control_plane, namespace))
    enroll(control_plane, head, "10.1.0.1", tmp_path / "kuberay")
    enroll(
        control_plane, make_opted_in(control_plane, namespace), "10.1.0.2", tmp_path / "opted-in"
    )
    ask_about_unknown(control_plane, installation, pair[0])
    # A seed with a generation of another installation: the replicas merge it with theirs.
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
    write_network_policies(control_plane, installation)
    needed = {
        (
            right.verb,
            right.resource.group,
            right.resource.plural,
            right.name,
            installation.namespace if right.ours else "",
        )
        for right in permissions("raywarden")
    }
    assert set(used_rights(control_plane, installation.namespace)) == needed


def ask_about_unknown(
    control_plane: ControlPlane, installation: Installation, replica: Replica
) -> None:
    """Enroll with a key and for a RayCluster that memory lacks, so that the server must ask."""
    cluster = make_cluster(control_plane, installation.team(unseen=""))
    head, _ = make_pods(control_plane, changed(cluster, {"/metadata/uid": str(uuid4())}))
    give_address(control_plane, head, "10.1.0.3")
    forged = TokenSigner("ES256").token(head, time.time())
    for token, status in ((forged, 401), (token_for(control_plane, head), 403)):
        assert replica.enroll(installation.trust(), token, csr()).status_code == status


def write_network_policies(control_plane: ControlPlane, installation: Installation) -> None:
    """Have the servers create and delete NetworkPolicies, and report that they cannot."""
    closed, full = installation.team(unseen=""), installation.team(unseen="")
    allow_no_network_policies(control_plane, full)
    make_managed(control_plane, closed)
    make_managed(control_plane, full)
    until(lambda: len(items(control_plane, policies_in(closed))) == 2)
    until(lambda: items(control_plane, f"/apis/events.k8s.io/v1/namespaces/{full}/events"))
    unmanaged = {"metadata": {"annotations": {ISOLATION_ANNOTATION: None}}}
    control_plane.patch(f"/apis/ray.io/v1/namespaces/{closed}/rayclusters/demo", unmanaged)
    until(lambda: not items(control_plane, policies_in(closed)))
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{installation.namespace}/leases"
    (created,) = items(control_plane, leases)
    until(lambda: items(control_plane, leases)[0]["spec"] != created["spec"])


def make_opted_in(control_plane: ControlPlane, namespace: str) -> Object:
    labels = {"raywarden.io/cluster": "own", "raywarden.io/role": "head"}
    container = {
        "name": "ray",
        "image": "rayproject/ray:2.60.0",
        "command": ["ray", "start", "--head", "--block"],
    }
    spec = {"serviceAccountName": "ray", "containers": [container]}
    return control_plane.make(
        f"/api/v1/namespaces/{namespace}/pods",
        {"metadata": {"generateName": "own-", "labels": labels}, "spec": spec},
    )


def used_rights(
    control_plane: ControlPlane, namespace: str
) -> Iterator[tuple[str, str, str, str, str]]:
    """Verb, group, resource, name and namespace of each request of the service account.

    A name or namespace is empty if RBAC does not restrict the right to it.
    """
    user = f"system:serviceaccount:{namespace}:raywarden"
    named = ("raywarden", "raywarden-network-policies", "raywarden-seed")
    for line in (control_plane.folder / AUDIT_LOG).read_text().splitlines():
        event = json.loads(line)
        target = event.get("objectRef")
        if event["user"]["username"] == user and target:
            name = target.get("name", "")
            if name not in named or event["verb"] == "create":
                name = ""
            own = target.get("namespace") == namespace
            verbs = [event["verb"]]
            # To apply an object that does not exist yet needs both rights.
            if event.get("responseStatus", {}).get("code") == 201 and verbs == ["patch"]:
                verbs.append("create")
            group = target.get("apiGroup", "")
            for verb in verbs:
                yield verb, group, target["resource"], name, namespace if own else ""
