"""What the real operator of each KubeRay creates is never refused, and never changed twice.

Set KUBERAY_RELEASES to run them; see `kuberay_release`. Nothing starts Ray here: the tests report
each pod as ready.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.kuberay_release import Release, RunningRelease, releases, running
from tests.apiserver.pods import init_container
from tests.e2e.deployments import documents_of
from tests.support.factory import Object, changed
from tests.support.paths import EXAMPLES

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_HARDENED = EXAMPLES / "hardened"
_NO_RELEASES = "set KUBERAY_RELEASES to a folder of KubeRay's releases"
# By the release in which they came.
MODES = ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
_GROUPS = ("/spec/headGroupSpec", "/spec/workerGroupSpecs/0")
LOCKED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
}
REDIS = {
    "redisAddress": "rediss://redis.example:6380",
    "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}},
}


_PARAMETERS: list[Release | None] = [*releases()] or [None]


@pytest.fixture(scope="module", params=_PARAMETERS, ids=str)
def kuberay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningRelease]:
    release: Release | None = request.param
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if release is None or not assets:
        pytest.skip(_NO_RELEASES)
    with running(release, tmp_path_factory.mktemp("kuberay"), Path(assets)) as operator:
        yield operator


def example(kind: str, namespace: str, changes: Object | None = None) -> Object:
    """The hardened example of a kind, in a namespace of its own."""
    documents = documents_of(_HARDENED / f"{kind.lower()}.yaml")
    document = next(document for document in documents if document["kind"] == kind)
    return changed(document, {"/metadata/namespace": namespace, **(changes or {})})


def assert_protected(pods: list[Object]) -> None:
    """Each pod of a cluster enrolls before anything else, and its Ray containers use TLS."""
    members = [pod for pod in pods if "ray.io/cluster" in pod["metadata"]["labels"]]
    assert members
    for pod in members:
        assert pod["spec"]["initContainers"][0] == init_container(pod)
        for container in pod["spec"]["containers"]:
            names = [entry["name"] for entry in container["env"]]
            assert names.count("RAY_USE_TLS") == 1, container["name"]


def assert_quiet(kuberay: RunningRelease) -> None:
    """Nothing of what the operator created was refused, or changed in a second pass."""
    assert kuberay.created("pods") and kuberay.created("services")
    assert kuberay.refused() == []
    assert kuberay.changed_again() == []


def test_a_raycluster_scales_is_suspended_and_goes(kuberay: RunningRelease) -> None:
    namespace, worker = "cluster", "/spec/workerGroupSpecs/0"
    kuberay.make_namespace(namespace)
    changes = {f"{worker}/replicas": 1, f"{worker}/minReplicas": 1}
    stored = kuberay.make(namespace, example("RayCluster", namespace, changes))
    place = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters/{stored['metadata']['name']}"
    kuberay.wait_ready(namespace, 2)
    assert_protected(kuberay.pods(namespace))
    groups = stored["spec"]["workerGroupSpecs"]
    more = [{**groups[0], "replicas": 2}]
    kuberay.control_plane.patch(place, {"spec": {"workerGroupSpecs": more}})
    kuberay.wait_ready(namespace, 3)
    kuberay.control_plane.patch(place, {"spec": {"suspend": True}})
    kuberay.until(lambda: not kuberay.pods(namespace))
    kuberay.control_plane.patch(place, {"spec": {"suspend": False}})
    kuberay.wait_ready(namespace, 3)
    kuberay.control_plane.delete(place)
    kuberay.until(lambda: not kuberay.get(namespace, "rayclusters"))
    assert_quiet(kuberay)


def test_a_raycluster_with_redis_is_cleaned_up(kuberay: RunningRelease) -> None:
    namespace = "redis"
    kuberay.make_namespace(namespace)
    changes = {"/spec/gcsFaultToleranceOptions": REDIS}
    stored = kuberay.make(namespace, example("RayCluster", namespace, changes))
    kuberay.wait_ready(namespace, 1)
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters/{stored['metadata']['name']}"
    kuberay.control_plane.delete(path)
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    (job,) = kuberay.until(lambda: kuberay.control_plane.get(jobs)["items"])
    pod = _pod_of(job, namespace)
    controller = "system:serviceaccount:kube-system:job-controller"
    response = kuberay.control_plane.post(f"/api/v1/namespaces/{namespace}/pods", pod, controller)
    assert response.is_success or "User" in response.json()["message"], response.text
    assert_quiet(kuberay)


@pytest.mark.parametrize("mode", MODES)
def test_a_rayjob_in_each_mode(kuberay: RunningRelease, mode: str) -> None:
    namespace = mode.lower()
    kuberay.make_namespace(namespace)
    changes: dict[str, Any] = {"/spec/submissionMode": mode}
    if mode != "K8sJobMode":
        changes |= {"/spec/submitterPodTemplate": None, "/spec/backoffLimit": None}
    if mode == "InteractiveMode":
        changes |= {"/spec/entrypoint": None, "/spec/runtimeEnvYAML": None}
    kuberay.make(namespace, example("RayJob", namespace, changes))
    kuberay.wait_ready(namespace, 3)
    assert_protected(kuberay.pods(namespace))
    if mode == "K8sJobMode":
        jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        (job,) = kuberay.until(lambda: kuberay.control_plane.get(jobs)["items"])
        labels = job["spec"]["template"]["metadata"]["labels"]
        assert labels["ray.io/originated-from-crd"] == "RayJob"
    assert_quiet(kuberay)


def test_a_rayservice(kuberay: RunningRelease) -> None:
    kuberay.make_namespace("service")
    kuberay.make("service", example("RayService", "service"))
    kuberay.wait_ready("service", 3)
    assert_protected(kuberay.pods("service"))
    assert_quiet(kuberay)


def test_a_raycronjob(kuberay: RunningRelease) -> None:
    if "RayCronJob" not in kuberay.release.gates:
        pytest.skip("this KubeRay does not run RayCronJobs")
    kuberay.make_namespace("nightly")
    changes = {"/spec/schedule": "* * * * *"}
    kuberay.make("nightly", example("RayCronJob", "nightly", changes))
    kuberay.until(lambda: kuberay.get("nightly", "rayjobs"))
    kuberay.until(lambda: kuberay.pods("nightly"))
    assert_protected(kuberay.pods("nightly"))
    assert_quiet(kuberay)


def test_network_policies_of_kuberay(kuberay: RunningRelease) -> None:
    if "RayClusterNetworkPolicy" not in kuberay.release.gates:
        pytest.skip("this KubeRay writes no NetworkPolicies")
    namespace = "policies"
    kuberay.make_namespace(namespace)
    changes = {"/spec/networkPolicy": {"mode": "DenyAll"}, "/metadata/annotations": None}
    kuberay.make(namespace, example("RayCluster", namespace, changes))
    kuberay.wait_ready(namespace, 1)
    path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
    kuberay.until(lambda: kuberay.control_plane.get(path)["items"])
    assert_protected(kuberay.pods(namespace))
    assert_quiet(kuberay)


def test_mtls_of_kuberay(kuberay: RunningRelease) -> None:
    """RayWarden leaves a cluster with KubeRay's own TLS alone.

    The author must therefore set what the profile wants, and is told so. Then no pod is refused.
    """
    if "RayClusterMTLS" not in kuberay.release.gates:
        pytest.skip("this KubeRay has no mTLS")
    namespace, worker = "mtls", "/spec/workerGroupSpecs/0"
    kuberay.make_namespace(namespace)
    changes: dict[str, Any] = {
        "/spec/tlsOptions": {"enabled": True},
        f"{worker}/replicas": 1,
        f"{worker}/minReplicas": 1,
        f"{worker}/template/spec/automountServiceAccountToken": False,
        **{f"{group}/template/spec/containers/0/securityContext": LOCKED for group in _GROUPS},
    }
    document = example("RayCluster", namespace, changes)
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"
    refused = kuberay.control_plane.post(path, document).json()["message"]
    assert "autoscalerOptions may run as root" in refused
    locked = {"/spec/autoscalerOptions/securityContext": LOCKED}
    kuberay.make(namespace, changed(document, locked))
    kuberay.until(lambda: _issued(kuberay, namespace) and len(kuberay.pods(namespace)) == 2)
    for pod in kuberay.pods(namespace):
        names = [container["name"] for container in pod["spec"]["initContainers"]]
        assert "raywarden-enroll" not in names and "wait-for-tls-ip-san" in names
    assert_quiet(kuberay)


def _issued(kuberay: RunningRelease, namespace: str) -> bool:
    """Issue what KubeRay asks of cert-manager; returns whether there is anything yet."""
    plane, core = kuberay.control_plane, f"/api/v1/namespaces/{namespace}/secrets"
    path = f"/apis/cert-manager.io/v1/namespaces/{namespace}/certificates"
    certificates = plane.get(path)["items"]
    for certificate in certificates:
        name, secret = certificate["metadata"]["name"], certificate["spec"]["secretName"]
        generation = certificate["metadata"]["generation"]
        ready = {"type": "Ready", "status": "True", "observedGeneration": generation}
        conditions = certificate.get("status", {}).get("conditions", [])
        if not plane.get(f"{core}/{secret}"):
            data = dict.fromkeys(("tls.crt", "tls.key", "ca.crt"), "eA==")
            plane.make(core, {"metadata": {"name": secret}, "data": data})
        if conditions != [ready]:
            plane.patch(f"{path}/{name}/status", {"status": {"conditions": [ready]}})
    return bool(certificates)


def _pod_of(job: Object, namespace: str) -> Object:
    """The pod that the job controller creates."""
    template, name = job["spec"]["template"], job["metadata"]["name"]
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": name,
        "uid": job["metadata"]["uid"],
        "controller": True,
    }
    metadata = {
        **template["metadata"],
        "generateName": f"{name}-",
        "namespace": namespace,
        "ownerReferences": [owner],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
