"""A run touches only what a run made, and takes away all of that."""

import pytest

from tests.node.fake_cluster import FakeCluster
from tests.node.ownership import (
    LABEL,
    RefusedError,
    clean_up,
    refuse_to_touch_others,
)
from tests.node.progress import Progress

MINE = {LABEL: "true"}
NAMESPACES = ("ray-e2e-training", "ray-e2e-batch")


def refuse(cluster: FakeCluster, *, use_installed: bool = False, beside: bool = False) -> None:
    refuse_to_touch_others(
        cluster.kubectl, NAMESPACES, use_installed=use_installed, beside_others=beside
    )


def silent() -> Progress:
    clock = iter(range(10_000))
    return Progress(say=lambda _: None, clock=lambda: float(next(clock)), sleep=lambda _: None)


def test_an_empty_cluster_is_fine() -> None:
    refuse(FakeCluster())


@pytest.mark.parametrize("kind", ["mutatingwebhookconfigurations", "namespace"])
def test_an_installation_of_others_is_refused_unless_it_is_to_be_tried(kind: str) -> None:
    cluster = FakeCluster()
    cluster.add(kind, "raywarden" if kind != "namespace" else "raywarden-system")
    with pytest.raises(RefusedError, match=r"installed here already.*--use-installed"):
        refuse(cluster)
    refuse(cluster, use_installed=True)


def test_an_installation_that_is_to_be_tried_must_exist() -> None:
    with pytest.raises(RefusedError, match="not installed here"):
        refuse(FakeCluster(), use_installed=True)


@pytest.mark.parametrize("use_installed", [False, True])
def test_an_installation_of_an_earlier_run_must_be_removed(use_installed: bool) -> None:
    cluster = FakeCluster()
    cluster.add("validatingwebhookconfigurations", "raywarden", **MINE)
    with pytest.raises(RefusedError, match="make e2e-node CLEAN=1"):
        refuse(cluster, use_installed=use_installed)


@pytest.mark.parametrize(
    ("labels", "reason"), [({}, "no run made it"), (MINE, "make e2e-node CLEAN=1")]
)
def test_a_namespace_that_exists_is_refused(labels: dict[str, str], reason: str) -> None:
    cluster = FakeCluster()
    cluster.add("namespace", "ray-e2e-batch", **labels)
    with pytest.raises(RefusedError, match=reason):
        refuse(cluster)


def test_ray_of_others_is_refused_unless_it_is_accepted() -> None:
    cluster = FakeCluster()
    cluster.add("rayclusters.ray.io", "train", "ml")
    with pytest.raises(RefusedError, match=r"ml/train.*--beside-others"):
        refuse(cluster)
    refuse(cluster, beside=True)


def test_nothing_is_deleted_where_a_run_made_nothing() -> None:
    cluster = FakeCluster()
    cluster.add("namespaces", "ml")
    cluster.add("clusterroles", "raywarden")
    assert clean_up(cluster.kubectl, silent()) == []
    assert len(cluster.objects["namespaces"]) == len(cluster.objects["clusterroles"]) == 1


def test_ray_goes_first_then_webhooks_and_namespaces_last() -> None:
    cluster = FakeCluster()
    cluster.add("namespaces", "ray-e2e-batch", **MINE)
    cluster.add("namespaces", "ml")
    cluster.add("rayjobs.ray.io", "evaluation", "ray-e2e-batch")
    cluster.add("rayjobs.ray.io", "others", "ml")
    cluster.add("mutatingwebhookconfigurations", "raywarden", **MINE)
    cluster.add("mutatingwebhookconfigurations", "others")
    assert clean_up(cluster.kubectl, silent()) == []
    left = [entry["metadata"]["name"] for entries in cluster.objects.values() for entry in entries]
    assert left == ["ml", "others", "others"]
    kinds = [deletion.split()[0] for deletion in cluster.deletions]
    order = ["rayjobs.ray.io", "rayclusters.ray.io", "mutatingwebhookconfigurations"]
    order += ["clusterroles", "namespaces"]
    assert sorted(order, key=kinds.index) == order
    assert kinds[-1] == "namespaces"


def test_what_cannot_be_deleted_is_named_and_the_rest_is_deleted() -> None:
    cluster = FakeCluster(broken="clusterroles")
    cluster.add("namespaces", "ray-e2e-batch", **MINE)
    (problem,) = clean_up(cluster.kubectl, silent())
    assert "clusterroles" in problem and "broken" in problem
    assert cluster.objects["namespaces"] == []


def test_a_namespace_that_stays_ends_the_wait() -> None:
    cluster = FakeCluster(stuck="namespaces")
    cluster.add("namespaces", "ray-e2e-batch", **MINE)
    (problem,) = clean_up(cluster.kubectl, silent())
    assert "ray-e2e-batch still there" in problem
