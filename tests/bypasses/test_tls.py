"""Rows 4 to 8, 25, 38 and 41: the variables, files and containers that set up Ray's TLS."""

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
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster
from tests.support.injection import TLS, env

TLS_ON = {"tls-on"}
OFF = {"name": "RAY_USE_TLS", "value": "0"}


def with_env(*entries: Object) -> Object:
    return changed(ray_cluster(), {f"{RAY}/env": list(entries)})


@pytest.mark.parametrize(
    "entries",
    [
        [{"name": "RAY_USE_TLS", "value": "1"}, OFF],
        [{"name": "RAY_USE_TLS", "value": "1"}, {"name": "RAY_USE_TLS"}],
        [
            {
                "name": "RAY_USE_TLS",
                "value": "1",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
            }
        ],
        [{"name": "RAY_TLS_CA_CERT", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "ca"}}}],
        [{"name": "X", "value": "0"}, {"name": "RAY_USE_TLS", "value": "$(X)"}],
        [{"name": "RAY_USE_TLS", "value": None}],
    ],
)
def test_04_the_same_variable_twice_or_from_elsewhere(entries: list[Object]) -> None:
    assert refused(with_env(*entries)) == TLS_ON
    pod = factory.head_pod()
    pod["spec"]["containers"][0]["env"] += entries
    assert refused(pod) == TLS_ON


def test_04_a_second_value_added_by_an_update() -> None:
    for document, place in (
        (ray_cluster(), f"{RAY}/env/-"),
        (factory.worker_pod(), "/spec/containers/0/env/-"),
    ):
        before = stored(document)
        assert refused(changed(before, {place: OFF}), before) == TLS_ON


@pytest.mark.parametrize("prefix", ["", "RAY_"])
@pytest.mark.parametrize("kind", ["configMapRef", "secretRef"])
def test_05_env_from_does_not_override_raywarden(prefix: str, kind: str) -> None:
    """`env` takes precedence over `envFrom`, and RayWarden sets `env` in every Ray container."""
    source = [{"prefix": prefix, kind: {"name": "mine"}}]
    options = {"envFrom": source}
    cluster = ray_cluster(enableInTreeAutoscaling=True, autoscalerOptions=options)
    document = changed(
        cluster, {f"{RAY}/envFrom": source, f"{WORKER}/spec/containers/0/envFrom": source}
    )
    assert not any(refused_with_derived(document))
    for pod in (factory.head_pod(), factory.worker_pod()):
        for item in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])):
            item["envFrom"] = source
        spec = stored(pod)["spec"]
        containers = [*spec["containers"], *spec["initContainers"]]
        with_source = [item for item in containers if "envFrom" in item]
        assert with_source and all(env(item).items() >= TLS.items() for item in with_source)


def test_05_a_pod_that_was_not_mutated_is_refused() -> None:
    bare = changed(
        factory.head_pod(), {"/spec/containers/0/envFrom": [{"configMapRef": {"name": "mine"}}]}
    )
    decision = factory.reviewer().validate(factory.request(bare))
    assert set(decision.denied) == TLS_ON


@pytest.mark.parametrize(
    "source",
    [
        {"secret": {"secretName": "mine"}},
        {"emptyDir": {}},
        {"emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}},
        {"projected": {"sources": [{"secret": {"name": "mine"}}]}},
        {"image": {"reference": "mine:1"}},
    ],
)
@pytest.mark.parametrize("name", ["raywarden-tls", "raywarden-token"])
def test_06_raywardens_volume_with_another_source(name: str, source: Object) -> None:
    volumes = [{"name": name, **source}]
    expected = {"tls-on", "reserved-names"}
    assert refused(changed(ray_cluster(), {f"{HEAD}/spec/volumes": volumes})) == expected
    assert refused(changed(factory.head_pod(), {"/spec/volumes": volumes})) == expected


def test_07_an_init_container_with_raywardens_name_is_replaced() -> None:
    planted = factory.container(
        "raywarden-enroll", image="mine:1", command=["cp", "-r", "/mine/.", "/etc/ray/tls"]
    )
    for document, place in (
        (ray_cluster(), f"{HEAD}/spec/initContainers"),
        (factory.head_pod(), "/spec/initContainers"),
    ):
        for containers in ([planted], [factory.container("first"), planted], [planted, planted]):
            sent = changed(document, {place: containers})
            assert refused(sent) == set()
            assert "mine" not in str(stored(sent))


@pytest.mark.parametrize(
    "change",
    [
        {"image": "mine:1"},
        {"command": ["bash"]},
        {"args": ["--key-mode", "0444", "--directory", "/mine"]},
        {"envFrom": [{"configMapRef": {"name": "mine"}}]},
        {"lifecycle": {"postStart": {"exec": {"command": ["bash"]}}}},
        {"restartPolicy": "Always"},
        {"name": "raywarden-enroller"},
    ],
)
def test_07_an_init_container_that_was_not_mutated_is_refused(change: Object) -> None:
    pod = stored(factory.head_pod())
    pod["spec"]["initContainers"][0] |= change
    assert "tls-on" in factory.reviewer().validate(factory.request(pod)).denied


@pytest.mark.parametrize("field", ["containers", "ephemeralContainers"])
def test_07_raywardens_name_in_another_list(field: str) -> None:
    planted = {"name": "raywarden-enroll", "image": "mine:1"}
    before = stored(factory.head_pod())
    containers = [*before["spec"].get(field, []), planted]
    assert "reserved-names" in refused(changed(before, {f"/spec/{field}": containers}), before)


@pytest.mark.parametrize(
    "mount",
    [
        {"mountPath": "/etc/ray/tls"},
        {"mountPath": "/etc/ray/tls/"},
        {"mountPath": "//etc//ray/./tls"},
        {"mountPath": "/etc/x/../ray/tls"},
        {"mountPath": "etc/ray/tls"},
        {"mountPath": "/etc/ray/tls/ca.crt", "subPath": "ca.crt"},
        {"mountPath": "/etc/ray/tls/ca.crt", "subPathExpr": "$(NAME)"},
        {"mountPath": "/etc/ray"},
        {"mountPath": "/etc"},
        {"mountPath": "/"},
        {"mountPath": "/../etc/ray/tls"},
    ],
)
def test_08_mounts_that_hide_the_certificate(mount: Object) -> None:
    change: dict[str, Any] = {f"{HEAD}/spec/volumes": [{"name": "mine", "emptyDir": {}}]}
    mounts = [{"name": "mine", **mount}]
    denied = refused(changed(ray_cluster(), {**change, f"{RAY}/volumeMounts": mounts}))
    assert "reserved-names" in denied
    assert denied <= {"reserved-names", "tls-on", "start-command-intact"}
    options = {"volumeMounts": mounts}
    assert "reserved-names" in refused(
        ray_cluster(enableInTreeAutoscaling=True, autoscalerOptions=options)
    )
    assert "reserved-names" in refused(
        changed(factory.worker_pod(), {"/spec/containers/0/volumeMounts": mounts})
    )


@pytest.mark.parametrize(
    "fields", [{"subPath": "x"}, {"readOnly": False}, {"mountPropagation": "HostToContainer"}]
)
def test_08_raywardens_volume_with_another_mount(fields: Object) -> None:
    mount = {"name": "raywarden-tls", "mountPath": "/etc/ray/tls", "readOnly": True, **fields}
    assert "reserved-names" in refused(changed(ray_cluster(), {f"{RAY}/volumeMounts": [mount]}))


def test_25_the_status_has_no_influence() -> None:
    """The `status` changes no verdict, and updates of a RayCluster's status are not checked."""
    status = {
        "state": "ready",
        "conditions": [{"type": "HeadPodReady", "status": "True"}],
        "raywarden": "exempt",
    }
    bad = changed(ray_cluster(), {f"{HEAD}/spec/hostNetwork": True, "/status": status})
    assert refused(bad) == {"no-host-access"}
    before = stored(ray_cluster())
    assert refused(changed(before, {"/status": status, f"{HEAD}/spec/hostPID": True}), before) == {
        "no-host-access"
    }
    # The API server ignores the spec in such a request.
    assert verdict(changed(before, {"/status": status}), before, subResource="status") == (
        set(),
        set(),
    )


@pytest.mark.parametrize(
    ("before", "change", "rule"),
    [
        (
            factory.submitter_pod(),
            {"/metadata/labels": {"ray.io/cluster": "demo"}},
            "operator-made-pods",
        ),
        (stored(factory.worker_pod()), {"/metadata/labels/raywarden.io~1tls": None}, "tls-on"),
        (
            stored(factory.worker_pod()),
            {"/metadata/annotations/raywarden.io~1tls-secret": "mine"},
            "tls-on",
        ),
        (
            changed(
                related_objects.namespace(),
                {"/metadata/labels": {"raywarden.io/enforce": "restricted"}},
            ),
            {"/metadata/labels": {}},
            "no-opt-out",
        ),
    ],
)
def test_25_labels_changed_through_the_status(before: Object, change: Object, rule: str) -> None:
    """For Pods, Services and Namespaces, an update of the status can change the metadata."""
    assert rule in refused(changed(before, change), before, subResource="status", user="author")


def test_25_authentication_removed_through_the_status() -> None:
    backend = "/spec/rules/0/http/paths/0/backend/service/name"
    authenticating = {"nginx.ingress.kubernetes.io/auth-url": "https://sso.example"}
    before = changed(
        related_objects.ingress(),
        {backend: "demo-head-svc", "/metadata/annotations": authenticating},
    )
    after = changed(before, {"/metadata/annotations": None})
    assert refused(after, before, subResource="status") == {"no-open-ingress"}


def test_25_allowed_networks_removed_from_a_route_through_the_status() -> None:
    """Project administrators may write the status, and only the spec is kept.

    Sources: OpenShift's bootstrap policy and `routeStatusStrategy`.
    """
    few = {"haproxy.router.openshift.io/ip_whitelist": "10.0.0.0/8"}
    before = changed(
        related_objects.route(), {"/spec/to/name": "demo-head-svc", "/metadata/annotations": few}
    )
    assert passes(before)
    after = changed(before, {"/metadata/annotations": None})
    assert refused(after, before, subResource="status") == {"no-open-ingress"}


@pytest.mark.parametrize(
    "value", ["yes", "on", "2", "", " 1", "1 ", "tRUE", "true\n", "false", "\uff11"]
)
def test_41_values_that_ray_reads_as_off(value: str) -> None:
    assert refused(with_env({"name": "RAY_USE_TLS", "value": value})) == TLS_ON
    options = {"env": [{"name": "RAY_USE_TLS", "value": value}]}
    assert refused(ray_cluster(historyServerOptions={"collectorOptions": options})) == TLS_ON


@pytest.mark.parametrize("value", ["Token ", " token", "tokens", "k8s", "on"])
def test_41_authentication_modes_that_ray_reads_as_off(value: str) -> None:
    entry = {"name": "RAY_AUTH_MODE", "value": value}
    assert refused(with_env(entry)) == {"auth-on"}
    assert refused(changed(factory.opted_in_pod(), {"/spec/containers/0/env": [entry]})) == {
        "auth-on"
    }


def test_41_kuberays_own_tls_without_its_feature_gate() -> None:
    """Without the gate, KubeRay ignores `tlsOptions`, and its plaintext pods are refused."""
    cluster = ray_cluster(tlsOptions={"enabled": True})
    assert passes(cluster)
    live = changed(
        cluster, {"/metadata/uid": factory.head_pod()["metadata"]["ownerReferences"][0]["uid"]}
    )
    pod = changed(factory.head_pod(), {"/metadata/labels/raywarden.io~1tls": None})
    assert refused(pod, None, live) == TLS_ON


def test_41_tls_set_up_by_hand_remains() -> None:
    warned, denied = by_both(factory.with_own_tls(ray_cluster()))
    assert "tls-on" in warned & denied
