"""The view of workloads: their pods, their head, their Ray containers."""

from typing import Any

import pytest

from policies.ray.pod import PodRole
from policies.ray.workload import Kind, Workload
from tests.support import factory
from tests.support.factory import changed, container

JOB = {"apiVersion": "batch/v1", "kind": "Job", "name": "demo-redis-cleanup", "controller": True}
CLEAN_UP = changed(
    factory.head_pod(**{"ray.io/node-type": "redis-cleanup"}), {"/metadata/ownerReferences": [JOB]}
)


def view(document: dict[str, Any]) -> Workload:
    workload = Workload.of(Kind.of(document), document)
    assert workload is not None
    return workload


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("raycluster", "/spec/headGroupSpec/template"),
        ("rayjob", "/spec/rayClusterSpec/headGroupSpec/template"),
        ("rayservice", "/spec/rayClusterConfig/headGroupSpec/template"),
        ("raycronjob", "/spec/jobTemplate/rayClusterSpec/headGroupSpec/template"),
    ],
)
@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
def test_the_pods_of_every_kind_are_found(kind: str, head: str, version: str) -> None:
    document = {**factory.MINIMAL[kind](), "apiVersion": f"ray.io/{version}"}
    pods = [pod for pod in view(document).pods if pod.role is not PodRole.SUBMITTER]
    assert [(pod.role, pod.group, str(pod.pointer)) for pod in pods] == [
        (PodRole.HEAD, "headgroup", head),
        (PodRole.WORKER, "small", head.replace("headGroupSpec", "workerGroupSpecs/0")),
    ]
    assert all(pod.pointer.read(document) == pod.raw for pod in pods)


def test_a_submitter_template_is_a_pod() -> None:
    for job, place in ((factory.ray_job(), "/spec"), (factory.ray_cron_job(), "/spec/jobTemplate")):
        submitter = view(job).pods[-1]
        assert (submitter.role, str(submitter.pointer)) == (
            PodRole.SUBMITTER,
            f"{place}/submitterPodTemplate",
        )


def test_a_job_on_an_existing_cluster_has_no_pods_of_its_own() -> None:
    without_templates = {"/spec/rayClusterSpec": None, "/spec/submitterPodTemplate": None}
    selector = {"ray.io/cluster": "shared"}
    job = changed(factory.ray_job(clusterSelector=selector), without_templates)
    assert view(job).pods == ()
    assert view(job).cluster is None


@pytest.mark.parametrize(
    ("document", "role"),
    [
        (factory.head_pod(), PodRole.HEAD),
        (factory.worker_pod(), PodRole.WORKER),
        (factory.head_pod(**{"ray.io/node-type": "redis-cleanup"}), PodRole.WORKER),
        (CLEAN_UP, PodRole.CLEANUP),
        (factory.head_pod(**{"ray.io/node-type": "something else"}), PodRole.WORKER),
        (factory.head_pod(**{"ray.io/node-type": "submitter"}), PodRole.WORKER),
        (factory.submitter_pod(), PodRole.SUBMITTER),
        (factory.opted_in_pod("client"), PodRole.CLIENT),
        (factory.opted_in_pod("head"), PodRole.HEAD),
    ],
)
def test_labels_decide_the_role_of_a_pod(document: dict[str, Any], role: PodRole) -> None:
    assert [pod.role for pod in view(document).pods] == [role]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_deployment_is_a_workload_only_if_its_pods_opt_in(kind: str) -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "spec": {"template": factory.template("web")},
    }
    assert Workload.of(Kind.of(deployment), deployment) is None
    opted_in = changed(
        deployment, {"/spec/template/metadata/labels/raywarden.io~1cluster": "django"}
    )
    assert [str(pod.pointer) for pod in view(opted_in).pods] == ["/spec/template"]


@pytest.mark.parametrize(
    "document",
    [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"app": "web"}}},
        {"apiVersion": "v1", "kind": "Service"},
        {"apiVersion": "example.com/v1", "kind": "RayCluster"},
        {"apiVersion": "ray.io/v1", "kind": "RayCat"},
        {},
    ],
)
def test_other_objects_are_no_workloads(document: dict[str, Any]) -> None:
    assert Workload.of(Kind.of(document), document) is None


def test_ray_containers_are_the_first_the_known_names_and_those_with_its_image() -> None:
    pod = changed(
        factory.head_pod(),
        {
            "/spec/containers/-": container("ray-job-submitter", image="submit:1"),
            "/spec/initContainers": [
                container("raywarden-enroll"),
                container("fetch-model"),
                container("wait-gcs-ready", image="other:1"),
                container("copy", image="busybox:1"),
            ],
            "/spec/ephemeralContainers": [container("debug")],
        },
    )
    pod["spec"]["containers"] += [
        container("logs", image="fluent-bit:3"),
        container("ray-history-collector", image="c:1"),
    ]
    names = [ray.name for ray in view(pod).pods[0].ray_containers]
    assert names == [
        "ray-head",
        "autoscaler",
        "ray-job-submitter",
        "ray-history-collector",
        "fetch-model",
        "wait-gcs-ready",
    ]


def test_other_containers_are_ray_containers_by_image_or_command() -> None:
    sides = [
        container("gpu", image="mirror.example/rayproject/ray-ml:2.60.0"),
        container("start", image="mine:1", command=["ray", "start", "--head"]),
        container("split", image="mine:1", command=["ray"], args=["start", "--head"]),
        container("other", image="mine/ray:1", command=["ray", "status"]),
    ]
    pod = changed(factory.head_pod(), {"/spec/initContainers": sides})
    names = [ray.name for ray in view(pod).pods[0].ray_containers]
    assert names == ["ray-head", "autoscaler", "gpu", "start", "split"]


def test_a_missing_image_does_not_make_a_container_a_ray_container() -> None:
    pod = factory.head_pod()
    pod["spec"]["containers"] = [{"name": "ray-head"}, {"name": "other"}]
    assert [ray.name for ray in view(pod).pods[0].ray_containers] == ["ray-head"]


def test_only_the_first_container_can_be_the_ray_container() -> None:
    pod = factory.head_pod()
    pod["spec"]["containers"] = ["not an object", container("second")]
    assert view(pod).pods[0].ray_container is None
    assert view(pod).pods[0].ray_containers == ()


def test_the_options_of_kuberays_containers_count_as_containers() -> None:
    cluster = factory.ray_cluster(
        autoscalerOptions={"env": [{"name": "A", "value": "1"}]},
        historyServerOptions={"collectorOptions": {"image": "collector:1"}},
    )
    titles = {
        str(options.pointer): options.title
        for options in view(cluster).containers
        if options.list_name == "options"
    }
    assert titles == {
        "/spec/autoscalerOptions": "autoscalerOptions",
        "/spec/historyServerOptions/collectorOptions": "collectorOptions",
    }
