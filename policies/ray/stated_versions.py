"""Which Ray a workload says it runs."""

from collections.abc import Iterator

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str
from policies.ray.version import RayVersion, image_version, ray_version
from policies.ray.workload import Workload


def versions_of(workload: Workload) -> Iterator[tuple[RayVersion, Pointer]]:
    """Each version that is known, with the place it stands at: `rayVersion`, and the tags of Ray's images."""
    if workload.cluster and (
        version := ray_version(as_str(workload.cluster.spec.get("rayVersion")))
    ):
        yield version, workload.cluster.pointer / "rayVersion"
    for container, _ in workload.ray_containers:
        if version := image_version(container.image):
            yield version, container.pointer / "image"
