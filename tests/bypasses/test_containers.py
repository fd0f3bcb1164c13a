"""Rows 9 to 11, 22 and 35: other containers, and access of containers to the node."""

from typing import Any

import pytest

from tests.bypasses.admission import (
    HEAD,
    KINDS,
    WORKER,
    by_both,
    passes,
    refused,
    refused_with_derived,
    stored,
)
from tests.support import factory
from tests.support.factory import Object, changed, container, ray_cluster

OFF = {"name": "RAY_USE_TLS", "value": "0"}
PRIVILEGED = {"privileged": True}
KEY = {"name": "raywarden-tls", "mountPath": "/keys"}
SHELL = ["bash", "-c", "unset RAY_USE_TLS; ray kuberay-autoscaler"]


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
    side = {"name": "side", "image": "mine:1", **fields}
    for group in (HEAD, WORKER):
        assert refused(changed(ray_cluster(), {f"{group}/spec/containers/-": side})) == rules
        for restart in ({}, {"restartPolicy": "Always"}):
            assert (
                refused(
                    changed(ray_cluster(), {f"{group}/spec/initContainers": [{**side, **restart}]})
                )
                == rules
            )
    assert refused(changed(factory.worker_pod(), {"/spec/initContainers/-": side})) == rules


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
    ("pod", "fields", "rule"),
    [
        ({"hostNetwork": True}, {}, "no-host-access"),
        ({"hostPID": True}, {}, "no-host-access"),
        ({"hostIPC": True}, {}, "no-host-access"),
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


def test_35_a_shared_process_namespace_remains() -> None:
    """The containers of one pod see each other's files, as the Pod Security Standards allow."""
    shared = changed(ray_cluster(), {f"{HEAD}/spec/shareProcessNamespace": True})
    warned, refused_by_restricted = by_both(shared)
    assert "no-host-access" in warned & refused_by_restricted


def test_35_wrong_types_are_left_to_the_api_server() -> None:
    """The API server's schema rejects a string as a boolean; it must not crash RayWarden."""
    for value in ("true", 1, [True], {"a": True}):
        assert passes(changed(ray_cluster(), {f"{HEAD}/spec/hostNetwork": value}))
