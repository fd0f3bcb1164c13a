"""Authors do not use the names and directories of RayWarden."""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, ClassVar

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.injection import contract, dashboard_proxy
from policies.injection.contract import RESERVED_PREFIX, TLS_VOLUME, TOKEN_VOLUME, TlsBy
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.dashboard_proxy import (
    AUTHORIZATION_ANNOTATION,
    DASHBOARD_PROXY,
    has_dashboard_proxy,
)
from policies.ray.membership import GROUP_LABEL, NODE_TYPE_LABEL, RAY_CLUSTER_LABEL
from policies.ray.pod import ENROLL_CONTAINER, Container, Pod, PodRole
from policies.ray.workload import Workload

_VOLUMES = frozenset({TLS_VOLUME, TOKEN_VOLUME, *dashboard_proxy.VOLUMES})
# The volumes of a pod that enrolls.
_ENROLLED: Sequence[Mapping[str, Any]] = tuple(contract.volumes(""))
_ENV_PREFIX = "RAYWARDEN_"
_RENAME = f"use a name that does not begin with {RESERVED_PREFIX}"
_LABEL_PREFIX = "raywarden.io/"
# Directories of the kernel. A link such as /proc/self/root leads to the container's root directory,
# so a mount below it can cover the certificates (seen with runc 1.1.5).
_KERNEL = frozenset({"proc", "sys", "dev"})
# Files in /proc in which LXCFS shows a container its own limits.
_OF_LXCFS = frozenset(
    {"cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime"}
)
# Shared memory, message queues and huge pages are volumes that Kubernetes and Ray document.
_MEMORY = ("shm", "mqueue", "hugepages")
# Most mount paths have none of these, and every container has mounts.
_HINT = re.compile(r"proc|sys|dev(?!/shm$)|\.\.", re.MULTILINE)
_FROZEN = frozenset({RAY_CLUSTER_LABEL, NODE_TYPE_LABEL, GROUP_LABEL})


class ReservedNames(Rule):
    """Refuses names that belong to RayWarden, and mounts that hide the certificate directory.

    Reserved are volumes and containers named `raywarden-...`, variables named `RAYWARDEN_...`, and
    labels named `raywarden.io/...` in templates and groups. In clusters that RayWarden manages, the
    directory /etc/ray/tls and every directory above or below it is reserved as well. The labels by
    which RayWarden manages a pod cannot be changed later. A sidecar may mount RayWarden's volume
    only to connect to Ray: it must set all four TLS variables, and mount the volume exactly as
    RayWarden does in Ray's own containers. No container may mount volumes at paths with `..` or in
    /proc, /sys and /dev, except shared memory, huge pages, the files of LXCFS and, in /sys and
    /dev, directories of the node that `no-host-path` allows.
    Why: another volume with RayWarden's name, or over its directory, gives Ray a certificate of the
    author's choice. A container that mounts RayWarden's volume can read the private key of the pod.
    Links such as /proc/self/root lead a mount to another directory than its path says.
    Fix: use another name, or mount the volume in another directory.
    """

    id: ClassVar[str] = "reserved-names"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if facts.before and workload.kind == "Pod":
            yield from self._check_frozen_labels(workload, facts.before)
        for pod in workload.pods:
            yield from self._check_volumes(pod)
            if workload.cluster and pod.role is not PodRole.SUBMITTER:
                labels = _reserved(pod.labels, contract.MANAGED)
                if labels:
                    place = pod.pointer / "metadata" / "labels"
                    yield from self._report_labels(labels, place, pod.title)
        yield from self._check_containers(workload, facts)
        yield from self._check_dashboard(workload, facts)
        for group in workload.cluster.groups if workload.cluster else ():
            labels = _reserved(as_dict(group.raw.get("labels")), allowed=None)
            if labels:
                yield from self._report_labels(labels, group.pointer / "labels", group.title)

    def _check_containers(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # TLS that is set up by hand may use the directory, because Ray's documentation does.
        managed = contract.tls_by(workload) in (TlsBy.RAYWARDEN, TlsBy.NONE)
        ray_containers = set(workload.ray_containers)
        reserved = {name for name in workload.summary.variables if name.startswith(_ENV_PREFIX)}
        own = _own_containers(workload, facts)
        for container in workload.containers:
            if container in own:
                continue
            if container.name.startswith(RESERVED_PREFIX):
                place = container.pointer / "name"
                yield self.violation(f"{container.title} has a reserved name", place, _RENAME)
            if reserved:
                yield from self._check_env(container, reserved)
            speaks_ray = container in ray_containers or contract.uses_tls(container)
            if container.mounts:
                yield from self._check_mounts(container, managed and speaks_ray, workload)
            if "volumeDevices" in container.raw:
                yield from self._check_devices(container, managed and speaks_ray)

    def _check_frozen_labels(self, pod: Workload, before: Workload) -> Iterator[Violation]:
        """The labels by which RayWarden manages a pod stay as they were when it was created."""
        for name in {**before.labels, **pod.labels}:
            if name not in _FROZEN and not name.startswith(_LABEL_PREFIX):
                continue
            if pod.labels.get(name) != before.labels.get(name):
                place = Pointer(("metadata", "labels", name))
                message = f"this update changes the label {name} of a pod"
                yield self.violation(message, place, "leave the label unchanged")

    def _check_volumes(self, pod: Pod) -> Iterator[Violation]:
        for index, volume in pod.volumes:
            name = as_str(volume.get("name"))
            if name.startswith(RESERVED_PREFIX) and volume not in _own_volumes(pod):
                place = pod.spec_pointer / "volumes" / index
                message = f"volume {name} of the {pod.title} has a reserved name but another source"
                yield self.violation(message, place, _RENAME)

    def _report_labels(
        self, names: Sequence[str], pointer: Pointer, title: str
    ) -> Iterator[Violation]:
        """KubeRay copies these labels to pods, where RayWarden's labels control the protection."""
        for name in names:
            message = f"the {title} sets the label {name}, which is reserved for RayWarden"
            yield self.violation(message, pointer / name, f"remove {name}")

    def _check_env(self, container: Container, reserved: Set[str]) -> Iterator[Violation]:
        for name in sorted(reserved & container.variables.names):
            entries = container.variables.of(name)
            if len(entries) == 1 and contract.is_pod_ip(entries[0][1]):
                continue
            message = f"{container.title} sets {name}, which is reserved for RayWarden"
            place = container.pointer / "env" / entries[-1][0]
            yield self.violation(message, place, f"remove {name}")

    def _check_dashboard(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """What the proxy asks for, and the address that the dashboard leaves to it."""
        for pod in workload.pods:
            if AUTHORIZATION_ANNOTATION not in pod.annotations:
                continue
            place = pod.pointer / "metadata" / "annotations" / AUTHORIZATION_ANNOTATION
            title = f"the {pod.title}"
            can_be_ours = workload.kind == "RayCluster" or workload.is_kuberay_pod
            if not (pod.role is PodRole.HEAD and can_be_ours):
                message = (
                    f"{title} sets {AUTHORIZATION_ANNOTATION}, which is reserved for RayWarden"
                )
                yield self.violation(message, place, f"remove {AUTHORIZATION_ANNOTATION}")
            elif not _has_own_authorization(pod, workload, facts):
                message = f"{title} has another {AUTHORIZATION_ANNOTATION} than RayWarden writes"
                yield self.violation(message, place, f"remove {AUTHORIZATION_ANNOTATION}")
        cluster = workload.cluster
        if cluster is None or cluster.head.pod.container(DASHBOARD_PROXY) is None:
            return
        host = cluster.head.start_params.get("dashboard-host")
        if host != dashboard_proxy.LOOPBACK:
            yield self.violation(
                "the head sets another dashboard-host than 127.0.0.1, but RayWarden's proxy "
                "listens on the dashboard's port",
                cluster.head.pointer / "rayStartParams" / "dashboard-host",
                "set dashboard-host: 127.0.0.1",
                evidence=as_str(host),
            )

    def _check_mounts(
        self, container: Container, uses_certificate: bool, workload: Workload
    ) -> Iterator[Violation]:
        may_lead_elsewhere = _HINT.search(workload.summary.mount_paths)
        for index, mount in container.mounts:
            if mount == contract.TLS_MOUNT and uses_certificate:
                continue
            name, path = as_str(mount.get("name")), as_str(mount.get("mountPath"))
            place, title = container.pointer / "volumeMounts" / index, container.title
            if name in _VOLUMES:
                message = f"{title} mounts RayWarden's volume {name}"
                yield self.violation(message, place, f"remove {name} from volumeMounts")
            elif uses_certificate and contract.overlaps_tls_directory(path):
                directory = contract.TLS_DIRECTORY
                yield self.violation(
                    f"{title} mounts {name} at {path}, which overlaps {directory}",
                    place,
                    f"set mountPath: /mnt/{name}, or another directory outside {directory}",
                )
            elif may_lead_elsewhere and ".." in path.split("/"):
                yield self.violation(
                    f"{title} mounts {name} at {path}, which can lead elsewhere through `..`",
                    place,
                    f"set mountPath: /mnt/{name}, or another path without `..`",
                )
            elif may_lead_elsewhere and _is_of_the_kernel(path, name, workload):
                yield self.violation(
                    f"{title} mounts {name} at {path}, which belongs to the kernel",
                    place,
                    f"set mountPath: /mnt/{name}, or another path outside /proc, /sys and /dev",
                )

    def _check_devices(self, container: Container, uses_certificate: bool) -> Iterator[Violation]:
        """A block device is a file that the author can fill, at a path that the author chooses."""
        for index, device in dict_items(container.raw["volumeDevices"]):
            name, path = as_str(device.get("name")), as_str(device.get("devicePath"))
            covers = uses_certificate and contract.overlaps_tls_directory(path)
            if covers or ".." in path.split("/") or contract.normal_path(path)[:1] == ("proc",):
                yield self.violation(
                    f"{container.title} places the device {name} at {path}, where it can hide "
                    "other files",
                    container.pointer / "volumeDevices" / index,
                    f"set devicePath: /dev/{name}, or another path in /dev",
                )


def _reserved(labels: Mapping[str, Any], allowed: str | None) -> Sequence[str]:
    """The labels that only RayWarden may set.

    `allowed` is the only value that the marker label may have; None allows no marker label.
    """
    names = [name for name in labels if name.startswith(_LABEL_PREFIX)]
    return [name for name in names if name != contract.MARKER_LABEL or labels[name] != allowed]


def _own_containers(workload: Workload, facts: Facts) -> Set[Container]:
    """RayWarden's containers. `tls-on` checks what the one that enrolls the pod does."""
    return {
        container
        for pod in workload.pods
        for container in pod.containers
        if (container.name == ENROLL_CONTAINER and container.list_name == "initContainers")
        or dashboard_proxy.is_ours(container, pod, workload, facts)
    }


def _has_own_authorization(pod: Pod, workload: Workload, facts: Facts) -> bool:
    """The annotation is what RayWarden writes, or what was stored of a cluster without a name."""
    before, text = facts.counterpart(pod), pod.annotations[AUTHORIZATION_ANNOTATION]
    if before is not None and before.annotations.get(AUTHORIZATION_ANNOTATION) == text:
        return True
    expected = dashboard_proxy.authorization_of(pod, workload, facts)
    return bool(text == expected)


def _own_volumes(pod: Pod) -> Sequence[Mapping[str, Any]]:
    secret, volumes = contract.own_secret(pod), _ENROLLED
    if secret:
        volumes = tuple(contract.volumes(secret))
    return (*volumes, *dashboard_proxy.volumes()) if has_dashboard_proxy(pod) else volumes


def _is_of_the_kernel(path: str, volume: str, workload: Workload) -> bool:
    """The mount path is in /proc, /sys or /dev, and no known use needs it there."""
    parts = contract.normal_path(path)
    if not parts or parts[0] not in _KERNEL:
        return False
    root, *rest = parts
    if root == "proc":
        return not (len(rest) == 1 and rest[0] in _OF_LXCFS)
    if root == "dev" and rest and rest[0].startswith(_MEMORY):
        return False
    return volume not in _host_paths(workload)


def _host_paths(workload: Workload) -> set[str]:
    """The names of hostPath volumes, in any pod: `no-host-path` says which of them are allowed."""
    names: set[str] | None = workload.memo.get("host_path_volumes")
    if names is None:
        names = workload.memo["host_path_volumes"] = {
            as_str(volume.get("name"))
            for pod in workload.pods
            for _, volume in pod.volumes
            if volume.get("hostPath") is not None
        }
    return names
