"""RayJobs in every submission mode, where RayWarden turned token authentication on by itself."""

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from policies.ray.version import AGENT_AUTH_SINCE
from tests.apiserver.installation import until
from tests.e2e.captured import ACCOUNT, NAMESPACE, fitted, pod_of
from tests.e2e.images import Images
from tests.e2e.intruder import Intruder, launched
from tests.e2e.kubelet import Kubelet
from tests.e2e.ray_cluster import RayCluster, wait_ready
from tests.support.factory import Object

Say = Callable[[str], None]
# The last line proves that the job ran, with its own connection to Ray.
_ENTRYPOINT = "python -c " + shlex.quote("import ray; ray.init(); print('JOB', 6 * 7)")
_SUBMITTER = "ray-job-submitter"
_SECONDS = 180


def submitter(image: str, address: str, job: str, *env: Object) -> Object:
    """The container that KubeRay builds to submit a job (`configureSubmitterContainer`)."""
    command = f"ray job submit --address {address} --submission-id {job} -- {_ENTRYPOINT} ;"
    own = [
        {"name": "PYTHONUNBUFFERED", "value": "1"},
        {"name": "RAY_DASHBOARD_ADDRESS", "value": address.removeprefix("http://")},
        {"name": "RAY_JOB_SUBMISSION_ID", "value": job},
    ]
    return {
        "name": _SUBMITTER,
        "image": image,
        "command": ["/bin/bash", "-ce", "--"],
        "args": [command],
        "env": [*own, *env],
    }


def given_token(cluster: str) -> list[Object]:
    """What KubeRay adds to containers that it knows (`SetContainerTokenAuthEnvVars`)."""
    token = {"secretKeyRef": {"name": cluster, "key": "auth_token"}}
    return [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN", "valueFrom": token},
    ]


@pytest.fixture(scope="module")
def jobs(
    cluster_of: Callable[..., RayCluster], kubelet: Kubelet, images: Images
) -> Iterator[RayCluster]:
    """The RayCluster of a RayJob in SidecarMode, whose author says nothing about authentication."""
    if images.ray_version < AGENT_AUTH_SINCE:
        pytest.skip("the agents of this version do not ask for a token, so RayWarden leaves it off")
    cluster = cluster_of("jobs")
    # KubeRay builds the submitter from the RayJob, which has no `authOptions`.
    pod = pod_of(cluster.stored, "head")
    image = pod["spec"]["containers"][0]["image"]
    pod["spec"]["containers"].append(submitter(image, "http://127.0.0.1:8265", "sidecar"))
    stored = fitted(kubelet.api.make_pod(pod))
    address = kubelet.api.place(stored)
    cluster.names.records[cluster.service] = address
    cluster.head = kubelet.start(stored, address)
    wait_ready(cluster.head)
    cluster.add_workers(1)
    yield cluster
    cluster.stop()


def test_the_stored_cluster_asks_for_a_token(jobs: RayCluster) -> None:
    assert jobs.stored["spec"]["authOptions"] == {"mode": "token"}


def test_nobody_gets_in_without_it(jobs: RayCluster, intruder: Intruder, say: Say) -> None:
    until(lambda: intruder.pod.ray.execute("true").code == 0)
    head, worker = jobs.its_head.address, jobs.workers[0].address
    for url in (
        f"http://{head}:8265/api/jobs/",
        f"http://{head}:52365/api/job_agent/jobs/",
        f"http://{worker}:52365/api/job_agent/jobs/",
    ):
        assert intruder.run("submit", url, "true").text.strip() == "401"
    say("in a default installation, 8265 and 52365 of head and worker answer 401 without a token")


def test_sidecar_mode(jobs: RayCluster, kubelet: Kubelet, say: Say) -> None:
    result = kubelet.add_container(jobs.its_head, _SUBMITTER).wait(_SECONDS)
    assert result.code == 0 and "JOB 42" in result.text, result.text[-3000:]
    say("SidecarMode: the submitter in the head pod gets the token from RayWarden; the job ran")


def test_job_mode(jobs: RayCluster, kubelet: Kubelet, say: Say) -> None:
    image = jobs.its_head.pod["spec"]["containers"][0]["image"]
    address = f"http://{jobs.service}:8265"
    container = submitter(image, address, "k8s-job", *given_token(jobs.name))
    metadata = {"name": "job-k8s-job", "namespace": NAMESPACE}
    spec: dict[str, Any] = {"serviceAccountName": ACCOUNT, "containers": [container]}
    pod = launched(kubelet, {"metadata": metadata, "spec": spec})
    result = pod.ray.wait(_SECONDS)
    kubelet.stop(pod)
    assert result.code == 0 and "JOB 42" in result.text, result.text[-3000:]
    say("K8sJobMode: the submitter has the token from KubeRay; the job ran")


def test_http_mode(jobs: RayCluster, kubelet: Kubelet, intruder: Intruder, say: Say) -> None:
    """KubeRay's operator reads the Secret that `authOptions` of the live RayCluster names."""
    token = kubelet.secrets[jobs.name, "auth_token"]
    url = f"http://{jobs.its_head.address}:8265/api/jobs/"
    operator = (url, "true", token, "x-ray-authorization")
    assert intruder.run("submit", *operator).text.strip() == "200"
    say("HTTPMode: the header of KubeRay's operator is accepted")
