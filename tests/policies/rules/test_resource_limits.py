"""Requests and limits of the containers that KubeRay adds, and sizes that mean none."""

from typing import Any

import pytest

from policies.ray.accelerators import accelerators_in, is_zero
from tests.support import factory
from tests.support.factory import Object, changed
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest

RESTRICTED = {"profiles": {"enforce": "restricted"}}


def messages(document: Object) -> list[str]:
    """What the rule says of an object and of everything KubeRay creates from it."""
    fresh = changed(document, {"/metadata/name": "fresh"})
    reviewed = review_manifest(factory.reviewer(RESTRICTED), Manifest("test", 1, fresh), "team-a")
    assert reviewed is not None
    return [
        violation.message
        for outcome in (reviewed.outcome, *reviewed.derived)
        for violation in outcome.denied
        if violation.rule == "resource-limits"
    ]


@pytest.mark.parametrize("resources", [{}, {"resources": None}])
def test_the_containers_of_kuberay_have_sizes(resources: Object) -> None:
    options = {
        "/spec/enableInTreeAutoscaling": True,
        "/spec/autoscalerOptions": {"imagePullPolicy": "Always", **resources},
        "/spec/historyServerOptions": {"collectorOptions": {"image": "a/b:1", **resources}},
        "/spec/tlsOptions": {"enabled": True},
    }
    assert messages(changed(factory.ray_cluster(), options)) == []
    job = changed(factory.ray_job(), {"/spec/submitterPodTemplate": None})
    assert messages(job) == []


def test_sizes_that_replace_those_of_kuberay_are_reported_there_and_in_the_pod() -> None:
    partial = {"requests": {"memory": "1Gi"}}
    options = {
        "/spec/enableInTreeAutoscaling": True,
        "/spec/autoscalerOptions": {"resources": partial},
    }
    problem = "has no cpu requests, cpu limits, memory limits"
    assert messages(changed(factory.ray_cluster(), options)) == [
        f"autoscalerOptions {problem}",
        f"container autoscaler of the head {problem}",
    ]


@pytest.mark.parametrize("size", ["0", "0Gi", "0.0", "-0", "+0m", "00", "0e3", 0, 0.0, None, ""])
def test_sizes_that_mean_none(size: Any) -> None:
    assert is_zero(size)


@pytest.mark.parametrize("size", ["1", "0.5", "100m", "01", "1e3", 4, 0.5, "64Gi"])
def test_sizes_that_mean_some(size: Any) -> None:
    assert not is_zero(size)


def test_accelerators_of_known_vendors() -> None:
    names = ["nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "amd.com/gpu", "google.com/tpu"]
    names += ["aws.amazon.com/neuroncore", "habana.ai/gaudi", "huawei.com/Ascend910"]
    others = ["cpu", "memory", "ephemeral-storage", "vpc.amazonaws.com/efa", "hugepages-2Mi"]
    assert accelerators_in({"limits": dict.fromkeys([*names, *others], 1)}) == set(names)
    assert accelerators_in({"limits": {"nvidia.com/gpu": 0}}) == set()


@pytest.mark.parametrize("wrong", [7, "x", [1], {"requests": 7, "limits": "x"}, None])
def test_wrong_types_count_as_missing(wrong: Any) -> None:
    place = "/spec/headGroupSpec/template/spec/containers/0/resources"
    (message, *_) = messages(changed(factory.ray_cluster(), {place: wrong}))
    assert message.endswith("no cpu requests, memory requests, cpu limits, memory limits")
