"""Ray versions as they stand in `rayVersion` and in image tags."""

import re

from policies.ray.image import is_ray_image, repository_of, tag_of

VERSION = r"^v?([0-9]{1,6})\.([0-9]{1,6})(?:\.([0-9]{1,6}))?(?![0-9])"
_VERSION = re.compile(VERSION)

RayVersion = tuple[int, int, int]

# The first with token authentication.
TOKENS_SINCE: RayVersion = (2, 52, 0)
# The first whose agent on 52365 asks for the token, too (Ray `dashboard/http_server_agent.py`, seen by `make e2e`).
AGENT_ASKS_SINCE: RayVersion = (2, 54, 0)


def ray_version(value: str) -> RayVersion | None:
    """`2.52.0`, `2.52`, `2.52.0-py310-gpu`, `v2.52.0rc1` -> (2, 52, 0); None where no version stands at the start."""
    found = _VERSION.match(value)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def dotted(version: RayVersion) -> str:
    """(2, 52, 0) -> `2.52.0`."""
    return ".".join(map(str, version))


def image_version(image: str) -> RayVersion | None:
    """The version a Ray image is tagged with (`rayproject/ray:2.52.0-gpu`); other images number their own releases."""
    name = repository_of(image).rpartition("/")[2]
    version = ray_version(tag_of(image)) if name == "ray" or name.startswith("ray-") else None
    # Whoever builds images of their own often counts from 1; Ray itself has not been there for years.
    return version if version and (version[0] > 1 or is_ray_image(image)) else None
