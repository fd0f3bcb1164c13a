"""Rows 9 to 11, 22 to 24, 32, 33, 35 and 37: other containers, kinds and requests."""

from typing import Any

import pytest

from tests.bypasses.admission import (
    HEAD,
    RAY,
    WORKER,
    by_both,
    passes,
    refused,
    refused_with_derived,
    stored,
    verdict,
)
from tests.support import factory
from tests.support.factory import Object, changed, container, ray_cluster

OFF = {"name": "RAY_USE_TLS", "value": "0"}
PRIVILEGED = {"privileged": True}
KEY = {"name": "raywarden-tls", "mountPath": "/keys"}
SHELL = ["bash", "-c", "unset RAY_USE_TLS; ray kuberay-autoscaler"]
# Every kind, and the place of the cluster in it.
KINDS = [
    (factory.ray_cluster, "/spec"),
    (factory.ray_job, "/spec/rayClusterSpec"),
    (factory.ray_service, "/spec/rayClusterConfig"),
    (factory.ray_cron_job, "/spec/jobTemplate/rayClusterSpec"),
]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"env": [OFF]}, "tls-on"),
        ({"command": SHELL}, "start-command-intact"),
        ({"args": SHELL}, "start-command-intact"),
        ({"securityContext": PRIVILEGED}, "no-privileged"),
        ({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}, "no-privileged"),
        ({"volumeMounts": [KEY]}, "reserved-names"),
        ({"env": [{"name": "RAY_START_HOOK", "value": "mine"}]}, "no-code-hooks"),
        ({"image": "rayproject/ray:2.9.0"}, "ray-version-floor"),
    ],
)
@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_09_autoscaler_options(kind: Any, place: str, options: Object, rule: str) -> None:
    change = {f"{place}/enableInTreeAutoscaling": True, f"{place}/autoscalerOptions": options}
    assert refused(changed(kind(), change)) == {rule}


def test_09_autoscaler_containers_of_pods() -> None:
    autoscaler = "/spec/containers/1"
    assert refused(changed(factory.head_pod(), {f"{autoscaler}/env": [OFF]})) == {"tls-on"}
    assert refused(changed(factory.head_pod(), {f"{autoscaler}/command": SHELL})) == {
        "start-command-intact"
    }
    image = changed(factory.head_pod(), {f"{autoscaler}/image": "mine:1"})
    assert refused(image) == set(), "a custom image gets the same variables"
    assert stored(image)["spec"]["containers"][1]["env"][1] == {"name": "RAY_USE_TLS", "value": "1"}


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"hostNetwork": True}, {"no-host-access"}),
        ({"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}, {"no-host-path"}),
        (
            {"containers": [container("ray-job-submitter", securityContext=PRIVILEGED)]},
            {"no-privileged"},
        ),
        (
            {"containers": [container("mine", env=[{"name": "LD_PRELOAD", "value": "x"}])]},
            {"start-command-intact"},
        ),
        ({"initContainers": [container("mine", volumeMounts=[KEY])]}, {"reserved-names"}),
    ],
)
def test_10_submitters(change: Object, rules: set[str]) -> None:
    template = factory.template("ray-job-submitter")
    template["spec"] |= change
    assert refused(factory.ray_job(submitterPodTemplate=template)) == rules
    assert refused(factory.ray_cron_job(submitterPodTemplate=template)) == rules
    pod = factory.submitter_pod()
    pod["spec"] |= change
    assert refused(pod) == rules
    assert not refused_with_derived(
        factory.ray_job(submitterPodTemplate=factory.template("ray-job-submitter"))
    )[-1]


def test_10_a_submitter_label_does_not_exempt_ray() -> None:
    warned, denied = by_both(
        changed(factory.submitter_pod(), {"/spec/containers/0/command": ["ray", "start"]})
    )
    assert {"tls-on", "auth-on"} <= warned & denied


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        ({"securityContext": PRIVILEGED}, {"no-privileged"}),
        ({"volumeMounts": [KEY]}, {"reserved-names"}),
        ({"ports": [{"containerPort": 80, "hostPort": 80}]}, {"no-host-access"}),
        ({"name": "raywarden-mine"}, {"reserved-names"}),
        ({"name": "wait-gcs-ready", "env": [OFF]}, {"tls-on"}),
        ({"image": factory.IMAGE, "env": [OFF]}, {"tls-on"}),
    ],
)
def test_11_every_list_of_containers(fields: Object, rules: set[str]) -> None:
    mine = {"name": "side", "image": "mine:1", **fields}
    for group in (HEAD, WORKER):
        assert refused(changed(ray_cluster(), {f"{group}/spec/containers/-": mine})) == rules
        for restart in ({}, {"restartPolicy": "Always"}):
            assert (
                refused(
                    changed(ray_cluster(), {f"{group}/spec/initContainers": [{**mine, **restart}]})
                )
                == rules
            )
    assert refused(changed(factory.worker_pod(), {"/spec/initContainers/-": mine})) == rules


def test_11_collector_options() -> None:
    for options, rule in (
        ({"env": [OFF]}, "tls-on"),
        ({"env": [{"name": "BASH_ENV", "value": "/mine"}]}, "start-command-intact"),
        ({"image": "rayproject/ray:2.9.0"}, "ray-version-floor"),
    ):
        assert refused(ray_cluster(historyServerOptions={"collectorOptions": options})) == {rule}


def test_11_a_sidecar_that_enrolls_for_its_pod_remains() -> None:
    """A sidecar is part of the pod, and a token names its pod but not its container."""
    sources = [{"serviceAccountToken": {"path": "token", "audience": "raywarden.io"}}]
    side = {
        "name": "side",
        "image": "mine:1",
        "volumeMounts": [{"name": "mine", "mountPath": "/mine"}],
    }
    volume = {"name": "mine", "projected": {"sources": sources}}
    assert passes(
        changed(
            ray_cluster(), {f"{HEAD}/spec/volumes": [volume], f"{HEAD}/spec/containers/-": side}
        )
    )


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        ({"volumeMounts": [KEY]}, {"reserved-names"}),
        ({"volumeMounts": [{**KEY, "name": "raywarden-token"}]}, {"reserved-names"}),
        ({"securityContext": PRIVILEGED}, {"no-privileged"}),
        ({"image": factory.IMAGE, "volumeMounts": [KEY]}, {"reserved-names"}),
        ({"name": "raywarden-enroll"}, {"reserved-names"}),
    ],
)
@pytest.mark.parametrize("pod", [factory.head_pod, factory.worker_pod, factory.opted_in_pod])
def test_22_ephemeral_containers(pod: Any, fields: Object, rules: set[str]) -> None:
    before = stored(pod())
    debug = {"name": "debug", "image": "busybox:1.36", **fields}
    with_it = changed(before, {"/spec/ephemeralContainers": [debug]})
    assert refused(with_it, before, subResource="ephemeralcontainers", user="author") == rules
    assert refused(changed(with_it, {"/metadata/labels": {}}), before, user="author") > rules


def test_22_a_debug_container_that_targets_another_remains() -> None:
    """`kubectl debug --target`: users who may do that may exec into the pod as well."""
    before = stored(factory.head_pod())
    debug = {"name": "debug", "image": "busybox:1.36", "targetContainerName": "ray-head"}
    assert passes(changed(before, {"/spec/ephemeralContainers": [debug]}), before, user="author")


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
    asleep = changed(before, {"/spec/suspend": True})
    assert refused(changed(asleep, {**change, "/spec/suspend": False}), asleep) == rules


def test_24_a_violation_older_than_raywarden_remains() -> None:
    old = changed(ray_cluster(), {f"{HEAD}/spec/hostNetwork": True})
    denied, warned = verdict(changed(old, {"/spec/workerGroupSpecs/0/replicas": 2}), old)
    assert not denied and "no-host-access" in warned


def test_24_the_marker_is_restored() -> None:
    before = stored(ray_cluster())
    taken = changed(
        before, {"/metadata/labels": None, f"{HEAD}/metadata/labels/raywarden.io~1tls": "mine"}
    )
    decision = factory.reviewer().mutated(factory.request(taken, "UPDATE", before))
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


@pytest.mark.parametrize(
    ("pod", "fields", "rule"),
    [
        ({"hostNetwork": True}, {}, "no-host-access"),
        ({"hostPID": True}, {}, "no-host-access"),
        ({"hostIPC": True}, {}, "no-host-access"),
        ({"shareProcessNamespace": True}, {}, "no-host-access"),
        ({}, {"ports": [{"containerPort": 6379, "hostPort": 6379}]}, "no-host-access"),
        ({}, {"securityContext": PRIVILEGED}, "no-privileged"),
        ({}, {"securityContext": {"procMount": "Unmasked"}}, "no-privileged"),
        ({}, {"securityContext": {"capabilities": {"add": ["cap_sys_ptrace"]}}}, "no-privileged"),
        ({}, {"securityContext": {"capabilities": {"add": ["ALL"]}}}, "no-privileged"),
        (
            {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
            {},
            "no-privileged",
        ),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, {}, "no-privileged"),
    ],
)
@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_35_host_namespaces_and_privileges(
    kind: Any, place: str, pod: Object, fields: Object, rule: str
) -> None:
    group = f"{place}/workerGroupSpecs/0/template/spec"
    change = {f"{group}/{name}": value for name, value in pod.items()}
    change |= {f"{group}/containers/0/{name}": value for name, value in fields.items()}
    assert refused(changed(kind(), change)) == {rule}
    document = factory.worker_pod()
    document["spec"] |= pod
    document["spec"]["containers"][0] |= fields
    assert refused(document) == {rule}


def test_35_wrong_types_are_left_to_the_api_server() -> None:
    """The API server's schema rejects a string as a boolean; it must not crash RayWarden."""
    for value in ("true", 1, [True], {"a": True}):
        assert passes(changed(ray_cluster(), {f"{HEAD}/spec/hostNetwork": value}))


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
