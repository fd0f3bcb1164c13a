"""Names and places that RayWarden keeps for itself."""

from collections.abc import Iterator
from typing import ClassVar

from policies import contract
from policies.contract import RESERVED_PREFIX, TLS_VOLUME, TOKEN_VOLUME, TlsBy
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.pod import ENROLL_CONTAINER, Container, Pod
from policies.reading import mapping, text
from policies.workload import Workload

_OUR_VOLUMES = frozenset({TLS_VOLUME, TOKEN_VOLUME})
_ENV_PREFIX = "RAYWARDEN_"


class ReservedNames(Rule):
    """Refuses RayWarden's names used for something else, and mounts that hide the certificate's directory.

    Reserved are volumes and containers called `raywarden-...`, variables called `RAYWARDEN_...`, the label
    `raywarden.io/tls`, and in clusters under RayWarden's care the directory /etc/ray/tls with all above and below it.
    Why: another volume under our name, or over our directory, gives Ray a certificate of somebody else's choice; a
    sidecar that mounts our volume reads the pod's private key.
    Fix: rename it, or mount it elsewhere.
    """

    id: ClassVar[str] = "reserved-names"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # A hand-made set-up may use the directory: it is Ray's documented one.
        ours = contract.tls_by(workload) in (TlsBy.RAYWARDEN, TlsBy.NOBODY)
        ray_containers = {container.pointer for container, _ in workload.ray_containers} if ours else set()
        for pod in workload.pods:
            yield from self._check_volumes(pod)
            yield from self._check_labels(pod)
        for container, title in workload.containers:
            if container.name == ENROLL_CONTAINER and container.listed == "initContainers":
                continue
            if container.name.startswith(RESERVED_PREFIX):
                yield self.violation(f"{title} has a reserved name", container.pointer / "name", "rename it")
            yield from self._check_env(container, title)
            yield from self._check_mounts(container, title, container.pointer in ray_containers)
        for group in workload.cluster.groups if workload.cluster else ():
            marker = mapping(group.raw.get("labels")).get(contract.MARKER_LABEL)
            if marker is not None:
                pointer = group.pointer / "labels" / contract.MARKER_LABEL
                yield self.violation(f"the {group.title} sets {contract.MARKER_LABEL}", pointer, "delete the label")

    def _check_volumes(self, pod: Pod) -> Iterator[Violation]:
        expected = {volume["name"]: volume for volume in contract.volumes(contract.own_secret(pod))}
        for index, volume in pod.volumes:
            name = text(volume.get("name"))
            if name.startswith(RESERVED_PREFIX) and volume != expected.get(name):
                what = f"volume {name} of the {pod.title} has a reserved name and another source"
                yield self.violation(what, pod.spec_pointer / "volumes" / index, "rename the volume")

    def _check_labels(self, pod: Pod) -> Iterator[Violation]:
        marker = pod.labels.get(contract.MARKER_LABEL)
        if marker not in (None, contract.MANAGED):
            pointer = pod.pointer / "metadata" / "labels" / contract.MARKER_LABEL
            yield self.violation(f"the {pod.title} sets {contract.MARKER_LABEL}", pointer, "delete the label")

    def _check_env(self, container: Container, title: str) -> Iterator[Violation]:
        for name, entries in container.variables.items():
            if not name.startswith(_ENV_PREFIX) or [entry for _, entry in entries] == [contract.POD_IP_VARIABLE]:
                continue
            what = f"{title} sets {name}, a reserved name"
            yield self.violation(what, container.pointer / "env" / entries[-1][0], f"delete {name}")

    def _check_mounts(self, container: Container, title: str, ray: bool) -> Iterator[Violation]:
        for index, mount in container.mounts:
            name, path = text(mount.get("name")), text(mount.get("mountPath"))
            pointer = container.pointer / "volumeMounts" / index
            if name in _OUR_VOLUMES:
                if not (ray and mount == contract.TLS_MOUNT):
                    yield self.violation(f"{title} mounts RayWarden's volume {name}", pointer, "delete the mount")
            elif ray and contract.overlaps_tls_directory(path):
                what = f"{title} mounts {name} at {path}, over or under {contract.TLS_DIRECTORY}"
                yield self.violation(what, pointer, "mount it elsewhere")
