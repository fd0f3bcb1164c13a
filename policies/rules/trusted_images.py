"""Images come from registries that the administrator trusts."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar

from pydantic import Field

from policies.documents.patterns import matches_any
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, clipped
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.image import digest_of, repository_of
from policies.ray.pod import Pod, PodRole
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import Workload

# An empty list would trust every image where an administrator meant none.
_Registries = Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class _Demands:
    """What one namespace asks of images; empty `registries` trust all."""

    registries: Collection[str]
    digest: bool

    def trusts(self, image: str) -> bool:
        repository = repository_of(image)
        return not self.registries or matches_any(repository, self.registries)


class TrustedImages(Rule):
    """Refuses images from registries that are not trusted.

    If the administrator asks for it, the rule also refuses images without a digest and pods without
    an attestation, everywhere or in some namespaces. It does nothing until its parameters are set.
    It checks all containers, mounted images and the images in runtime environments. Patterns match
    repositories without a tag, and those of Docker Hub without its host: `rayproject/*`,
    `registry.example/ml/*`. In a namespace that matches `namespaceRegistries`, the lists there
    apply instead of `registries`; if it matches several patterns, all of their lists.
    RayWarden's own image is always trusted. An attestation is an annotation that a scanner writes
    on the pod. It is only as reliable as the users who may write it.
    Why: Ray runs the code in its image before any code of RayWarden.
    Fix: push the image to a trusted registry.
    """

    id: ClassVar[str] = "trusted-images"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    registries: tuple[str, ...] = Field(
        (), description="patterns of trusted repositories; an empty list trusts all"
    )
    namespace_registries: Mapping[str, _Registries] = Field(
        {},
        description="patterns of trusted repositories by pattern of namespaces, instead of "
        "`registries` there",
    )
    require_digest: bool = Field(False, description="refuse images without a digest")
    digest_namespaces: tuple[str, ...] = Field(
        (), description="patterns of namespaces where images without a digest are refused"
    )
    attestations: Mapping[str, str] = Field(
        {}, description="annotations that every pod must carry, with their values"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        demands = self._demands(facts.namespace)
        if demands.registries or demands.digest:
            for image, place, title in _images(workload, facts):
                yield from self._check_image(image, place, title, demands)
        for pod in workload.pods:
            if pod.role is not PodRole.CLEANUP:
                yield from self._check_attestations(pod)

    def _demands(self, namespace: str) -> _Demands:
        registries = [
            pattern
            for namespaces, patterns in self.namespace_registries.items()
            if fnmatchcase(namespace, namespaces)
            for pattern in patterns
        ]
        digest = self.require_digest or matches_any(namespace, self.digest_namespaces)
        return _Demands(registries or self.registries, digest)

    def _check_image(
        self, image: str, place: Pointer, title: str, demands: _Demands
    ) -> Iterator[Violation]:
        if not demands.trusts(image):
            message = f"{title} uses the image {image}, which is not from a trusted registry"
            yield self.violation(
                message, place, f"use an image from {', '.join(demands.registries)}"
            )
        if demands.digest and not digest_of(image):
            message = f"{title} uses the image {image}, which is not pinned by digest"
            yield self.violation(message, place, "use the digest of the image: NAME@sha256:...")

    def _check_attestations(self, pod: Pod) -> Iterator[Violation]:
        for name, value in self.attestations.items():
            if pod.annotations.get(name) != value:
                yield self.violation(
                    f"the {pod.title} lacks the annotation {name}: {value}",
                    pod.pointer / "metadata" / "annotations" / name,
                    f"have the image scanned; the scanner adds the annotation {name}: {value}",
                )


def _images(workload: Workload, facts: Facts) -> Iterator[tuple[str, Pointer, str]]:
    """Every image that the pods run, mount, or start jobs in, with its place and title."""
    for container in workload.containers:
        if container.image and container.image not in facts.own_images:
            yield container.image, container.pointer / "image", container.title
    for environment in runtime_environments(workload):
        for part in environment.parts:
            for image in (part.get("image_uri"), as_dict(part.get("container")).get("image")):
                if as_str(image):
                    yield as_str(image), environment.pointer, environment.field
    for pod in workload.pods:
        yield from _mounted_images(pod)


def _mounted_images(pod: Pod) -> Iterator[tuple[str, Pointer, str]]:
    """A pod can mount an image as a volume."""
    for index, volume in pod.volumes:
        image = as_str(as_dict(volume.get("image")).get("reference"))
        if image:
            place = pod.spec_pointer / "volumes" / index / "image" / "reference"
            title = f"volume {clipped(as_str(volume.get('name')))} of the {pod.title}"
            yield image, place, title
