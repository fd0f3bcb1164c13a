"""Row 70: images whose tag moves, although it is longer than `latest`."""

import pytest

from tests.bypasses.admission import KINDS, RAY, by_both, passes, refused
from tests.bypasses.admission import RESTRICTED as ENFORCED
from tests.support.factory import Object, changed, ray_cluster

MOVING = [
    "latest-gpu",
    "nightly-py310-cu121",
    "latest-py312",
    "nightly.cpu",
    "latest_gpu",
    "2.52.0-latest",
    "py310-nightly-cpu",
    "gpu.latest",
    "nightly-2026",
    "latest-cu121-aarch64",
]


def with_image(image: str) -> Object:
    return changed(ray_cluster(), {f"{RAY}/image": image})


@pytest.mark.parametrize("tag", MOVING)
def test_70_tags_that_contain_a_moving_word(tag: str) -> None:
    warned, denied = by_both(with_image(f"rayproject/ray:{tag}"))
    assert "pinned-images" in warned
    assert denied == {"pinned-images"}


@pytest.mark.parametrize("kind,place", KINDS)
def test_70_in_every_kind(kind: object, place: str) -> None:
    assert callable(kind)
    image = f"{place}/headGroupSpec/template/spec/containers/0/image"
    document = changed(kind(), {image: "rayproject/ray:latest-gpu"})
    assert "pinned-images" in refused(document, policy=ENFORCED)


def test_70_in_other_containers() -> None:
    sidecar = {"name": "proxy", "image": "registry.example:5000/proxy:latest-distroless"}
    document = changed(ray_cluster(), {"/spec/headGroupSpec/template/spec/containers/-": sidecar})
    assert "pinned-images" in refused(document, policy=ENFORCED)
    options = changed(
        ray_cluster(), {"/spec/autoscalerOptions": {"image": "rayproject/ray:nightly-1"}}
    )
    assert refused(options, policy=ENFORCED) == {"pinned-images"}


def test_70_words_of_the_policy_file() -> None:
    rules = {"pinned-images": {"parameters": {"movingTags": ["main", "release-2.x"]}}}
    policy = {"profiles": {"enforce": "restricted"}, "rules": rules}
    for tag in ("main-gpu", "release-2.x", "release-2.x-gpu"):
        document = with_image(f"rayproject/ray:{tag}")
        assert refused(document, policy=policy) == {"pinned-images"}, tag
    for tag in ("latest-gpu", "release-2.5", "maintenance-1", "domain"):
        assert refused(with_image(f"rayproject/ray:{tag}"), policy=policy) == set(), tag


@pytest.mark.parametrize(
    "tag",
    [
        "2.60.0-gpu",
        "2.60.0-py310-cu121",
        "latestgpu",
        "2.60.0-nightlybuild",
        # A date or a commit names one build.
        "nightly-20261120",
        "nightly-2026-11-20-py310",
        "nightly.261120.a1b2c3-py310",
        "latest-a1b2c3d",
        "nightly@sha256:" + "a" * 64,
        "latest-gpu@sha256:" + "b" * 64,
    ],
)
def test_70_tags_that_name_one_build_stay_allowed(tag: str) -> None:
    document = with_image(f"rayproject/ray:{tag}")
    assert passes(document)
    assert refused(document, policy=ENFORCED) == set()


def test_70_a_tag_may_still_be_pushed_again_remains() -> None:
    assert refused(with_image("rayproject/ray:nightly-20261120"), policy=ENFORCED) == set()
