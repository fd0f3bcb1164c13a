"""While RayWarden is unavailable, nothing unsafe is accepted and other objects keep working."""

from collections.abc import Iterator

import httpx
import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.kuberay_operator import OPERATOR
from tests.apiserver.pods import (
    cluster_of,
    give_address,
    make_cluster,
    make_pods,
    marked_worker,
    place_of,
)
from tests.apiserver.replica import replicas
from tests.support.factory import Object, changed

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_POLICIES = "networkpolicies.networking.k8s.io"


class Team:
    """A namespace with a cluster and pods from before the outage, and requests during it."""

    def __init__(self, installation: Installation) -> None:
        self.control_plane, self.namespace = installation.control_plane, installation.team()
        self.cluster = make_cluster(self.control_plane, self.namespace)
        self.head, _ = make_pods(self.control_plane, self.cluster)

    def path(self, plural: str, group: str = "api/v1") -> str:
        return f"/{group}/namespaces/{self.namespace}/{plural}"

    @property
    def place(self) -> str:
        return f"{self.path('rayclusters', 'apis/ray.io/v1')}/demo"

    def pod(self) -> httpx.Response:
        return self.control_plane.post(self.path("pods"), marked_worker(self.cluster), OPERATOR)

    def service(self, kind: str) -> httpx.Response:
        spec = {"type": kind, "selector": {"app": "web"}, "ports": [{"port": 80}]}
        return self.control_plane.post(
            self.path("services"), {"metadata": {"generateName": "web-"}, "spec": spec}
        )


@pytest.fixture
def team(control_plane: ControlPlane) -> Iterator[Team]:
    """A team in a cluster where RayWarden is registered but has no replica."""
    installation = Installation.make(control_plane)
    with replicas(installation, 1) as (replica,):
        installation.register(replica, replica)
        replica.wait_ready()
        installation.wait_effective()
        team = Team(installation)
        assert replica.stop() == 0
        yield team
    installation.unregister()


def test_no_object_of_ray_is_accepted_unchecked(team: Team) -> None:
    control_plane = team.control_plane
    new = cluster_of("new")
    privileged = changed(team.cluster, {"/spec/headGroupSpec/template/spec/hostNetwork": True})
    loose = {"metadata": {"labels": {"raywarden.io/enforce": "privileged"}}}
    responses = [
        team.pod(),
        control_plane.post(team.path("rayclusters", "apis/ray.io/v1"), new),
        control_plane.change(team.place, {"spec": privileged["spec"]}),
        team.service("NodePort"),
        control_plane.change(
            place_of(team.head), {"metadata": {"labels": {"ray.io/cluster": "other"}}}
        ),
        control_plane.change(f"/api/v1/namespaces/{team.namespace}", loose),
    ]
    for response in responses:
        assert response.status_code == 500, response.text
        assert "failed calling webhook" in response.text and "raywarden.io" in response.text


def test_other_objects_and_running_pods_are_not_affected(team: Team) -> None:
    control_plane = team.control_plane
    plain = {
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "web", "image": "nginx:1.29"}]},
    }
    plain["spec"]["serviceAccountName"] = "ray"  # type: ignore[index]  # a literal of mixed types
    label = {"metadata": {"labels": {"team": "vision"}}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": plain["spec"]}
    deployment = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
    }
    responses = [
        control_plane.post(team.path("pods"), plain),
        control_plane.post(team.path("deployments", "apis/apps/v1"), deployment),
        team.service("ClusterIP"),
        control_plane.change(f"/api/v1/namespaces/{team.namespace}", label),
        control_plane.change(team.place, {"metadata": {"finalizers": ["ray.io/test"]}}),
        control_plane.change(team.place, {"metadata": {"finalizers": None}}),
    ]
    assert [response.text for response in responses if not response.is_success] == []
    give_address(control_plane, team.head, "10.1.0.9")
    control_plane.delete(place_of(team.head))
    control_plane.delete(team.place)


def test_a_new_replica_works_as_the_one_before(control_plane: ControlPlane) -> None:
    installation = Installation.make(control_plane)
    with replicas(installation, 1) as (first,):
        installation.register(first, first)
        first.wait_ready()
        installation.wait_effective()
        team, bundles = Team(installation), installation.bundles()
        first.stop()
    assert not team.pod().is_success
    with replicas(installation, 1) as (second,):
        installation.register(second, second)
        second.wait_ready()
        installation.wait_effective()
        response = team.pod()
        assert response.is_success and "raywarden-enroll" in response.text
        assert installation.bundles() == bundles, "the CA was not derived from the same seed"
    installation.unregister()


def test_a_server_without_a_right_names_it_and_does_not_get_ready(
    control_plane: ControlPlane,
) -> None:
    """For example after an upgrade of the image alone, if the new version needs another right."""
    installation = Installation.make(control_plane)
    role: Object = control_plane.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/raywarden")
    fewer = [rule for rule in role["rules"] if "networkpolicies" not in rule["resources"]]
    control_plane.patch(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/raywarden", {"rules": fewer}
    )
    with replicas(installation, 1) as (replica,):
        replica.wait_missing(_POLICIES, "webhook configurations")
        state = (
            f"the service account may not list {_POLICIES}: "
            "grant it with RBAC (deploy/base shows how)"
        )
        replica.wait_logged("watch state changed", resource=_POLICIES, state=state)
        control_plane.patch(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/raywarden", {"rules": role["rules"]}
        )
        replica.wait_missing("webhook configurations")
