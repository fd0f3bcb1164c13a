"""Names and places that RayWarden keeps for itself."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str
from policies.injection import contract
from policies.injection.contract import RESERVED_PREFIX, TLS_VOLUME, TOKEN_VOLUME, TlsBy
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import ENROLL_CONTAINER, Container, Pod, PodRole
from policies.ray.workload import GROUP_LABEL, NODE_TYPE_LABEL, RAY_CLUSTER_LABEL, Workload

_OUR_VOLUMES = frozenset({TLS_VOLUME, TOKEN_VOLUME})
_ENV_PREFIX = "RAYWARDEN_"
_RENAME = f"give it a name that does not begin with {RESERVED_PREFIX}"
_LABEL_PREFIX = "raywarden.io/"
_FROZEN = frozenset({RAY_CLUSTER_LABEL, NODE_TYPE_LABEL, GROUP_LABEL})


class ReservedNames(Rule):
    """Refuses RayWarden's names used for something else, and mounts that hide the certificate's directory.

    Reserved are volumes and containers called `raywarden-...`, variables called `RAYWARDEN_...`, labels called
    `raywarden.io/...` in templates and groups, and in clusters under RayWarden's care the directory /etc/ray/tls with
    all above and below it. The labels that put a pod into that care cannot be changed later.
    Why: another volume under our name, or over our directory, gives Ray a certificate of somebody else's choice; a
    sidecar that mounts our volume reads the pod's private key. One that speaks to Ray may have it: with all four TLS
    variables set, and the volume mounted, as RayWarden does it in Ray's own containers.
    Fix: rename it, or mount it elsewhere.
    """

    id: ClassVar[str] = "reserved-names"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # A hand-made set-up may use the directory: it is Ray's documented one.
        ours = contract.tls_by(workload) in (TlsBy.RAYWARDEN, TlsBy.NOBODY)
        ray_containers = {container.pointer for container, _ in workload.ray_containers}
        if facts.before and workload.kind == "Pod":
            yield from self._check_frozen(workload, facts.before)
        for pod in workload.pods:
            yield from self._check_volumes(pod)
            if workload.cluster and pod.role is not PodRole.SUBMITTER:
                place = pod.pointer / "metadata" / "labels"
                yield from self._check_labels(
                    pod.labels, place, f"the {pod.title}", contract.MANAGED
                )
        for container, title in workload.containers:
            if container.name == ENROLL_CONTAINER and container.listed == "initContainers":
                continue
            if container.name.startswith(RESERVED_PREFIX):
                yield self.violation(
                    f"{title} has a reserved name", container.pointer / "name", _RENAME
                )
            yield from self._check_env(container, title)
            ray = ours and (container.pointer in ray_containers or contract.speaks_tls(container))
            yield from self._check_mounts(container, title, ray)
        for group in workload.cluster.groups if workload.cluster else ():
            labels = as_dict(group.raw.get("labels"))
            yield from self._check_labels(
                labels, group.pointer / "labels", f"the {group.title}", allowed=None
            )

    def _check_frozen(self, pod: Workload, before: Workload) -> Iterator[Violation]:
        """The labels that put a pod into our care stay as they were when it came."""
        for name in {**before.labels, **pod.labels}:
            if (name in _FROZEN or name.startswith(_LABEL_PREFIX)) and pod.labels.get(
                name
            ) != before.labels.get(name):
                pointer = Pointer(("metadata", "labels", name))
                yield self.violation(
                    f"this update changes the label {name} of a pod", pointer, "leave it as it was"
                )

    def _check_volumes(self, pod: Pod) -> Iterator[Violation]:
        expected = {volume["name"]: volume for volume in contract.volumes(contract.own_secret(pod))}
        for index, volume in pod.volumes:
            name = as_str(volume.get("name"))
            if name.startswith(RESERVED_PREFIX) and volume != expected.get(name):
                message = f"volume {name} of the {pod.title} has a reserved name and another source"
                yield self.violation(message, pod.spec_pointer / "volumes" / index, _RENAME)

    def _check_labels(
        self, labels: Mapping[str, Any], pointer: Pointer, title: str, allowed: str | None
    ) -> Iterator[Violation]:
        """KubeRay puts the labels of templates and groups on pods, where ours say whose care a pod is in."""
        for name, value in labels.items():
            ours = name == contract.MARKER_LABEL and value == allowed
            if name.startswith(_LABEL_PREFIX) and not ours:
                yield self.violation(
                    f"{title} sets the label {name}", pointer / name, f"delete {name}"
                )

    def _check_env(self, container: Container, title: str) -> Iterator[Violation]:
        for name in sorted(
            name for name in container.variable_names if name.startswith(_ENV_PREFIX)
        ):
            entries = container.variables[name]
            if len(entries) == 1 and contract.is_pod_ip(entries[0][1]):
                continue
            message = f"{title} sets {name}, a reserved name"
            yield self.violation(
                message, container.pointer / "env" / entries[-1][0], f"delete {name}"
            )

    def _check_mounts(self, container: Container, title: str, ray: bool) -> Iterator[Violation]:
        for index, mount in container.mounts:
            name, path = as_str(mount.get("name")), as_str(mount.get("mountPath"))
            pointer = container.pointer / "volumeMounts" / index
            if name in _OUR_VOLUMES:
                if not (ray and mount == contract.TLS_MOUNT):
                    yield self.violation(
                        f"{title} mounts RayWarden's volume {name}",
                        pointer,
                        f"delete {name} from volumeMounts",
                    )
            elif ray and contract.overlaps_tls_directory(path):
                message = f"{title} mounts {name} at {path}, over or under {contract.TLS_DIRECTORY}"
                yield self.violation(
                    message,
                    pointer,
                    f"write mountPath: /mnt/{name}, or any place apart from {contract.TLS_DIRECTORY}",
                )
