"""What a run finds out about a cluster, and what it applies there."""

import json
from pathlib import Path

import pytest
import yaml

from tests.node.fake_cluster import FakeCluster
from tests.node.installation import publishes_by_hand, remains, write_overlay
from tests.node.manifests import RayImage, example, the
from tests.node.ownership import LABEL, PREFIX
from tests.node.result import StepError
from tests.node.steps.intruders import enforcement
from tests.node.steps.replica import Creates, verdict
from tests.node.trial import Images
from tests.node.versions import UnfitClusterError, discover
from tests.support.deployed import BASE, overlays, rendered, variables

RAY = RayImage.of("registry.example:5000/team/ray:2.55.1-py311-cpu")
IMAGES = Images("registry.example:5000/raywarden:9", "registry.example:5000/small:9", RAY)
EXAMPLES = ("raycluster", "rayjob", "rayservice", "deployment")


def test_versions_and_settings_are_discovered() -> None:
    cluster = FakeCluster(version="v1.34.1-gke.2100")
    gates = "--feature-gates=RayClusterMTLS=true,RayCronJob=true"
    cluster.add_kuberay("registry.example:5000/operator:v1.6.2", "--leader-elect", gates)
    versions = discover(cluster.kubectl)
    assert (versions.kubernetes, versions.kuberay) == ("1.34.1", "1.6.2")
    assert versions.settings == ("RayClusterMTLS=true", "RayCronJob=true")


def test_a_cluster_without_kuberay_is_refused_in_one_line() -> None:
    with pytest.raises(UnfitClusterError, match="KubeRay is not installed here") as refusal:
        discover(FakeCluster().kubectl)
    assert "\n" not in str(refusal.value)


def test_an_operator_that_is_not_ready_or_too_old_is_refused() -> None:
    cluster = FakeCluster()
    cluster.add_kuberay("quay.io/kuberay/operator:v1.4.2")
    with pytest.raises(UnfitClusterError, match=r"KubeRay 1\.4\.2 is too old"):
        discover(cluster.kubectl)
    cluster.objects["deployments.apps"][0]["status"] = {}
    with pytest.raises(UnfitClusterError, match="has a ready pod"):
        discover(cluster.kubectl)


def test_an_api_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(UnfitClusterError, match="the API server does not answer"):
        discover(FakeCluster(broken="version").kubectl)


@pytest.mark.parametrize(
    ("name", "given", "version"),
    [
        ("rayproject/ray:2.60.0", "", "2.60.0"),
        ("registry.example:5000/ray:2.55.1-py311@sha256:abc", "", "2.55.1"),
        ("registry.example:5000/ray", "", ""),
        ("rayproject/ray:nightly", "", ""),
        ("rayproject/ray:nightly", "2.61.0", "2.61.0"),
    ],
)
def test_the_version_of_ray_is_that_of_the_tag(name: str, given: str, version: str) -> None:
    assert RayImage.of(name, given).version == version


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_in_namespaces_of_the_run_with_its_image(name: str) -> None:
    objects = example(name, RAY)
    namespace = the(objects, "Namespace")["metadata"]
    assert namespace["name"].startswith(PREFIX) and namespace["labels"][LABEL] == "true"
    others = [document["metadata"]["namespace"] for document in objects[1:]]
    assert set(others) == {namespace["name"]}
    text = yaml.safe_dump_all(objects)
    assert RAY.name in text and "rayproject" not in text and "2.60.0" not in text


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_small_enough_for_a_node_with_two_cpus(name: str) -> None:
    text = yaml.safe_dump_all(example(name, RAY))
    assert "cpu: 100m" in text and "cpu: '8'" not in text and "cpu: '2'" not in text
    assert "imagePullPolicy" not in text


@pytest.mark.parametrize("overlay", overlays(), ids=lambda folder: folder.name)
def test_an_overlay_gets_the_images_and_a_label_on_every_object(
    overlay: Path, tmp_path: Path
) -> None:
    write_overlay(tmp_path / "overlay", overlay, IMAGES)
    objects = rendered(tmp_path / "overlay")
    assert all(document["metadata"]["labels"][LABEL] == "true" for document in objects)
    deployment = the(list(objects), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGES.server
    assert variables(deployment)["RAYWARDEN_ENROLL_IMAGE"] == IMAGES.enroll
    # The selector cannot be changed later.
    assert LABEL not in deployment["spec"]["selector"]["matchLabels"]


def test_only_one_overlay_needs_an_administrator_to_publish_the_ca() -> None:
    by_hand = [folder.name for folder in overlays() if publishes_by_hand(rendered(folder))]
    assert by_hand == ["ca-bundle-by-hand"]


def test_what_is_left_of_an_installation_is_named() -> None:
    cluster, objects = FakeCluster(), rendered(BASE)
    cluster.add("ClusterRole", "raywarden-of-others")
    assert remains(cluster.kubectl, objects) == []
    cluster.add("ClusterRole", "raywarden")
    cluster.add("Namespace", "raywarden-system")
    assert sorted(remains(cluster.kubectl, objects)) == [
        "ClusterRole/raywarden",
        "Namespace/raywarden-system",
    ]


def test_the_probe_in_a_pod_tells_whether_the_network_enforces_policies() -> None:
    def said(message: str) -> str:
        found = {"id": "x", "status": "ok", "message": message}
        return json.dumps({"sections": [{"title": "probe a/b", "findings": [found]}]})

    assert enforcement(said("cannot connect to head:6379, as NetworkPolicies say"), "")
    assert not enforcement(said("but the network does not enforce them"), "")
    with pytest.raises(StepError, match="cannot tell: no pods"):
        enforcement(said("no pods"), "")


def test_one_refused_or_unmutated_create_is_a_failure() -> None:
    def nothing() -> dict[str, object]:
        return {}

    assert verdict(Creates(nothing, accepted=9), "raywarden-system").startswith("9 creates")
    for creates in (
        Creates(nothing, accepted=9, unmutated=1),
        Creates(nothing, accepted=9, refused=["no endpoints"]),
        Creates(nothing),
    ):
        with pytest.raises(StepError, match="accepted"):
            verdict(creates, "raywarden-system")
