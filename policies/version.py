"""Ray versions as they stand in `rayVersion` and in image tags."""

import re

_VERSION = re.compile(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?!\d)")

RayVersion = tuple[int, int, int]


def ray_version(value: str) -> RayVersion | None:
    """`2.52.0`, `2.52`, `2.52.0-py310-gpu`, `v2.52.0rc1` -> (2, 52, 0); None where no version stands at the start."""
    found = _VERSION.match(value)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def image_version(image: str) -> RayVersion | None:
    """The version a Ray image is tagged with (`rayproject/ray:2.52.0-gpu`); other images number their own releases."""
    repository, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    return ray_version(tag) if repository == "ray" or repository.startswith("ray-") else None
