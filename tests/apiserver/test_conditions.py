"""Which requests the API server sends to RayWarden, and what its match conditions cost.

The registered webhooks are unreachable, so the API server refuses every request that it sends.
"""

import httpx
import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, until
from tests.bench.load import cpu_seconds
from tests.support.factory import Object

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_UNREACHABLE = "https://127.0.0.1:1"
_SLICES = "system:serviceaccount:kube-system:endpointslice-controller"
_COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"


@pytest.fixture(scope="module", autouse=True)
def namespace(control_plane: ControlPlane, installation: Installation) -> str:
    """A namespace whose requests are sent to an address without a server."""
    installation.register_at(_UNREACHABLE, _UNREACHABLE)
    namespace = installation.team()
    ray_pod = pod(metadata={"labels": {"ray.io/cluster": "x"}})
    until(lambda: is_sent(dry(control_plane, namespace, ray_pod)))
    return namespace


def pod(*containers: Object, **fields: Object) -> Object:
    named = [
        {"name": f"c{number}", "image": "x", **container}
        for number, container in enumerate(containers or ({},))
    ]
    return {"metadata": {}, **fields, "spec": {"serviceAccountName": "ray", "containers": named}}


def dry(control_plane: ControlPlane, namespace: str, document: Object) -> httpx.Response:
    named = {**document, "metadata": {"generateName": "one-", **document["metadata"]}}
    return control_plane.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", named)


def is_sent(response: httpx.Response) -> bool:
    """Whether the API server has sent the request to a webhook, which then failed."""
    assert response.is_success or "failed calling webhook" in response.text, response.text
    return not response.is_success


HUGE = {
    "words": pod({"args": ["x"] * 100_000}),
    "labels": pod(metadata={"labels": {f"l{number}": "" for number in range(30_000)}}),
    "containers": pod(*({"args": ["x"]} for _ in range(5_000))),
}


@pytest.mark.parametrize("part", HUGE)
def test_huge_objects_do_not_block_the_api_server(
    control_plane: ControlPlane, namespace: str, part: str
) -> None:
    """They are sent without a look at their parts.

    CEL needed 15 seconds for the words, and exceeded its cost limit for a few more.
    """
    start = cpu_seconds(control_plane.process_id)
    assert is_sent(dry(control_plane, namespace, HUGE[part]))
    assert cpu_seconds(control_plane.process_id) - start < 3


def test_other_objects_are_not_sent_up_to_the_size_that_cel_examines(
    control_plane: ControlPlane, namespace: str
) -> None:
    """An update examines both objects, and still stays within the cost limit of the API server."""
    words = ["x" * 60] * 198 + ["array", "restart"]
    labels = {f"l{number}": "" for number in range(200)}
    document = pod(
        *({"args": words} for _ in range(100)), metadata={"name": "large", "labels": labels}
    )
    path = f"/api/v1/namespaces/{namespace}/pods"
    control_plane.make(path, document)
    control_plane.patch(f"{path}/large", {"metadata": {"annotations": {"new": "one"}}})


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (["bash", "-c", "declare -a array; restart"], False),
        (["v2ray", "--startup"], False),
        (["bash", "-c", "ulimit -n 65536; ray start --head"], True),
        (["/opt/bin/ray", "--logging-level", "debug", "start"], True),
    ],
)
def test_commands_are_sent_only_if_they_start_ray(
    control_plane: ControlPlane, namespace: str, command: list[str], sent: bool
) -> None:
    assert is_sent(dry(control_plane, namespace, pod({"command": command}))) is sent


def test_a_ray_pod_can_end_under_calico(
    control_plane: ControlPlane, installation: Installation
) -> None:
    """The CNI plugin of Calico clears an annotation of the pod, and fails if it cannot."""
    team = installation.team(unseen="")
    path = f"/api/v1/namespaces/{team}/pods"
    control_plane.make(path, pod(metadata={"name": "ending", "labels": {"ray.io/cluster": "x"}}))
    control_plane.patch(f"/api/v1/namespaces/{team}", {"metadata": {"labels": {"unseen": None}}})
    other = {"metadata": {"annotations": {"other": ""}}}
    until(lambda: is_sent(control_plane.change(f"{path}/ending/status?dryRun=All", other)))
    ended = {"metadata": {"annotations": {"cni.projectcalico.org/podIP": ""}}}
    assert not is_sent(control_plane.change(f"{path}/ending/status", ended))


def test_labels_of_a_namespace_are_checked_for_every_subresource(
    control_plane: ControlPlane, namespace: str
) -> None:
    """`finalize` stores labels, too, and no user can set the label that the selector matches."""
    path = f"/api/v1/namespaces/{namespace}"
    labels = {"raywarden.io/enforce": "privileged", "kubernetes.io/metadata.name": "kube-system"}
    document = {
        **control_plane.get(path),
        "metadata": {**control_plane.get(path)["metadata"], "labels": labels},
    }
    for subresource in ("", "/status", "/finalize"):
        response = control_plane.admin.put(f"{path}{subresource}", json=document)
        assert is_sent(response), subresource
    assert is_sent(control_plane.change(path, {"metadata": {"labels": labels}}))


def test_a_namespace_can_be_finalized(control_plane: ControlPlane, namespace: str) -> None:
    document = control_plane.get(f"/api/v1/namespaces/{namespace}")
    assert not is_sent(
        control_plane.admin.put(f"/api/v1/namespaces/{namespace}/finalize", json=document)
    )


def test_the_garbage_collector_can_update_endpoint_slices(
    control_plane: ControlPlane, namespace: str
) -> None:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "1"}
    metadata = {"name": "web", "ownerReferences": [owner], "finalizers": ["foregroundDeletion"]}
    content = {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.7"]}],
        "ports": [{"port": 80}],
    }
    control_plane.make(path, {"metadata": metadata, **content}, _SLICES)
    for field in ("ownerReferences", "finalizers"):
        assert not is_sent(
            control_plane.change(f"{path}/web", {"metadata": {field: None}}, _COLLECTOR)
        )
    assert is_sent(control_plane.change(f"{path}/web", {"ports": [{"port": 8265}]}))


def test_a_binding_cannot_make_a_pod_a_ray_pod(control_plane: ControlPlane, namespace: str) -> None:
    """The API server copies labels of a Binding into the pod since Kubernetes 1.35.

    All versions copy its annotations. Volcano sends the pod's own annotations with a Binding
    (`DefaultBinder.Bind`), so those must be allowed.
    """
    path, target = f"/api/v1/namespaces/{namespace}", {"kind": "Node", "name": "node"}
    control_plane.make(f"{path}/pods", pod(metadata={"name": "to-bind"}))
    forged = {
        "metadata": {"name": "to-bind", "labels": {"ray.io/cluster": "victim"}},
        "target": target,
    }
    # The API server learns of policies with some delay.
    until(lambda: control_plane.post(f"{path}/bindings?dryRun=All", forged).status_code == 422)
    for collection in ("bindings", "pods/to-bind/binding"):
        response = control_plane.post(f"{path}/{collection}", forged)
        assert "by binding it to a node" in response.text
    usual = {
        "name": "to-bind",
        "labels": {"zone": "a"},
        "annotations": {"raywarden.io/injected": "{}"},
    }
    binding = {"metadata": usual, "target": target}
    assert control_plane.post(f"{path}/pods/to-bind/binding", binding).is_success
