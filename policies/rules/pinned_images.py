"""The image that runs is the one that was meant."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.image import digest_of, is_ray_image, tag_of
from policies.ray.workload import Workload


class PinnedImages(Rule):
    """Refuses images without a tag, and tags that move.

    Why: `latest` is another image on every node and every day: head and workers of different Ray versions do not speak
    to each other, and what was scanned is not what runs.
    Fix: name a version, such as `rayproject/ray:2.55.1`, or a digest.
    """

    id: ClassVar[str] = "pinned-images"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.LOW

    moving_tags: tuple[str, ...] = Field(
        ("latest", "nightly"), description="tags that move; none counts as one, too"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for container, title in workload.containers:
            image = container.image
            # KubeRay takes Ray's image where its options name none, and our own is the administrator's choice.
            if not image or digest_of(image) or image == facts.signer.image:
                continue
            tag = tag_of(image)
            if not tag or tag in self.moving_tags:
                message = f"{title} has the image {image}, {f'whose tag {tag} moves' if tag else 'without a tag'}"
                untagged = image.removesuffix(f":{tag}")
                version = "2.55.1" if is_ray_image(image) else "VERSION"
                remediation = (
                    f"write image: {untagged}:{version}, with the version you mean, or its digest"
                )
                yield self.violation(message, container.pointer / "image", remediation)
