"""The pod's API token with a real API server, which mounts it, and the calls it costs.

ServiceAccount admission runs before the webhooks, and again after one of them changed the pod. If
it changes the pod then, the API server calls the mutating webhook a second time.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.kuberay_operator import OPERATOR
from tests.apiserver.pods import cluster_of, init_container, marked_worker, pods_made_of
from tests.apiserver.replica import Replica
from tests.bypasses.test_submitters import JOB_CONTROLLER
from tests.support import factory
from tests.support.factory import Object, changed

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

API_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
AUTOMOUNT = "/spec/automountServiceAccountToken"


@pytest.fixture(scope="module")
def cluster(
    control_plane: ControlPlane, installation: Installation, pair: tuple[Replica, Replica]
) -> Object:
    """A stored RayCluster whose head runs an autoscaler, so that it needs the token."""
    path = f"/apis/ray.io/v1/namespaces/{installation.team()}/rayclusters"
    autoscaling = {"/spec/enableInTreeAutoscaling": True}
    return control_plane.make(path, changed(cluster_of(), autoscaling))


def head(cluster: Object) -> Object:
    return changed(pods_made_of(cluster)[0], {AUTOMOUNT: None})


def worker(cluster: Object) -> Object:
    return pods_made_of(cluster)[1]


def submitter(cluster: Object) -> Object:
    return changed(factory.submitter_pod(), {"/metadata/namespace": None})


def opted_in(cluster: Object) -> Object:
    own = {"/metadata/namespace": None, "/spec/serviceAccountName": "ray"}
    return changed(factory.opted_in_pod(), own)


def with_token(make: Callable[[Object], Object]) -> Callable[[Object], Object]:
    return lambda cluster: changed(make(cluster), {AUTOMOUNT: True})


def without_token(make: Callable[[Object], Object]) -> Callable[[Object], Object]:
    return lambda cluster: changed(make(cluster), {AUTOMOUNT: False})


PODS = {
    "head": (head, OPERATOR),
    "head with token": (with_token(head), OPERATOR),
    "worker": (worker, OPERATOR),
    "worker with token": (with_token(worker), OPERATOR),
    "worker of a marked cluster": (marked_worker, OPERATOR),
    "worker of a marked cluster without token": (without_token(marked_worker), OPERATOR),
    "submitter": (submitter, JOB_CONTROLLER),
    "submitter without token": (without_token(submitter), JOB_CONTROLLER),
    "opted in": (opted_in, ""),
    "opted in without token": (without_token(opted_in), ""),
}


@pytest.mark.parametrize("name", PODS)
def test_one_call_a_pod_and_no_api_token_in_the_init_container(
    control_plane: ControlPlane, pair: tuple[Replica, Replica], cluster: Object, name: str
) -> None:
    make, user = PODS[name]
    before = mutations(pair)
    pod = make(cluster)
    stored = control_plane.make(pods_of(cluster), pod, user)
    assert mutations(pair) - before == 1
    wants_token = pod["spec"].get("automountServiceAccountToken") is not False
    mounts = dict(api_token_mounts(stored))
    enrolls = mounts.pop("raywarden-enroll", "raywarden-token")
    assert enrolls == "raywarden-token"
    assert ("submitter" in name) is ("raywarden-enroll" not in str(stored["spec"]))
    assert all(volume.startswith("kube-api-access-") for volume in mounts.values())
    assert bool(mounts) is wants_token, "Ray's containers must keep what their author chose"


def test_an_init_container_of_an_older_version_loses_the_api_token(
    control_plane: ControlPlane, pair: tuple[Replica, Replica], cluster: Object
) -> None:
    """The stored RayCluster has it, so the API server mounts the token before the webhook."""
    pod = head(cluster)
    enroll = init_container(pod)
    enroll["volumeMounts"] = [
        mount for mount in enroll["volumeMounts"] if mount["mountPath"] != API_TOKEN
    ]
    before = mutations(pair)
    stored = control_plane.make(pods_of(cluster), pod, OPERATOR)
    assert dict(api_token_mounts(stored))["raywarden-enroll"] == "raywarden-token"
    assert mutations(pair) - before == 1


def test_defaults_of_the_namespace_cost_no_call(
    control_plane: ControlPlane, installation: Installation, pair: tuple[Replica, Replica]
) -> None:
    """A LimitRange leaves the init container as it is, because it has all usual resources."""
    namespace = installation.team()
    defaults = {"cpu": "1", "memory": "1Gi"}
    limits = [{"type": "Container", "default": defaults, "defaultRequest": defaults}]
    document = {"metadata": {"name": "defaults"}, "spec": {"limits": limits}}
    control_plane.make(f"/api/v1/namespaces/{namespace}/limitranges", document)
    before = mutations(pair)
    path = f"/api/v1/namespaces/{namespace}/pods"
    pod = changed(opted_in({}), {"/spec/containers/0/resources": None})
    stored = control_plane.make(path, pod)
    assert stored["spec"]["containers"][0]["resources"]["limits"] == defaults
    assert mutations(pair) - before == 1


def pods_of(cluster: Object) -> str:
    return f"/api/v1/namespaces/{cluster['metadata']['namespace']}/pods"


def mutations(pair: tuple[Replica, Replica]) -> float:
    """How often the API server has called the mutating webhook for a new pod."""
    labels = 'allowed="true",kind="Pod",operation="CREATE",webhook="mutate"'
    return sum(
        replica.metric(f"raywarden_admission_requests_total{{{labels}}}") for replica in pair
    )


def api_token_mounts(pod: Object) -> Iterator[tuple[str, str]]:
    """Each container with a volume where it expects the API token, and the volume's name."""
    for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
        for mount in container.get("volumeMounts", []):
            if mount["mountPath"] == API_TOKEN:
                yield container["name"], mount["name"]
