"""Ray pods mount only volumes of the types that the restricted Pod Security Standard allows."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.untyped import as_str, clipped
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload

# Pod Security Standards, restricted, as of Kubernetes 1.37 (k8s.io/pod-security-admission/policy,
# `restrictedVolumes`). A hostPath volume is a matter of `no-host-path`.
_TYPES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
ACCEPTED = _TYPES | {"name", "hostPath"}


class VolumeTypes(Rule):
    """Refuses volumes of other types than the restricted Pod Security Standard allows.

    The allowed types are configMap, csi, downwardAPI, emptyDir, ephemeral, image,
    persistentVolumeClaim, projected and secret. `no-host-path` checks hostPath volumes.
    Why: volumes such as nfs, iscsi and flexVolume name a server or a driver of the author's choice,
    and the node itself mounts it. A gitRepo volume runs git on the node.
    Fix: let the administrator create a PersistentVolume, and mount it with a
    PersistentVolumeClaim.
    """

    id: ClassVar[str] = "volume-types"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if ACCEPTED.issuperset(workload.summary.volume_fields):
            return
        for pod in workload.pods:
            for index, volume in pod.volumes:
                if ACCEPTED.issuperset(volume):
                    continue
                place = pod.spec_pointer / "volumes" / index
                title = f"volume {as_str(volume.get('name'))} of the {pod.title}"
                for kind in sorted(volume.keys() - ACCEPTED):
                    if volume[kind] is not None:
                        yield self.violation(
                            f"{title} has the type {clipped(kind)}",
                            place / kind,
                            "set persistentVolumeClaim: {claimName: NAME} instead of "
                            f"{clipped(kind)}",
                        )
