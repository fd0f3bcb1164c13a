"""What RayWarden tells authors to write, with the versions of Ray and KubeRay at hand."""

from dataclasses import replace

import pytest

from policies.injection.token_fix import review_binding, token_fix
from policies.ray.operator import KubeRayOperator
from policies.ray.workload import Workload
from tests.support import factory
from tests.support.factory import Object, changed, facts

WORKER_IMAGE = "/spec/workerGroupSpecs/0/template/spec/containers/0/image"


def fix(document: Object, tokens: bool | None = None) -> str:
    known = facts()
    state = replace(known.namespace_state, kuberay=KubeRayOperator(tokens=tokens))
    return token_fix(Workload(document["kind"], document), replace(known, namespace_state=state))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "set authOptions: {mode: token} in the cluster's spec"),
        ({"/spec/rayVersion": "2.53.0"}, "port 52365 asks for it from Ray 2.54.0 on"),
        ({"/spec/rayVersion": "2.51.0"}, "use Ray 2.54.0 or later in every image, state it"),
        ({"/spec/rayVersion": None}, "use Ray 2.54.0 or later in every image, state it"),
        ({WORKER_IMAGE: "rayproject/ray:2.51.0"}, "use Ray 2.54.0 or later in every image"),
    ],
)
def test_each_version_of_ray(changes: Object, words: str) -> None:
    assert words in fix(changed(factory.ray_cluster(), changes))


def test_a_kuberay_without_auth_options_is_never_asked_for_them() -> None:
    remedy = fix(factory.ray_cluster(), tokens=False)
    assert remedy.startswith("upgrade KubeRay to 1.5.1 or later")
    assert "set authOptions" not in remedy


def test_pods() -> None:
    assert "in the RayCluster of this pod" in fix(factory.worker_pod())
    assert "RAY_AUTH_TOKEN with valueFrom" in fix(factory.opted_in_pod())


def test_the_binding_contains_nothing_but_names() -> None:
    binding = review_binding("team-a", "ray")
    assert "subjects: [{kind: ServiceAccount, name: ray, namespace: team-a}]" in binding
    hostile = "x}], metadata: {name: a}, subjects: [{kind: Group, name: 'system:authenticated'"
    assert review_binding("team-a", hostile).startswith("bind the ClusterRole")
    assert review_binding("team-a", "ray\n").startswith("bind the ClusterRole")
