"""Ray versions: how `rayVersion` and image tags state them, and which a workload states."""

import re
from collections.abc import Iterator

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str
from policies.ray.image import is_ray_image, repository_of, tag_of
from policies.ray.workload import Workload

VERSION = r"^v?([0-9]{1,6})\.([0-9]{1,6})(?:\.([0-9]{1,6}))?(?![0-9])"
_VERSION = re.compile(VERSION)

RayVersion = tuple[int, int, int]

# The version that remedies and examples name.
SUGGESTED = "2.60.0"
# The first version with token authentication.
TOKEN_AUTH_SINCE: RayVersion = (2, 52, 0)
# The first version whose head requires the token that it finds, although RAY_AUTH_MODE is not set.
# Its workers do not (Ray `_private/authentication/authentication_token_setup.py`, ray#66248).
HEAD_AUTH_SINCE: RayVersion = (2, 59, 0)
# The first version whose agent on port 52365 requires the token as well (Ray
# `dashboard/http_server_agent.py`, confirmed by `make e2e`).
AGENT_AUTH_SINCE: RayVersion = (2, 54, 0)
# The first version that asks the API server about its callers' tokens.
KUBERNETES_AUTH_SINCE: RayVersion = (2, 55, 0)


def ray_version(value: str) -> RayVersion | None:
    """The version at the start of `value`; None if there is none.

    `2.52.0`, `2.52`, `2.52.0-py310-gpu` and `v2.52.0rc1` all give (2, 52, 0).
    """
    match = _VERSION.match(value)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def dotted(version: tuple[int, ...]) -> str:
    """(2, 52, 0) -> `2.52.0`."""
    return ".".join(map(str, version))


def image_version(image: str) -> RayVersion | None:
    """The Ray version in the tag of a Ray image, such as `rayproject/ray:2.52.0-gpu`.

    None for other images, whose tags number their own releases.
    """
    name = repository_of(image).rpartition("/")[2]
    if name != "ray" and not name.startswith("ray-"):
        return None
    version = ray_version(tag_of(image))
    if version is None:
        return None
    # Private images often number their own releases from 0 or 1; Ray left version 1 in 2022.
    return version if version[0] > 1 or is_ray_image(image) else None


def versions_of(workload: Workload) -> Iterator[tuple[RayVersion, Pointer]]:
    """Each Ray version that the workload states, with its place in the object.

    Sources: `rayVersion`, and the tags of the Ray images.
    """
    if workload.cluster:
        stated = ray_version(as_str(workload.cluster.spec.get("rayVersion")))
        if stated:
            yield stated, workload.cluster.pointer / "rayVersion"
    # Most containers have the same image.
    known: dict[str, RayVersion | None] = {}
    for container in workload.ray_containers:
        if container.image not in known:
            known[container.image] = image_version(container.image)
        tagged = known[container.image]
        if tagged:
            yield tagged, container.pointer / "image"
