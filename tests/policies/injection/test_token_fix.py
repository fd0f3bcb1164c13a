"""What RayWarden tells authors to write, with the versions of Ray and KubeRay at hand."""

from dataclasses import replace

import pytest
import yaml

from policies.injection.token_fix import membership_binding, review_binding, token_fix
from policies.ray.operator import KubeRayOperator
from policies.ray.workload import Workload
from tests.support import factory
from tests.support.factory import Object, changed, facts

IN_007 = {"namespace": "007"}
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


HOSTILE = "x}], metadata: {name: a}, subjects: [{kind: Group, name: 'system:authenticated'"


@pytest.mark.parametrize("account", ["ray", "1", "1e5", "null", "true", "a.b-c"])
def test_the_binding_for_reviews_can_be_applied_as_printed(account: str) -> None:
    binding = yaml.safe_load(review_binding("007", account).removeprefix("apply "))
    assert binding["kind"] == "ClusterRoleBinding"
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "007"}]


@pytest.mark.parametrize("account", ["ray", "1", "1e5", "null", "true", "a.b-c"])
def test_the_binding_for_members_can_be_applied_as_printed(account: str) -> None:
    printed = membership_binding("007", account, "train").removeprefix("apply ")
    role, binding = yaml.safe_load(printed)["items"]
    name = f"ray-members:train:{account}"
    assert role["metadata"] == binding["metadata"] == {"name": name, **IN_007}
    assert role["rules"] == [
        {
            "apiGroups": ["ray.io"],
            "resources": ["rayclusters"],
            "resourceNames": ["train"],
            "verbs": ["ray:write"],
        }
    ]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", name)
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, **IN_007}]


@pytest.mark.parametrize("hostile", [HOSTILE, "ray\n", "", "a'b"])
def test_a_binding_contains_nothing_but_names(hostile: str) -> None:
    assert review_binding("team-a", hostile).startswith("bind the ClusterRole")
    assert review_binding(hostile, "ray").startswith("bind the ClusterRole")
    for names in ((hostile, "ray", "train"), ("a", hostile, "train"), ("a", "ray", hostile)):
        assert membership_binding(*names).startswith("grant the verb ray:write")


def test_no_binding_replaces_another() -> None:
    pairs = [("a", "b-c"), ("a-b", "c"), ("a", "c")]
    bindings = [review_binding(*pair) for pair in pairs]
    bindings += [membership_binding("team-a", account, cluster) for cluster, account in pairs]
    documents = [yaml.safe_load(binding.removeprefix("apply ")) for binding in bindings]
    items = [document["items"][0] if "items" in document else document for document in documents]
    assert len({item["metadata"]["name"] for item in items}) == len(items)
