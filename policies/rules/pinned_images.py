"""Images are pinned to a version."""

import re
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.image import digest_of, is_ray_image, tag_of
from policies.ray.version import SUGGESTED
from policies.ray.workload import Workload

# The longest tag that a registry accepts. Longer ones are not searched for a date or commit.
_LONGEST_TAG = 128
_SEPARATORS = str.maketrans("._", "--")
# `nightly-20261120` and `nightly.261120.a1b2c3-py310`, as Ray's own build names some of its images.
_BUILD = re.compile(r"-(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|(?=[a-f]{0,40}[0-9])[0-9a-f]{6,40})-")


class PinnedImages(Rule):
    """Refuses images without a tag, and tags that change over time.

    A tag changes over time if one of the words in `movingTags` is a part of it, as in `latest-gpu`.
    It does not if it also contains a date or a commit, as in `nightly-20261120`.
    Why: `latest` can be a different image on every node and every day. The head and the workers of
    a cluster do not work together if their Ray versions differ, and the image that runs is not the
    image that was scanned.
    Fix: use a version, such as `rayproject/ray:2.60.0`, or a digest.
    """

    id: ClassVar[str] = "pinned-images"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.LOW

    moving_tags: tuple[str, ...] = Field(
        ("latest", "nightly"),
        description="words in tags that change over time; a missing tag is always refused",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # Options without an image get Ray's. The administrator chose RayWarden's images.
        pinned = {"", *facts.own_images}
        for container in workload.containers:
            image = container.image
            if image in pinned:
                continue
            tag = tag_of(image)
            moving = self._moving_word(tag)
            if digest_of(image) or (tag and not moving):
                pinned.add(image)
                continue
            problem = f"whose tag {tag} changes over time" if tag else "which has no tag"
            version = SUGGESTED if is_ray_image(image) else "VERSION"
            # Keep the variant, such as `-gpu`.
            fixed = version + tag.removeprefix(moving) if tag.startswith(moving) else version
            yield self.violation(
                f"{container.title} uses the image {image}, {problem}",
                container.pointer / "image",
                f"set image: {image.removesuffix(f':{tag}')}:{fixed}, with the version you need, "
                "or use its digest",
            )

    def _moving_word(self, tag: str) -> str:
        """The part of a tag that makes it change over time; empty if there is none."""
        for word in self.moving_tags:
            if word == tag or (word in tag and _is_part(word, tag) and not _names_a_build(tag)):
                return word
        return ""


def _is_part(word: str, tag: str) -> bool:
    """True if `word` stands in `tag` between separators or at an end."""
    return f"-{word}-".translate(_SEPARATORS) in f"-{tag}-".translate(_SEPARATORS)


def _names_a_build(tag: str) -> bool:
    if len(tag) > _LONGEST_TAG:
        return False
    return _BUILD.search(f"-{tag}-".translate(_SEPARATORS)) is not None
