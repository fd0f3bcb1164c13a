"""Images come from registries that the administrator trusts."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import ClassVar

from pydantic import Field

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, clipped
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.image import digest_of, repository_of
from policies.ray.pod import Pod, PodRole
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import Workload


class TrustedImages(Rule):
    """Refuses images from registries that are not trusted.

    If the administrator asks for it, the rule also refuses images without a digest and pods without
    an attestation. It does nothing until its parameters are set. Patterns match repositories
    without a tag, and those of Docker Hub without its host: `rayproject/*`,
    `registry.example/ml/*`.
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
    require_digest: bool = Field(False, description="refuse images without a digest")
    attestations: Mapping[str, str] = Field(
        {}, description="annotations that every pod must carry, with their values"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for container, title in workload.containers:
            if container.image and container.image != facts.signer.image:
                yield from self._check_image(container.image, container.pointer / "image", title)
        yield from self._check_runtime_environments(workload)
        for pod in workload.pods:
            yield from self._check_volumes(pod)
            if pod.role is not PodRole.CLEANUP:
                yield from self._check_attestations(pod)

    def _check_runtime_environments(self, workload: Workload) -> Iterator[Violation]:
        for environment in runtime_environments(workload):
            for part in environment.parts:
                image = as_str(part.get("image_uri"))
                image = image or as_str(as_dict(part.get("container")).get("image"))
                if image:
                    yield from self._check_image(image, environment.pointer, environment.field)

    def _check_volumes(self, pod: Pod) -> Iterator[Violation]:
        """A pod can mount an image as a volume."""
        for index, volume in pod.volumes:
            image = as_str(as_dict(volume.get("image")).get("reference"))
            if image:
                place = pod.spec_pointer / "volumes" / index / "image" / "reference"
                title = f"volume {clipped(as_str(volume.get('name')))} of the {pod.title}"
                yield from self._check_image(image, place, title)

    def _check_image(self, image: str, place: Pointer, title: str) -> Iterator[Violation]:
        if self.registries and not self._is_trusted(image):
            message = f"{title} uses the image {image}, which is not from a trusted registry"
            remediation = f"use an image from {', '.join(self.registries)}"
            yield self.violation(message, place, remediation)
        if self.require_digest and not digest_of(image):
            message = f"{title} uses the image {image}, which is not pinned by digest"
            yield self.violation(message, place, "use the digest of the image: NAME@sha256:...")

    def _is_trusted(self, image: str) -> bool:
        repository = repository_of(image)
        return any(fnmatchcase(repository, pattern) for pattern in self.registries)

    def _check_attestations(self, pod: Pod) -> Iterator[Violation]:
        for name, value in self.attestations.items():
            if pod.annotations.get(name) != value:
                yield self.violation(
                    f"the {pod.title} lacks the annotation {name}: {value}",
                    pod.pointer / "metadata" / "annotations" / name,
                    f"have the image scanned; the scanner adds the annotation {name}: {value}",
                )
