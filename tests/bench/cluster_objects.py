"""The pods and RayClusters of a storm, as KubeRay's operator and its users write them."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.kuberay_operator import OPERATOR
from tests.bench import load
from tests.support.factory import Object, changed
from tests.support.paths import FIXTURES

# Half of all objects go to each replica, by this label.
SHARE = "bench"
_SHARES = ("one", "two")
SELECTORS: tuple[Object, Object] = (
    {"matchExpressions": [{"key": SHARE, "values": ["two"], "operator": "NotIn"}]},
    {"matchExpressions": [{"key": SHARE, "values": ["two"], "operator": "In"}]},
)
PODS_A_CLUSTER = 20
_CLUSTERS_A_TEAM = 25
# The API server writes these fields.
_STORED = ("uid", "creationTimestamp", "managedFields", "resourceVersion", "generation")


@dataclass(frozen=True)
class Team:
    """A namespace, and the requests that create a pod of its RayCluster in it."""

    namespace: str
    pods: Sequence[bytes]

    @classmethod
    def make(cls, installation: Installation, **labels: str) -> "Team":
        """Create the namespace and a RayCluster, to which the pods belong."""
        namespace = installation.team(**labels)
        cluster = _ray_cluster(namespace, "training")
        owner = installation.control_plane.make(_clusters_in(namespace), cluster)
        template = _pod(namespace, owner["metadata"]["uid"])
        pods = [changed(template, {f"/metadata/labels/{SHARE}": share}) for share in _SHARES]
        headers = {"Impersonate-User": OPERATOR}
        path = f"/api/v1/namespaces/{namespace}/pods"
        return cls(namespace, [load.request(path, headers, _encoded(pod)) for pod in pods])

    def clean(self, control_plane: ControlPlane) -> None:
        """Delete the pods, and the RayClusters that own none."""
        for path in (f"/api/v1/namespaces/{self.namespace}/pods", _clusters_in(self.namespace)):
            selector = {"labelSelector": SHARE, "gracePeriodSeconds": "0"}
            response = control_plane.admin.delete(path, params=selector, timeout=120)
            assert response.is_success, response.text


def teams_for(installation: Installation, clusters: int, **labels: str) -> list[Team]:
    """As many namespaces as this many RayClusters need."""
    number = -(-clusters // _CLUSTERS_A_TEAM) or 1
    return [Team.make(installation, **labels) for _ in range(number)]


def pods(teams: Sequence[Team], count: int) -> Iterator[bytes]:
    """The requests for this many pods, in all teams by turns."""
    each = itertools.cycle([pod for team in teams for pod in team.pods])
    return itertools.islice(each, count)


def storm(teams: Sequence[Team], pod_count: int, cluster_count: int) -> Iterator[bytes]:
    """The requests for pods and RayClusters, evenly mixed."""
    for index, pod in enumerate(pods(teams, pod_count)):
        number, rest = divmod(index, PODS_A_CLUSTER)
        if not rest and number < cluster_count:
            yield _cluster_request(teams[number % len(teams)].namespace, number)
        yield pod


def _cluster_request(namespace: str, number: int) -> bytes:
    document = _ray_cluster(namespace, f"storm-{number}")
    document["metadata"]["labels"][SHARE] = _SHARES[number % 2]
    return load.request(_clusters_in(namespace), {}, _encoded(document))


def _clusters_in(namespace: str) -> str:
    return f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"


def _ray_cluster(namespace: str, name: str) -> Object:
    document = _object("raycluster-20k")
    return changed(document, {"/metadata/namespace": namespace, "/metadata/name": name})


def _pod(namespace: str, owner: str) -> Object:
    """A worker pod, before the API server mounts its API token."""
    document = _object("pod-10k")
    document["metadata"]["namespace"] = namespace
    document["metadata"]["ownerReferences"][0]["uid"] = owner
    spec = document["spec"]
    spec["serviceAccountName"] = "ray"
    for field in ("serviceAccount", "priority", "preemptionPolicy"):
        spec.pop(field, None)
    spec["volumes"] = _without_api_token(spec["volumes"])
    for container in spec["initContainers"] + spec["containers"]:
        container["volumeMounts"] = _without_api_token(container["volumeMounts"])
    return document


def _without_api_token(entries: Sequence[Object]) -> list[Object]:
    return [entry for entry in entries if not entry["name"].startswith("kube-api-access-")]


def _object(name: str) -> Object:
    review = json.loads((FIXTURES / "bench" / f"{name}.json").read_text())
    document: Object = review["request"]["object"]
    for field in _STORED:
        document["metadata"].pop(field, None)
    return document


def _encoded(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
