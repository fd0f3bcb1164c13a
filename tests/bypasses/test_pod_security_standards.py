"""Row 68: checks of the Pod Security Standards that are newer, or that the list did not have."""

from typing import Any

import pytest

from tests.bypasses.admission import HEAD, KINDS, RAY, WORKER, by_both, passes, refused
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster

ACCESS = {"no-host-access"}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")


@pytest.mark.parametrize("handler", ["httpGet", "tcpSocket"])
@pytest.mark.parametrize("host", ["169.254.169.254", "127.0.0.1", "kubernetes.default", " "])
@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_68_probes_and_hooks_with_a_host(kind: Any, place: str, handler: str, host: str) -> None:
    container = f"{place}/workerGroupSpecs/0/template/spec/containers/0"
    action = {handler: {"host": host, "port": 80}}
    for probe in PROBES:
        assert refused(changed(kind(), {f"{container}/{probe}": action})) == ACCESS
    for hook in HOOKS:
        assert refused(changed(kind(), {f"{container}/lifecycle": {hook: action}})) == ACCESS


def test_68_probes_with_a_host_in_every_list_of_containers() -> None:
    probe = {"httpGet": {"host": "10.0.0.1", "port": 80}}
    side = {"name": "side", "image": "mine:1", "livenessProbe": probe}
    for place in (f"{HEAD}/spec/containers/-", f"{WORKER}/spec/initContainers"):
        value = side if place.endswith("-") else [{**side, "restartPolicy": "Always"}]
        assert refused(changed(ray_cluster(), {place: value})) == ACCESS
    hook = {"lifecycle": {"preStop": {"httpGet": {"host": "10.0.0.1", "port": 80}}}}
    pod = changed(factory.worker_pod(), {"/spec/containers/0/lifecycle": hook["lifecycle"]})
    assert refused(pod) == ACCESS
    submitter = factory.submitter_pod()
    assert refused(changed(submitter, {"/spec/containers/0/startupProbe": probe})) == ACCESS


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"port": 8265, "path": "/"}},
        {"httpGet": {"port": 8265, "host": ""}},
        {"httpGet": {"port": 8265, "httpHeaders": [{"name": "Host", "value": "ray"}]}},
        {"tcpSocket": {"port": 6379}},
        {"grpc": {"port": 6379}},
        {"exec": {"command": ["true"]}},
    ],
)
def test_68_other_probes_are_allowed(probe: Object) -> None:
    assert passes(changed(ray_cluster(), {f"{RAY}/{name}": probe for name in PROBES}))
    hooks: Object = {name: probe for name in HOOKS}
    assert passes(changed(ray_cluster(), {f"{RAY}/lifecycle": hooks}))


@pytest.mark.parametrize(
    "source",
    [
        {"flexVolume": {"driver": "mine/driver"}},
        {"gitRepo": {"repository": "https://mine.example/repo.git"}},
        {"nfs": {"server": "10.0.0.1", "path": "/"}},
        {"iscsi": {"targetPortal": "10.0.0.1", "iqn": "iqn", "lun": 0}},
        {"cephfs": {"monitors": ["10.0.0.1"]}},
        {"azureFile": {"secretName": "mine", "shareName": "mine"}},
        {"fc": {"lun": 0}},
        {"portworxVolume": {"volumeID": "mine"}},
        {"awsElasticBlockStore": {"volumeID": "mine"}},
        {"ofTheFuture": {}},
    ],
)
def test_68_volumes_of_restricted_types(source: Object) -> None:
    volume = {"name": "mine", **source}
    for document in (
        changed(ray_cluster(), {f"{HEAD}/spec/volumes": [volume]}),
        changed(ray_cluster(), {f"{WORKER}/spec/volumes": [volume]}),
        changed(factory.worker_pod(), {"/spec/volumes": [volume]}),
        changed(factory.submitter_pod(), {"/spec/volumes": [volume]}),
    ):
        warned, denied = by_both(document)
        assert "volume-types" in warned & denied


@pytest.mark.parametrize(
    "source",
    [
        {"configMap": {"name": "a"}},
        {"csi": {"driver": "gcsfuse.csi.storage.gke.io"}},
        {"downwardAPI": {"items": []}},
        {"emptyDir": {"medium": "Memory"}},
        {"ephemeral": {"volumeClaimTemplate": {}}},
        {"image": {"reference": "rayproject/models:1"}},
        {"persistentVolumeClaim": {"claimName": "a"}},
        {"projected": {"sources": []}},
        {"secret": {"secretName": "a"}},
        {"emptyDir": {}, "nfs": None},
        {},
    ],
)
def test_68_other_volumes_are_allowed(source: Object) -> None:
    volume = {"name": "mine", **source}
    document = changed(ray_cluster(), {f"{HEAD}/spec/volumes": [volume]})
    assert "volume-types" not in by_both(document)[0]


@pytest.mark.parametrize(
    "name", ["net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat"]
)
def test_68_sysctls_that_became_safe(name: str) -> None:
    place = f"{HEAD}/spec/securityContext"
    assert passes(changed(ray_cluster(), {place: {"sysctls": [{"name": name, "value": "1"}]}}))


def test_68_an_unmasked_proc_in_a_user_namespace() -> None:
    """Baseline allows it since Kubernetes 1.35, and restricted does not."""
    unmasked = changed(ray_cluster(), {f"{RAY}/securityContext": {"procMount": "Unmasked"}})
    assert refused(unmasked) == {"no-privileged"}
    warned, denied = by_both(changed(unmasked, {f"{HEAD}/spec/hostUsers": False}))
    assert "no-privileged" in warned & denied
    assert refused(changed(unmasked, {f"{WORKER}/spec/hostUsers": False})) == {"no-privileged"}


def test_68_a_missing_seccomp_profile_remains() -> None:
    """The restricted standard asks for one; RayWarden only sets it where it mutates the pods."""
    kuberay_tls = ray_cluster(tlsOptions={"enabled": True})
    profile = {"seccompProfile": {"type": "RuntimeDefault"}}
    with_profile = changed(kuberay_tls, {f"{HEAD}/spec/securityContext": profile})
    assert by_both(kuberay_tls) == by_both(with_profile)
