"""The hardened examples, in namespaces of the run and small enough for kind."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.node.ownership import MINE, PREFIX
from tests.node.versions import version_in
from tests.support.factory import Object
from tests.support.paths import EXAMPLES

HARDENED = EXAMPLES / "hardened"
# A node of kind with two CPUs has one left for pods. The limits are what Ray sees: a worker runs
# one task at a time.
_REQUESTS = {"cpu": "100m", "memory": "512Mi"}
_LIMITS = {"cpu": "1", "memory": "3Gi"}
_RAY_IMAGE = re.compile(r"(.*/)?ray(-ml|-llm)?:.*")


@dataclass(frozen=True)
class RayImage:
    """The image of Ray and its version, which stands in `rayVersion`."""

    name: str
    version: str

    @classmethod
    def of(cls, name: str, version: str = "") -> "RayImage":
        """The version is that of the tag unless it is given; empty if neither says it."""
        tag = name.partition("@")[0].rpartition("/")[2].partition(":")[2]
        return cls(name, version or version_in(tag))


def example(name: str, ray: RayImage) -> list[Object]:
    """The objects of an example, such as `rayjob`, with the image of Ray and our sizes."""
    return adapted(HARDENED / f"{name}.yaml", ray)


def adapted(file: Path, ray: RayImage) -> list[Object]:
    """The objects of a file, in namespaces of the run."""
    objects = [document for document in yaml.safe_load_all(file.read_text()) if document]
    for document in objects:
        metadata = document["metadata"]
        if document["kind"] == "Namespace":
            metadata["name"] = own_namespace(metadata["name"])
            metadata["labels"] = {**metadata.get("labels", {}), **MINE}
        if "namespace" in metadata:
            metadata["namespace"] = own_namespace(metadata["namespace"])
        for place in _mappings(document):
            _fit(place, ray)
    return objects


def own_namespace(name: str) -> str:
    """The namespace of the run for one of an example: ray-training becomes ray-e2e-training."""
    return PREFIX + name.removeprefix("ray-").removeprefix("raywarden-")


def the(objects: list[Object], kind: str) -> Object:
    """The first object of a kind."""
    return next(document for document in objects if document["kind"] == kind)


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list)):
        for part in inner:
            yield from _mappings(part)


def _fit(place: dict[str, Any], ray: RayImage) -> None:
    if "rayVersion" in place:
        place["rayVersion"] = ray.version
    image = place.get("image")
    if isinstance(image, str) and _RAY_IMAGE.fullmatch(image):
        place["image"] = ray.name
        place["resources"] = {"requests": dict(_REQUESTS), "limits": dict(_LIMITS)}
