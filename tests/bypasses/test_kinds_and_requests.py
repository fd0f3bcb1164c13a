"""Rows 23, 24, 32, 33 and 37: other kinds, versions, namespaces and operations."""

from typing import Any

import pytest

from tests.bypasses.admission import HEAD, KINDS, RAY, WORKER, passes, refused, stored, verdict
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster

OFF = {"name": "RAY_USE_TLS", "value": "0"}


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"/spec/containers/0/image": "rayproject/ray:2.9.0"}, {"ray-version-floor"}),
        ({"/spec/initContainers/0/image": "mine:1"}, {"tls-on"}),
        ({"/metadata/labels/ray.io~1cluster": "victim"}, {"reserved-names", "operator-made-pods"}),
        ({"/metadata/labels/ray.io~1cluster": None}, {"reserved-names", "operator-made-pods"}),
        ({"/metadata/labels/raywarden.io~1cluster": "victim"}, {"reserved-names"}),
        ({"/metadata/labels/raywarden.io~1tls": None}, {"reserved-names", "tls-on"}),
        ({"/metadata/annotations/raywarden.io~1tls-secret": "mine"}, {"reserved-names", "tls-on"}),
        ({"/metadata/annotations/raywarden.io~1inject": "false"}, {"no-opt-out"}),
        (
            {"/metadata/annotations/ray.io~1overwrite-container-cmd": "true"},
            {"start-command-intact"},
        ),
        ({"/metadata/labels": None}, {"reserved-names", "operator-made-pods", "tls-on"}),
    ],
)
def test_23_updates_of_pods(change: Object, rules: set[str]) -> None:
    before = stored(factory.worker_pod())
    assert refused(changed(before, change), before, user="author") == rules
    # A pod that is being deleted still runs during its grace period, and while it has finalizers.
    ending = changed(
        before,
        {"/metadata/deletionTimestamp": "2026-11-20T08:00:00Z", "/metadata/finalizers": ["a/b"]},
    )
    assert refused(changed(ending, change), ending, user="author") == rules


def test_23_the_deletion_of_a_pod_is_never_blocked() -> None:
    bad = changed(
        stored(factory.worker_pod()), {"/spec/hostNetwork": True, "/spec/initContainers": []}
    )
    ending = changed(
        bad,
        {"/metadata/deletionTimestamp": "2026-11-20T08:00:00Z", "/metadata/finalizers": ["a/b"]},
    )
    assert verdict(changed(ending, {"/metadata/finalizers": None}), ending, user="author") == (
        set(),
        set(),
    )


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({f"{HEAD}/spec/hostNetwork": True}, {"no-host-access"}),
        ({"/spec/headGroupSpec/serviceType": "NodePort"}, {"no-public-head-service"}),
        ({"/spec/headGroupSpec/enableIngress": True}, {"no-open-ingress"}),
        ({f"{RAY}/command": ["unset RAY_USE_TLS"]}, {"start-command-intact"}),
        ({"/spec/tlsOptions": {"enabled": True}}, {"tls-on"}),
        ({f"{HEAD}/metadata/labels/raywarden.io~1tls": "mine"}, set()),
        (
            {"/spec/workerGroupSpecs/0/groupName": "other", f"{WORKER}/spec/hostPID": True},
            {"no-host-access"},
        ),
    ],
)
def test_24_updates_of_clusters(change: Object, rules: set[str]) -> None:
    before = stored(ray_cluster())
    assert refused(changed(before, change), before) == rules
    # The cluster is suspended first, and resumed together with the change.
    suspended = changed(before, {"/spec/suspend": True})
    assert refused(changed(suspended, {**change, "/spec/suspend": False}), suspended) == rules


def test_24_a_violation_older_than_raywarden_remains() -> None:
    old = changed(ray_cluster(), {f"{HEAD}/spec/hostNetwork": True})
    denied, warned = verdict(changed(old, {"/spec/workerGroupSpecs/0/replicas": 2}), old)
    assert not denied and "no-host-access" in warned


def test_24_the_marker_is_restored() -> None:
    before = stored(ray_cluster())
    unmarked = changed(
        before, {"/metadata/labels": None, f"{HEAD}/metadata/labels/raywarden.io~1tls": "mine"}
    )
    decision = factory.reviewer().mutated(factory.request(unmarked, "UPDATE", before))
    assert decision.document == before


@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_32_every_kind_and_version(kind: Any, place: str, version: str) -> None:
    document = {**kind(), "apiVersion": f"ray.io/{version}"}
    for change, rule in (
        ({f"{place}/headGroupSpec/template/spec/hostNetwork": True}, "no-host-access"),
        ({f"{place}/headGroupSpec/rayStartParams/num-cpus": "1; id"}, "safe-ray-start-params"),
        ({f"{place}/workerGroupSpecs/0/template/spec/containers/0/env": [OFF]}, "tls-on"),
    ):
        assert refused(changed(document, change)) == {rule}


def test_33_another_controller() -> None:
    """RayWarden checks the object here, although the pods are created in another cluster."""
    elsewhere = {"managedBy": "kueue.x-k8s.io/multikueue"}
    assert refused(changed(ray_cluster(**elsewhere), {f"{HEAD}/spec/hostIPC": True})) == {
        "no-host-access"
    }
    assert refused(
        changed(
            factory.ray_job(**elsewhere), {"/spec/rayClusterSpec/headGroupSpec/enableIngress": True}
        )
    ) == {"no-open-ingress"}


def test_33_pods_in_another_cluster_remain() -> None:
    assert passes(ray_cluster(managedBy="kueue.x-k8s.io/multikueue"))


def test_37_names_and_namespaces() -> None:
    bad = changed(ray_cluster(), {f"{HEAD}/spec/hostNetwork": True})
    for metadata in (
        {"generateName": "x-"},
        {"name": "x"},
        {"name": "x", "namespace": "kube-system"},
        {},
        None,
    ):
        assert refused(changed(bad, {"/metadata": metadata}), namespace="team-a") == {
            "no-host-access"
        }


def test_37_the_namespace_in_the_object_weakens_nothing() -> None:
    loose = {
        "inject": {"optOutNamespaces": ["loose"]},
        "exemptions": [{"namespaces": ["loose"], "reason": "test"}],
    }
    out = changed(
        ray_cluster(),
        {"/metadata/namespace": "loose", "/metadata/labels/raywarden.io~1inject": "false"},
    )
    bad = changed(ray_cluster(), {"/metadata/namespace": "loose", f"{HEAD}/spec/hostNetwork": True})
    assert refused(out, policy=loose, namespace="team-a") == {"no-opt-out"}
    assert refused(bad, policy=loose, namespace="team-a") == {"no-host-access"}
    assert refused(bad, policy=loose, namespace="loose") == set()


def test_37_server_side_apply_is_a_create_or_an_update() -> None:
    fields = {
        "/metadata/managedFields": [{"manager": "mine", "operation": "Apply", "fieldsV1": {}}]
    }
    before = stored(changed(ray_cluster(), fields))
    assert refused(changed(before, {f"{HEAD}/spec/hostNetwork": True}), before) == {
        "no-host-access"
    }


def test_37_a_cluster_that_is_created_again_is_new() -> None:
    """A cluster older than RayWarden may keep a violation on update, but not if created again."""
    bad = changed(ray_cluster(), {f"{HEAD}/spec/hostNetwork": True})
    assert refused(changed(bad, {"/spec/suspend": True}), bad) == set()
    assert refused(bad) == {"no-host-access"}
