"""Rows 17 to 21: pods that belong to a cluster, and pods that only claim to."""

import asyncio
from typing import Any

import pytest

from certs.identity import NotAllowedError
from tests.bypasses.admission import by_both, passes, refused, stored, verdict
from tests.support import factory, live_objects
from tests.support.factory import Object, changed, container
from tests.webhook.enrollment.test_signing import CSR, ScriptedCluster, sign, signing
from webhook.enrollment.signing import UnauthenticatedError

SPOOFED = {"operator-made-pods"}
RAY_LABELS = {"ray.io/cluster": "victim", "ray.io/node-type": "worker"}
START = ["ray", "start", "--address=demo-head-svc:6379"]


def controller(kind: str, template: Object) -> Object:
    """An object of a kind that creates pods from a template."""
    group = {"Job": "batch/v1", "CronJob": "batch/v1", "ReplicationController": "v1"}.get(
        kind, "apps/v1"
    )
    spec: Object = {"template": template}
    if kind == "CronJob":
        spec = {"schedule": "0 3 * * *", "jobTemplate": {"spec": spec}}
    metadata = {"name": "mine", "namespace": "team-a"}
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}


CONTROLLERS = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "Job",
    "CronJob",
    "ReplicationController",
]


@pytest.mark.parametrize("kind", [*CONTROLLERS, "Pod"])
@pytest.mark.parametrize(
    "command",
    [START, ["ray", "--log-style=record", "start"], ["bash", "-c", "sleep 1; ray start --head"]],
)
@pytest.mark.parametrize("field", ["containers", "initContainers"])
def test_17_ray_without_labels(kind: str, command: list[str], field: str) -> None:
    """Refused by `restricted` only: the default profile must not stop pods that never opted in."""
    spec = {"containers": [container("main")], field: [container("mine", command=command)]}
    if kind == "Pod":
        document: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "mine"},
            "spec": spec,
        }
    else:
        document = controller(kind, {"metadata": {"labels": {"app": "mine"}}, "spec": spec})
    warned, denied = by_both(document)
    assert "tls-on" in warned & denied


@pytest.mark.parametrize(
    "command", [["python", "-m", "ray.scripts.scripts", "start"], ["/mine/entrypoint.sh"], None]
)
def test_17_an_unrecognized_command_remains(command: list[str] | None) -> None:
    fields: Object = {"command": command} if command else {}
    unrecognized = container("mine", **fields)
    assert passes(
        controller(
            "Deployment",
            {"metadata": {"labels": {"app": "mine"}}, "spec": {"containers": [unrecognized]}},
        )
    )


@pytest.mark.parametrize("user", ["author", "system:serviceaccount:team-a:kuberay-operator", ""])
def test_18_label_spoofing(user: str) -> None:
    pod = factory.worker_pod()
    author = user or "system:serviceaccount:kube-system:replicaset-controller"
    assert refused(pod, user=author) == SPOOFED
    plain: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "mine", "namespace": "team-a"},
    }
    plain["spec"] = {"containers": [container("mine")]}
    labeled = changed(plain, {"/metadata/labels": RAY_LABELS})
    assert refused(labeled, user=author) >= SPOOFED
    assert refused(labeled, plain, user=author) == SPOOFED
    ending = changed(
        plain,
        {"/metadata/deletionTimestamp": "2026-11-20T08:00:00Z", "/metadata/finalizers": ["a/b"]},
    )
    assert (
        refused(changed(ending, {"/metadata/labels": RAY_LABELS}), ending, user=author) == SPOOFED
    )


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_18_label_spoofing_in_a_template(kind: str) -> None:
    template = {"metadata": {"labels": RAY_LABELS}, "spec": factory.template("mine")["spec"]}
    assert refused(controller(kind, template)) == SPOOFED
    before = controller(kind, {"metadata": {"labels": {"app": "mine"}}, "spec": template["spec"]})
    assert refused(controller(kind, template), before) == SPOOFED


def test_18_a_cleanup_pod_that_kuberay_did_not_create() -> None:
    pod = factory.head_pod(**{"ray.io/node-type": "redis-cleanup"})
    assert refused(pod, user="author") >= SPOOFED


def test_18_the_signer_requires_an_owner() -> None:
    changes: tuple[Object, ...] = (
        {"/metadata/ownerReferences": []},
        {"/metadata/ownerReferences/0/kind": "ReplicaSet"},
    )
    for change in changes:
        with pytest.raises(NotAllowedError, match="is not owned by that RayCluster"):
            sign(signing(ScriptedCluster(changed(live_objects.pod(), change))))


def test_18_opting_in_remains() -> None:
    """In a namespace, everyone may join Ray without KubeRay, which has a CA of its own."""
    assert passes(factory.opted_in_pod(), user="author")
    issued = sign(signing(), "3")
    assert issued.identity.cluster.opted_in and issued.identity.cluster.name == "django"
    assert issued.bundle != sign(signing()).bundle


@pytest.mark.parametrize(
    "change",
    [
        {"/metadata/ownerReferences": None},
        {"/metadata/ownerReferences/0/name": "other"},
        {"/metadata/ownerReferences/0/uid": "forged"},
        {"/metadata/ownerReferences/0/kind": "ReplicaSet"},
        {"/metadata/ownerReferences/0/apiVersion": "ray.io.example/v1"},
        {"/metadata/ownerReferences/0/apiVersion": "v1"},
    ],
)
def test_19_forged_owners(change: Object) -> None:
    """Even the account of the operator cannot create them."""
    forged = changed(factory.worker_pod(), change)
    assert refused(forged) == SPOOFED
    assert refused(forged, user="author") == SPOOFED


def test_19_an_owner_added_later() -> None:
    before: Object = changed(stored(factory.submitter_pod()), {"/metadata/labels": RAY_LABELS})
    owner = factory.worker_pod()["metadata"]["ownerReferences"]
    assert (
        refused(changed(before, {"/metadata/ownerReferences": owner}), before, user="author")
        == SPOOFED
    )


def test_19_the_signer_checks_the_live_cluster() -> None:
    for change in (
        {"/metadata/ownerReferences/0/uid": "forged"},
        {"/metadata/ownerReferences/0/name": "gone", "/metadata/labels/ray.io~1cluster": "gone"},
        {"/metadata/deletionTimestamp": live_objects.CREATED},
    ):
        with pytest.raises(NotAllowedError):
            sign(signing(ScriptedCluster(changed(live_objects.pod(), change))))


def test_20_a_stolen_token() -> None:
    """The signer refuses it if its pod is gone, and from another address if it may check that."""
    strict = signing(require_peer_address=True)
    with pytest.raises(NotAllowedError, match="does not come from an address of the pod"):
        sign(strict, peer="10.0.0.66")
    for current_pod in (
        None,
        live_objects.pod(uid="another"),
        changed(live_objects.pod(), {"/metadata/deletionTimestamp": live_objects.CREATED}),
    ):
        with pytest.raises(NotAllowedError):
            sign(signing(ScriptedCluster(current_pod, current_pod)))
    with pytest.raises(UnauthenticatedError):
        asyncio.run(signing().sign("of another audience", CSR, ""))


def test_20_a_stolen_token_from_another_address_remains() -> None:
    issued = sign(signing(), peer="10.0.0.66")
    assert issued.identity.pod == "demo-head-abcde", (
        "the certificate is for the pod that the token was stolen from"
    )


def test_20_a_token_for_another_audience() -> None:
    for name in ("raywarden-token", "mine"):
        sources = [{"serviceAccountToken": {"path": "token", "audience": "https://mine"}}]
        volume = {"name": name, "projected": {"sources": sources}}
        pod = changed(factory.worker_pod(), {"/spec/volumes": [volume]})
        assert refused(pod) == (
            {"tls-on", "reserved-names"} if name == "raywarden-token" else set()
        )


@pytest.mark.parametrize("sub_resource", ["portforward", "proxy", "exec", "attach"])
def test_21_port_forward_and_proxy_remain(sub_resource: str) -> None:
    """Remediations recommend it: the API server authenticates users, and RBAC authorizes them."""
    options: Any = {
        "apiVersion": "v1",
        "kind": "PodPortForwardOptions",
        "metadata": {"namespace": "team-a"},
    }
    sent = factory.request(options, "CONNECT", subResource=sub_resource, name="demo-head-abcde")
    assert factory.reviewer().validate(sent).response.allowed
    assert verdict(options, subResource=sub_resource) == (set(), set())
