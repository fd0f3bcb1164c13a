"""Registries and digests by namespace, for every place that can name an image."""

from typing import Any

import pytest

from policies.config import Policy
from policies.problems import PolicyError
from tests.bypasses.admission import HEAD, RAY, refused
from tests.support import factory
from tests.support.factory import Object, changed

EVIL = "registry.example.evil/ray:1"
DIGEST = "@sha256:" + "a" * 64


def with_parameters(**parameters: Any) -> Object:
    return {"rules": {"trusted-images": {"parameters": parameters}}}


ML = with_parameters(
    registries=["registry.example/base/*"],
    namespaceRegistries={"team-a": ["rayproject/*"], "team-*": ["registry.example/ml/*"]},
)
DIGESTS = with_parameters(digestNamespaces=["prod-*", "team-a"])
# Every place of an image, by the kind of the object.
PLACES: list[tuple[Any, Object]] = [
    (factory.ray_cluster, {f"{RAY}/image": EVIL}),
    (factory.ray_cluster, {f"{HEAD}/spec/initContainers": [{"name": "a", "image": EVIL}]}),
    (factory.ray_cluster, {f"{HEAD}/spec/containers/-": {"name": "a", "image": EVIL}}),
    (factory.ray_cluster, {"/spec/autoscalerOptions": {"image": EVIL}}),
    (factory.ray_cluster, {"/spec/historyServerOptions/collectorOptions": {"image": EVIL}}),
    (
        factory.ray_cluster,
        {f"{HEAD}/spec/volumes": [{"name": "a", "image": {"reference": EVIL}}]},
    ),
    (factory.ray_job, {"/spec/submitterPodTemplate/spec/containers/0/image": EVIL}),
    (factory.ray_job, {"/spec/runtimeEnvYAML": f"image_uri: {EVIL}\n"}),
    (factory.ray_job, {"/spec/runtimeEnvYAML": f"container: {{image: '{EVIL}'}}\n"}),
    (
        factory.ray_job,
        {"/spec/runtimeEnvYAML": f"{{image_uri: rayproject/ray, container: {{image: '{EVIL}'}}}}"},
    ),
    (factory.ray_cron_job, {"/spec/jobTemplate/runtimeEnvYAML": f"image_uri: {EVIL}\n"}),
    (
        factory.ray_service,
        {"/spec/serveConfigV2": f"applications: [{{runtime_env: {{image_uri: '{EVIL}'}}}}]"},
    ),
    (factory.head_pod, {"/spec/ephemeralContainers": [{"name": "a", "image": EVIL}]}),
]


@pytest.mark.parametrize(("kind", "change"), PLACES)
def test_every_image_is_checked_against_the_lists_of_its_namespace(
    kind: Any, change: Object
) -> None:
    assert refused(kind(), policy=ML) == set()
    assert "trusted-images" in refused(changed(kind(), change), policy=ML)


@pytest.mark.parametrize(("kind", "change"), PLACES)
def test_every_image_needs_a_digest(kind: Any, change: Object) -> None:
    assert "trusted-images" in refused(changed(kind(), change), policy=DIGESTS)


def test_lists_of_a_namespace_replace_the_general_one_and_add_up() -> None:
    for image in ("rayproject/ray:2.60.0", "registry.example/ml/ray:1"):
        assert refused(changed(factory.ray_cluster(), {f"{RAY}/image": image}), policy=ML) == set()
    general = changed(factory.ray_cluster(), {f"{RAY}/image": "registry.example/base/ray:1"})
    assert refused(general, policy=ML) == {"trusted-images"}
    elsewhere = with_parameters(
        registries=["rayproject/*"], namespaceRegistries={"team-b": ["registry.example/ml/*"]}
    )
    assert refused(factory.ray_cluster(), policy=elsewhere) == set()
    assert refused(general, policy=elsewhere) == {"trusted-images"}


def test_digests_are_asked_for_only_where_they_are_named() -> None:
    assert refused(factory.ray_cluster(), policy=DIGESTS) == {"trusted-images"}
    other = with_parameters(digestNamespaces=["prod-*"])
    assert refused(factory.ray_cluster(), policy=other) == set()
    pinned = {
        f"/spec/{group}/template/spec/containers/0/image": f"rayproject/ray:2.60.0{DIGEST}"
        for group in ("headGroupSpec", "workerGroupSpecs/0")
    }
    assert refused(changed(factory.ray_cluster(), pinned), policy=DIGESTS) == set()


def test_an_empty_list_for_a_namespace_is_an_error() -> None:
    with pytest.raises(PolicyError):
        Policy.parse(with_parameters(namespaceRegistries={"team-a": []}))
