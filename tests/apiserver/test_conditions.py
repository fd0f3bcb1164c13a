"""What the API server sends to us, and what it costs it to find out: nobody answers, so what is sent is refused."""

import time

import httpx
import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, until
from tests.support.factory import Object

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_NOBODY = "https://127.0.0.1:1"
_SLICES = "system:serviceaccount:kube-system:endpointslice-controller"
_COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"


@pytest.fixture(scope="module", autouse=True)
def namespace(control_plane: ControlPlane, installation: Installation) -> str:
    """Of which everything goes where nobody is."""
    installation.register_at(_NOBODY, _NOBODY)
    made = installation.team()
    until(
        lambda: is_sent(dry(control_plane, made, pod(metadata={"labels": {"ray.io/cluster": "x"}})))
    )
    return made


def pod(*containers: Object, **fields: Object) -> Object:
    listed = [
        {"name": f"c{number}", "image": "x", **one}
        for number, one in enumerate(containers or ({},))
    ]
    return {"metadata": {}, **fields, "spec": {"serviceAccountName": "ray", "containers": listed}}


def dry(control_plane: ControlPlane, namespace: str, document: Object) -> httpx.Response:
    named = {**document, "metadata": {"generateName": "one-", **document["metadata"]}}
    return control_plane.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", named)


def is_sent(answer: httpx.Response) -> bool:
    assert answer.is_success or "failed calling webhook" in answer.text, answer.text
    return not answer.is_success


HUGE = {
    "words": pod({"args": ["x"] * 100_000}),
    "labels": pod(metadata={"labels": {f"l{number}": "" for number in range(30_000)}}),
    "containers": pod(*({"args": ["x"]} for _ in range(5_000))),
}


@pytest.mark.parametrize("message", HUGE)
def test_huge_objects_do_not_hold_up_the_api_server(
    control_plane: ControlPlane, namespace: str, message: str
) -> None:
    """In CEL it took 15 seconds for the words, and was refused as too costly for some more."""
    start = time.monotonic()
    assert is_sent(dry(control_plane, namespace, HUGE[message]))
    assert time.monotonic() - start < 3


def test_what_is_not_of_ray_is_left_alone_at_any_size_that_is_looked_at(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Stored, and updated by whoever runs it: then both objects are looked at, within the API server's bound."""
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
def test_words_that_only_hold_those_of_ray_start_are_not_sent(
    control_plane: ControlPlane, namespace: str, command: list[str], sent: bool
) -> None:
    assert is_sent(dry(control_plane, namespace, pod({"command": command}))) is sent


def test_a_pod_of_ray_ends_under_calico(
    control_plane: ControlPlane, installation: Installation
) -> None:
    """Its CNI plugin empties an annotation of the pod, and fails where it cannot."""
    team = installation.team(unseen="")
    path = f"/api/v1/namespaces/{team}/pods"
    control_plane.make(path, pod(metadata={"name": "ending", "labels": {"ray.io/cluster": "x"}}))
    control_plane.patch(f"/api/v1/namespaces/{team}", {"metadata": {"labels": {"unseen": None}}})
    other = {"metadata": {"annotations": {"other": ""}}}
    until(lambda: is_sent(control_plane.change(f"{path}/ending/status?dryRun=All", other)))
    ended = {"metadata": {"annotations": {"cni.projectcalico.org/podIP": ""}}}
    assert not is_sent(control_plane.change(f"{path}/ending/status", ended))


def test_a_namespace_is_not_loosened_by_any_way_to_write_it(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Labels are kept of what is sent to `finalize`, too, and the one that our selector asks for is nobody's to set."""
    path = f"/api/v1/namespaces/{namespace}"
    labels = {"raywarden.io/enforce": "privileged", "kubernetes.io/metadata.name": "kube-system"}
    document = {
        **control_plane.get(path),
        "metadata": {**control_plane.get(path)["metadata"], "labels": labels},
    }
    for way in ("", "/status", "/finalize"):
        assert is_sent(control_plane.admin.put(f"{path}{way}", json=document)), way
    assert is_sent(control_plane.change(path, {"metadata": {"labels": labels}}))


def test_a_namespace_is_finalized(control_plane: ControlPlane, namespace: str) -> None:
    document = control_plane.get(f"/api/v1/namespaces/{namespace}")
    assert not is_sent(
        control_plane.admin.put(f"/api/v1/namespaces/{namespace}/finalize", json=document)
    )


def test_garbage_is_collected_around_slices(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "1"}
    metadata = {"name": "web", "ownerReferences": [owner], "finalizers": ["foregroundDeletion"]}
    listed = {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.7"]}],
        "ports": [{"port": 80}],
    }
    control_plane.make(path, {"metadata": metadata, **listed}, _SLICES)
    for field in ("ownerReferences", "finalizers"):
        assert not is_sent(
            control_plane.change(f"{path}/web", {"metadata": {field: None}}, _COLLECTOR)
        )
    assert is_sent(control_plane.change(f"{path}/web", {"ports": [{"port": 8265}]}))


def test_pods_do_not_become_rays_by_binding_them(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Labels that a Binding carries are written into the pod since Kubernetes 1.35, its annotations by all versions.

    Volcano sends a pod's own annotations along (`DefaultBinder.Bind`).
    """
    path, target = f"/api/v1/namespaces/{namespace}", {"kind": "Node", "name": "node"}
    control_plane.make(f"{path}/pods", pod(metadata={"name": "to-bind"}))
    forged = {
        "metadata": {"name": "to-bind", "labels": {"ray.io/cluster": "victim"}},
        "target": target,
    }
    # The API server hears of policies a little late.
    until(lambda: control_plane.post(f"{path}/bindings?dryRun=All", forged).status_code == 422)
    for way in ("bindings", "pods/to-bind/binding"):
        assert "by binding it to a node" in control_plane.post(f"{path}/{way}", forged).text
    usual = {
        "name": "to-bind",
        "labels": {"zone": "a"},
        "annotations": {"raywarden.io/injected": "{}"},
    }
    assert control_plane.post(
        f"{path}/pods/to-bind/binding", {"metadata": usual, "target": target}
    ).is_success
