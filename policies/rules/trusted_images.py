"""Images come from where the administrator trusts."""

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
    """Refuses images from elsewhere than the registries listed, and if asked to, without digest or attestation.

    Off until its parameters say something. Patterns are of repositories without tag, Docker Hub's without its name:
    `rayproject/*`, `registry.example/ml/*`. RayWarden's own image is always trusted. An attestation is what a scanner
    writes into the pod's annotations; it is worth as much as whoever may write there.
    Why: Ray runs the code in its image before any of ours.
    Fix: push the image to a trusted registry.
    """

    id: ClassVar[str] = "trusted-images"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    registries: tuple[str, ...] = Field(
        (), description="patterns of trusted repositories; none: all are"
    )
    require_digest: bool = Field(False, description="refuse images that are named by tag alone")
    attestations: Mapping[str, str] = Field(
        {}, description="annotations every pod must carry, with their values"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for container, title in workload.containers:
            if container.image and container.image != facts.signer.image:
                yield from self._check_image(container.image, container.pointer / "image", title)
        for environment in runtime_environments(workload):
            for part in environment.parts:
                image = as_str(part.get("image_uri")) or as_str(
                    as_dict(part.get("container")).get("image")
                )
                if image:
                    yield from self._check_image(image, environment.pointer, environment.field)
        for pod in workload.pods:
            yield from self._check_volumes(pod)
            if pod.role is not PodRole.CLEANUP:
                yield from self._check_attestations(pod)

    def _check_volumes(self, pod: Pod) -> Iterator[Violation]:
        """Images can be mounted, too."""
        for index, volume in pod.volumes:
            if image := as_str(as_dict(volume.get("image")).get("reference")):
                place = pod.spec_pointer / "volumes" / index / "image" / "reference"
                yield from self._check_image(
                    image, place, f"volume {clipped(as_str(volume.get('name')))} of the {pod.title}"
                )

    def _check_image(self, image: str, pointer: Pointer, title: str) -> Iterator[Violation]:
        if self.registries and not any(
            fnmatchcase(repository_of(image), trusted) for trusted in self.registries
        ):
            remediation = f"use an image of {', '.join(self.registries)}"
            yield self.violation(
                f"{title} has the image {image}, which is of no trusted registry",
                pointer,
                remediation,
            )
        if self.require_digest and not digest_of(image):
            remediation = "name the image by its digest: NAME@sha256:..."
            yield self.violation(
                f"{title} has the image {image}, which is not pinned by digest",
                pointer,
                remediation,
            )

    def _check_attestations(self, pod: Pod) -> Iterator[Violation]:
        for name, value in self.attestations.items():
            if pod.annotations.get(name) != value:
                pointer = pod.pointer / "metadata" / "annotations" / name
                remediation = f"have the image scanned, which gives the annotation {name}: {value}"
                yield self.violation(
                    f"the {pod.title} does not carry the annotation {name}: {value}",
                    pointer,
                    remediation,
                )
