"""Authors do not use the names and directories of RayWarden."""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, ClassVar

from policies.documents.harmless import Harmless
from policies.documents.paths import kernel_directory, normal_path
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.injection import contract, dashboard_proxy
from policies.injection.contract import RESERVED_PREFIX, TLS_VOLUME, TOKEN_VOLUME, TlsBy
from policies.injection.own_variables import OWN_VARIABLES, variables_of_others
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
_OWN_CONTAINERS = frozenset({ENROLL_CONTAINER, DASHBOARD_PROXY})
_ENV_PREFIX = "RAYWARDEN_"
_OWN_VARIABLES = frozenset(name for name in OWN_VARIABLES if name.startswith(_ENV_PREFIX))
_RENAME = f"use a name that does not begin with {RESERVED_PREFIX}"
_LABEL_PREFIX = "raywarden.io/"
_PLACES = frozenset({"volumeMounts", "volumeDevices"})
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
        yield from self._check_pods(workload)
        yield from self._check_containers(workload, facts)
        yield from self._check_dashboard(workload, facts)
        for group in workload.cluster.groups if workload.cluster else ():
            if "labels" in group.raw:
                labels = _reserved(as_dict(group.raw["labels"]), allowed=None)
                yield from self._report_labels(labels, group.pointer / "labels", group.title)

    def _check_pods(self, workload: Workload) -> Iterator[Violation]:
        # Most pods have equal volumes and labels.
        harmless_volumes, harmless_labels = Harmless(), Harmless()
        for pod in workload.pods:
            own = _own_volumes(pod)
            volumes = (pod.spec.get("volumes"), own)
            if volumes not in harmless_volumes:
                foreign = _foreign_volumes(pod, own)
                yield from self._report_volumes(foreign, pod)
                if not foreign:
                    harmless_volumes.remember(volumes)
            if not workload.cluster or pod.role is PodRole.SUBMITTER:
                continue
            if pod.labels not in harmless_labels:
                labels = _reserved(pod.labels, contract.MANAGED)
                place = pod.pointer / "metadata" / "labels"
                yield from self._report_labels(labels, place, pod.title)
                if not labels:
                    harmless_labels.remember(pod.labels)

    def _check_containers(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # TLS that is set up by hand may use the directory, because Ray's documentation does.
        managed = contract.tls_by(workload) in (TlsBy.RAYWARDEN, TlsBy.NONE)
        ray_containers = set(workload.ray_containers)
        reserved = _reserved_variables(workload)
        harmless = Harmless()
        for container in _containers_of_others(workload, facts):
            if container.name.startswith(RESERVED_PREFIX):
                place = container.pointer / "name"
                yield self.violation(f"{container.title} has a reserved name", place, _RENAME)
            if not reserved.isdisjoint(container.variables.names):
                yield from self._check_env(container, reserved)
            if not _PLACES.isdisjoint(container.raw):
                speaks_ray = container in ray_containers or contract.uses_tls(container)
                yield from self._check_places(container, managed and speaks_ray, workload, harmless)

    def _check_frozen_labels(self, pod: Workload, before: Workload) -> Iterator[Violation]:
        """The labels by which RayWarden manages a pod stay as they were when it was created."""
        for name in {**before.labels, **pod.labels}:
            if name not in _FROZEN and not name.startswith(_LABEL_PREFIX):
                continue
            if pod.labels.get(name) != before.labels.get(name):
                place = Pointer(("metadata", "labels", name))
                message = f"this update changes the label {name} of a pod"
                yield self.violation(message, place, "leave the label unchanged")

    def _report_volumes(
        self, foreign: Sequence[tuple[int, Mapping[str, Any]]], pod: Pod
    ) -> Iterator[Violation]:
        for index, volume in foreign:
            place, title = pod.spec_pointer / "volumes" / index, f"the {pod.title}"
            message = f"volume {volume['name']} of {title} has a reserved name but another source"
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

    def _check_places(
        self, container: Container, uses_certificate: bool, workload: Workload, harmless: Harmless
    ) -> Iterator[Violation]:
        # Most containers have equal mounts.
        mounts = (container.raw.get("volumeMounts"), uses_certificate)
        if mounts not in harmless:
            findings = list(self._check_mounts(container, uses_certificate, workload))
            yield from findings
            if not findings:
                harmless.remember(mounts)
        if "volumeDevices" in container.raw:
            yield from self._check_devices(container, uses_certificate)

    def _check_mounts(
        self, container: Container, uses_certificate: bool, workload: Workload
    ) -> Iterator[Violation]:
        may_lead_elsewhere = _HINT.search(workload.summary.mount_paths)
        for index, mount in container.mounts:
            if mount == contract.TLS_MOUNT and uses_certificate:
                continue
            name, path = as_str(mount.get("name")), as_str(mount.get("mountPath"))
            title = f"{container.title} mounts"
            elsewhere = f"set mountPath: /mnt/{name}, or another"
            if name in _VOLUMES:
                message = f"{title} RayWarden's volume {name}"
                remediation = f"remove {name} from volumeMounts"
            elif uses_certificate and contract.overlaps_tls_directory(path):
                directory = contract.TLS_DIRECTORY
                message = f"{title} {name} at {path}, which overlaps {directory}"
                remediation = f"{elsewhere} directory outside {directory}"
            elif may_lead_elsewhere and ".." in path.split("/"):
                message = f"{title} {name} at {path}, which can lead elsewhere through `..`"
                remediation = f"{elsewhere} path without `..`"
            elif may_lead_elsewhere and _is_of_the_kernel(path, name, workload):
                message = f"{title} {name} at {path}, which belongs to the kernel"
                remediation = f"{elsewhere} path outside /proc, /sys and /dev"
            else:
                continue
            yield self.violation(message, container.pointer / "volumeMounts" / index, remediation)

    def _check_devices(self, container: Container, uses_certificate: bool) -> Iterator[Violation]:
        """A block device is a file that the author can fill, at a path that the author chooses."""
        for index, device in dict_items(container.raw["volumeDevices"]):
            name, path = as_str(device.get("name")), as_str(device.get("devicePath"))
            covers = uses_certificate and contract.overlaps_tls_directory(path)
            if covers or ".." in path.split("/") or normal_path(path)[:1] == ("proc",):
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


def _reserved_variables(workload: Workload) -> Set[str]:
    """The names of variables that begin with RayWarden's prefix."""
    names = workload.summary.variables
    if _ENV_PREFIX not in variables_of_others(workload):
        return names & _OWN_VARIABLES
    return {name for name in names if name.startswith(_ENV_PREFIX)}


def _containers_of_others(workload: Workload, facts: Facts) -> Iterator[Container]:
    """All but RayWarden's containers. `tls-on` checks what the one that enrolls the pod does."""
    for pod in workload.pods:
        for container in pod.containers:
            has_name = container.name in _OWN_CONTAINERS
            if not (has_name and _is_own(container, pod, workload, facts)):
                yield container
    yield from workload.options


def _is_own(container: Container, pod: Pod, workload: Workload, facts: Facts) -> bool:
    if container.name == ENROLL_CONTAINER:
        return container.list_name == "initContainers"
    return dashboard_proxy.is_ours(container, pod, workload, facts)


def _has_own_authorization(pod: Pod, workload: Workload, facts: Facts) -> bool:
    """The annotation is what RayWarden writes, or what was stored of a cluster without a name."""
    before, text = facts.counterpart(pod), pod.annotations[AUTHORIZATION_ANNOTATION]
    if before is not None and before.annotations.get(AUTHORIZATION_ANNOTATION) == text:
        return True
    expected = dashboard_proxy.authorization_of(pod, workload, facts)
    return bool(text == expected)


def _own_volumes(pod: Pod) -> Sequence[Mapping[str, Any]]:
    secret, volumes = contract.own_secret(pod), contract.ENROLLED
    if secret:
        volumes = contract.volumes(secret)
    return (*volumes, *dashboard_proxy.volumes()) if has_dashboard_proxy(pod) else volumes


def _foreign_volumes(
    pod: Pod, own: Sequence[Mapping[str, Any]]
) -> Sequence[tuple[int, Mapping[str, Any]]]:
    """The volumes that have a reserved name but are none of RayWarden's `own`."""
    return [
        (index, volume)
        for index, volume in pod.volumes
        if as_str(volume.get("name")).startswith(RESERVED_PREFIX) and volume not in own
    ]


def _is_of_the_kernel(path: str, volume: str, workload: Workload) -> bool:
    """The mount path is in /proc, /sys or /dev, and no known use needs it there."""
    directory = kernel_directory(path)
    if directory in ("", "proc"):
        return bool(directory)
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
