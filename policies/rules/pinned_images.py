"""Images are pinned to a version."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.image import digest_of, is_ray_image, tag_of
from policies.ray.workload import Workload


class PinnedImages(Rule):
    """Refuses images without a tag, and tags that change over time.

    Why: `latest` can be a different image on every node and every day. The head and the workers of
    a cluster do not work together if their Ray versions differ, and the image that runs is not the
    image that was scanned.
    Fix: use a version, such as `rayproject/ray:2.55.1`, or a digest.
    """

    id: ClassVar[str] = "pinned-images"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.LOW

    moving_tags: tuple[str, ...] = Field(
        ("latest", "nightly"),
        description="tags that change over time; a missing tag is always refused",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for container, title in workload.containers:
            image = container.image
            # Options without an image get Ray's. The administrator chose RayWarden's image.
            if not image or digest_of(image) or image == facts.signer.image:
                continue
            tag = tag_of(image)
            if tag and tag not in self.moving_tags:
                continue
            problem = f"whose tag {tag} changes over time" if tag else "which has no tag"
            version = "2.55.1" if is_ray_image(image) else "VERSION"
            yield self.violation(
                f"{title} uses the image {image}, {problem}",
                container.pointer / "image",
                f"set image: {image.removesuffix(f':{tag}')}:{version}, with the version you need, "
                "or use its digest",
            )
