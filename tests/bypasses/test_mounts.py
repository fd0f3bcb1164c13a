"""Rows 8, 66 and 67: files and directories that are mounted over those of the image."""

from typing import Any

import pytest

from tests.bypasses.admission import (
    HEAD,
    KINDS,
    RAY,
    WORKER,
    passes,
    refused,
    refused_with_derived,
)
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster

INTACT = {"start-command-intact"}
NAMES = {"reserved-names"}
SITE = "/home/ray/anaconda3/lib/python3.9/site-packages"
VOLUME = {"name": "mine", "configMap": {"name": "mine"}}


def mounting(path: str, **fields: str) -> Object:
    mount = {"name": "mine", "mountPath": path, **fields}
    return changed(
        ray_cluster(), {f"{HEAD}/spec/volumes": [VOLUME], f"{RAY}/volumeMounts": [mount]}
    )


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/etc/ld.so.preload", {"subPath": "preload"}),
        ("/etc/ld.so.preload/", {"subPathExpr": "$(NAME)"}),
        ("//etc/./ld.so.preload", {}),
        ("etc/ld.so.preload", {}),
        (f"{SITE}/sitecustomize.py", {"subPath": "sitecustomize.py"}),
        (f"{SITE}/sitecustomize", {}),
        (f"{SITE}/sitecustomize/__init__.py", {"subPath": "x"}),
        ("/anywhere/usercustomize/inner/", {}),
        (f"{SITE}/sitecustomize.cpython-39-x86_64-linux-gnu.so", {"subPath": "x"}),
        (f"{SITE}/usercustomize.py//", {"subPath": "x"}),
        ("/home/ray/.local/lib/python3.9/site-packages/usercustomize.pyc", {"subPath": "x"}),
        (f"{SITE}/mine.pth", {"subPath": "mine.pth"}),
        ("/usr/lib/python3/dist-packages/mine.pth", {"subPath": "mine.pth"}),
        ("/home/ray/anaconda3/pyvenv.cfg", {"subPath": "x"}),
    ],
)
def test_66_files_that_run_code_in_every_process(path: str, fields: dict[str, str]) -> None:
    assert refused(mounting(path, **fields)) == INTACT
    mount = {"name": "mine", "mountPath": path, **fields}
    worker = {
        f"{WORKER}/spec/volumes": [VOLUME],
        f"{WORKER}/spec/containers/0/volumeMounts": [mount],
    }
    assert refused(changed(ray_cluster(), worker)) == INTACT
    pod = {"/spec/volumes": [VOLUME], "/spec/containers/0/volumeMounts": [mount]}
    assert refused(changed(factory.worker_pod(), pod)) == INTACT
    options = {"volumeMounts": [mount]}
    autoscaling = ray_cluster(enableInTreeAutoscaling=True, autoscalerOptions=options)
    assert refused(changed(autoscaling, {f"{HEAD}/spec/volumes": [VOLUME]})) == INTACT


@pytest.mark.parametrize("path", ["/etc", "/etc/", "/", "/x/../etc"])
def test_66_directories_around_those_files(path: str) -> None:
    assert refused(mounting(path)) >= INTACT
    by_hand = factory.with_own_tls(mounting(path))
    assert refused(by_hand) >= INTACT, "also where the author set up TLS"


@pytest.mark.parametrize(
    "path",
    [
        # PyTorch stores models in files with this ending.
        "/models/resnet50.pth",
        "/models/site-packages/checkpoints/resnet50.pth",
        "/home/ray/site.py",
        "/etc/ssl/certs/corporate.crt",
        "/home/ray/sitecustomizer.py",
    ],
)
def test_66_other_files_are_allowed(path: str) -> None:
    assert passes(mounting(path, subPath="x"))


@pytest.mark.parametrize(
    "path",
    [
        "/home/ray/anaconda3/bin/ray",
        "/etc/ssl/openssl.cnf",
        f"{SITE}/ray/__init__.py",
        "/home/ray/.local",
        SITE,
        "/home/ray/.bashrc",
    ],
)
def test_66_other_files_of_the_image_remain(path: str) -> None:
    """Every program, library and configuration of the image can be replaced in one's own pod."""
    assert passes(mounting(path))


def test_66_home_remains() -> None:
    """Python reads packages below HOME, as it does below PYTHONUSERBASE."""
    assert passes(changed(ray_cluster(), {f"{RAY}/env": [{"name": "HOME", "value": "/mnt/mine"}]}))


@pytest.mark.parametrize(
    "path",
    [
        "/proc/self/root/etc/ray/tls",
        "/proc/1/root/etc/ray/tls",
        "/proc/thread-self/root/etc/ray/tls",
        "/proc/1/task/1/root/etc/ray/tls/ca.crt",
        "/proc/self/cwd",
        "//proc//self/root/etc/ray/tls/",
        "proc/self/root/etc/ray/tls",
        "/./proc/self/root/etc/ray/tls",
        "/proc",
        "/proc/",
        "/proc/cpuinfo/x",
        "/proc/sys/kernel/core_pattern",
        "/sys",
        "/sys/fs/cgroup",
        "/dev",
        "/dev/fd",
        "/dev/fd/../root/etc/ray/tls",
        "/dev/shm/../fd",
        # Images have the links /etc/mtab -> /proc/mounts and /var/run -> /run.
        "/etc/mtab/../root/etc/ray/tls",
        "/var/run/../etc/ray/tls",
        "/var/run/../etc/ld.so.preload",
        "/mnt/a/..",
    ],
)
def test_67_paths_that_lead_elsewhere(path: str) -> None:
    assert refused(mounting(path)) >= NAMES
    mount = {"name": "mine", "mountPath": path}
    pod = {"/spec/volumes/-": VOLUME, "/spec/containers/0/volumeMounts/-": mount}
    stored = changed(
        factory.worker_pod(), {"/spec/volumes": [], "/spec/containers/0/volumeMounts": []}
    )
    assert refused(changed(stored, pod)) >= NAMES
    side = {"name": "side", "image": "mine:1", "volumeMounts": [mount]}
    sidecar = {f"{HEAD}/spec/volumes": [VOLUME], f"{HEAD}/spec/containers/-": side}
    assert refused(changed(ray_cluster(), sidecar)) == NAMES


@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_67_in_every_kind(kind: Any, place: str) -> None:
    template = f"{place}/headGroupSpec/template/spec"
    mount = {"name": "mine", "mountPath": "/proc/self/root/etc/ray/tls"}
    change = {f"{template}/volumes": [VOLUME], f"{template}/containers/0/volumeMounts": [mount]}
    assert refused_with_derived(changed(kind(), change))[0] >= NAMES


@pytest.mark.parametrize(
    "path",
    [
        "/dev/shm",
        "/dev/shm/",
        "/dev/hugepages",
        "/dev/hugepages-2Mi",
        "/dev/hugepages-1Gi",
        "/dev/mqueue",
        "/device",
        "/system",
        "/process",
        "/mnt/proc/self/root",
        "/data/..x/y",
        # LXCFS shows a container its own limits in these files.
        "/proc/cpuinfo",
        "/proc/meminfo",
        "/proc/uptime",
    ],
)
def test_67_common_mounts_are_allowed(path: str) -> None:
    assert passes(mounting(path))


@pytest.mark.parametrize("path", ["/dev/infiniband", "/dev/fuse", "/dev/dri", "/sys/fs/cgroup"])
def test_67_devices_that_the_administrator_allows(path: str) -> None:
    """A hostPath volume is a matter of `no-host-path`, which knows the allowed prefixes."""
    document = changed(
        ray_cluster(),
        {
            f"{HEAD}/spec/volumes": [{"name": "mine", "hostPath": {"path": path}}],
            f"{RAY}/volumeMounts": [{"name": "mine", "mountPath": path, "readOnly": True}],
        },
    )
    assert refused(document) == {"no-host-path"}
    parameters = {"parameters": {"allowedPrefixes": ["/dev", "/sys/fs/cgroup"]}}
    assert passes(document, policy={"rules": {"no-host-path": parameters}})
    on_proc = changed(document, {f"{RAY}/volumeMounts/0/mountPath": "/proc/self/root/etc/ray/tls"})
    assert refused(on_proc, policy={"rules": {"no-host-path": parameters}}) >= NAMES


@pytest.mark.parametrize(
    "path", ["/etc/ray/tls/ca.crt", "/proc/self/root/etc/ray/tls/ca.crt", "/dev/../etc/ray/tls/x"]
)
def test_67_block_devices(path: str) -> None:
    claim = {"name": "mine", "persistentVolumeClaim": {"claimName": "raw"}}
    devices = f"{RAY}/volumeDevices"
    document = changed(ray_cluster(), {f"{HEAD}/spec/volumes": [claim], devices: []})
    assert (
        refused(changed(document, {f"{devices}/-": {"name": "mine", "devicePath": path}})) == NAMES
    )
    assert passes(changed(document, {f"{devices}/-": {"name": "mine", "devicePath": "/dev/xvda"}}))


def test_08_a_symbolic_link_in_a_volume_or_image_remains() -> None:
    """Admission does not see what is in a volume, and the runtime follows links."""
    assert passes(mounting("/mnt/mine/link"))


@pytest.mark.parametrize("name", ["PYTHONPLATLIBDIR", "OPENSSL_ENGINES"])
def test_66_the_same_by_variable(name: str) -> None:
    entry = {"name": name, "value": "../../mnt/mine"}
    assert refused(changed(ray_cluster(), {f"{RAY}/env": [entry]})) == INTACT
