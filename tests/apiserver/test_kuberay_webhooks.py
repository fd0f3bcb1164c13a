"""RayWarden beside the webhooks that KubeRay registers itself, on a real API server.

KubeRay's pods webhook gives a worker the labels of its node (kuberay#5300): it puts the generated
`ray start` behind a command that writes a file of labels, and refuses a pod that it cannot change.
Its name decides whether the API server calls it before or after RayWarden.
"""

import json
import ssl
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from policies.documents.draft import Draft
from policies.documents.pointer import ROOT, Pointer
from tests.apiserver.control_plane import AUDIT_LOG, ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.kuberay_operator import NAME, NAMESPACE
from tests.apiserver.other_webhook import OtherWebhook
from tests.apiserver.pods import init_container, make_cluster, place_of
from tests.apiserver.replica import Replica
from tests.e2e.captured import pod_of
from tests.support.factory import Object, changed

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_RAY = ROOT / "spec" / "containers" / 0
_START = "KUBERAY_GEN_RAY_START_CMD"
_LABELS, _FILE = "RAY_NODE_LABELS_JSON", "/tmp/ray-labels.yaml"
_ANNOTATION = "ray.io/topology-labels"
_ROUND = "mutation.webhook.admission.k8s.io/round_"
BEFORE, AFTER = "kuberay-operator", "zz-kuberay-operator"
Calls = list[tuple[int, str, bool]]


def deliver_node_labels(draft: Draft) -> None:
    """Changes a worker as KubeRay does; a second call changes nothing."""
    metadata, ray = draft.document["metadata"], draft.document["spec"]["containers"][0]
    variables = {entry["name"]: entry for entry in ray["env"]}
    if metadata["labels"].get("ray.io/node-type") != "worker" or _LABELS in variables:
        return
    command, (script,) = variables[_START]["value"], ray["args"]
    assert script.count(command) == 1, f"{command!r} in {script!r}"
    test = f'if [ -z "${_LABELS}" ]; then echo "{_LABELS} is empty" >&2; exit 1; fi; '
    write = f"printf '%s\\n' \"${_LABELS}\" > {_FILE}; {command} --labels-file={_FILE}"
    draft.replace(Pointer((*_RAY, "args", 0)), script.replace(command, test + write))
    source = {"fieldRef": {"fieldPath": f"metadata.annotations['{_ANNOTATION}']"}}
    draft.insert(_RAY, "env", len(ray["env"]), [{"name": _LABELS, "valueFrom": source}])


@pytest.fixture(scope="module")
def namespace(installation: Installation, pair: tuple[Replica, Replica]) -> str:
    return installation.team()


@pytest.fixture(scope="module")
def operator(control_plane: ControlPlane, installation: Installation) -> Iterator[httpx.Client]:
    """KubeRay's operator with its own token, so that the API server logs its requests."""
    control_plane.make("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    control_plane.make(accounts, {"metadata": {"name": NAME}})
    headers = {"Authorization": f"Bearer {control_plane.token(NAMESPACE, NAME)}"}
    with httpx.Client(
        base_url=control_plane.server,
        headers=headers,
        verify=ssl.create_default_context(cafile=control_plane.ca),
        trust_env=False,
    ) as client:
        yield client
    control_plane.delete(f"/api/v1/namespaces/{NAMESPACE}")


def worker_of(cluster: Object) -> Object:
    """A worker as KubeRay sends it, with its whole command."""
    changes = {
        "/metadata/namespace": cluster["metadata"]["namespace"],
        "/spec/serviceAccountName": "ray",
        "/spec/serviceAccount": None,
    }
    return changed(pod_of(cluster, "worker"), changes)


def create(operator: httpx.Client, pod: Object) -> tuple[Object, str]:
    """Creates a pod; returns what is stored, and the id of the request in the audit log."""
    response = operator.post(f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods", json=pod)
    assert response.is_success, response.text
    return response.json(), response.headers["Audit-Id"]


def create_changed(operator: httpx.Client, pod: Object) -> tuple[Object, str]:
    """Like `create`, but waits until the API server calls KubeRay's webhook."""

    def changed_pods() -> list[tuple[Object, str]]:
        stored, request = create(operator, pod)
        return [(stored, request)] if _FILE in script_of(stored) else []

    return until(changed_pods)[0]


def script_of(pod: Object) -> str:
    (script,) = pod["spec"]["containers"][0]["args"]
    return str(script)


def calls_of(control_plane: ControlPlane, request: str) -> Calls:
    """The calls of mutating webhooks for a request: round, configuration, and if it had a patch."""
    log = control_plane.folder / AUDIT_LOG

    def event() -> Object:
        lines = log.read_text().splitlines()
        return next((json.loads(line) for line in lines if request in line), {})

    annotations = until(event)["annotations"]
    calls = []
    for name in sorted(annotations):
        if name.startswith(_ROUND):
            call = json.loads(annotations[name])
            number = int(name.removeprefix(_ROUND).partition("_")[0])
            calls.append((number, call["configuration"], call["mutated"]))
    return calls


def assert_ready_for_ray(pod: Object) -> None:
    """Both webhooks have done their work, once."""
    ray, (first, *_) = pod["spec"]["containers"][0], pod["spec"]["initContainers"]
    names = [entry["name"] for entry in ray["env"]]
    assert first == init_container(pod)
    for name in ("RAY_USE_TLS", "RAYWARDEN_POD_IP", _START, _LABELS):
        assert names.count(name) == 1, names
    # Kubernetes expands the address only in what comes after the variable.
    assert names.index("RAYWARDEN_POD_IP") < names.index(_START)
    script, start = script_of(pod), ray["env"][names.index(_START)]["value"]
    assert "--node-ip-address=$(RAYWARDEN_POD_IP)" in start
    assert script.count(start) == 1 and script.endswith(f"--labels-file={_FILE}")


@pytest.mark.parametrize(
    ("name", "reinvocation", "expected"),
    [
        (BEFORE, "Never", [(0, BEFORE, True), (0, "raywarden", True)]),
        # RayWarden is not called again: nothing changed after its call.
        (BEFORE, "IfNeeded", [(0, BEFORE, True), (0, "raywarden", True), (1, BEFORE, False)]),
        (AFTER, "Never", [(0, "raywarden", True), (0, AFTER, True), (1, "raywarden", False)]),
        (AFTER, "IfNeeded", [(0, "raywarden", True), (0, AFTER, True), (1, "raywarden", False)]),
    ],
)
def test_a_worker_passes_both_webhooks_in_either_order(
    control_plane: ControlPlane,
    operator: httpx.Client,
    namespace: str,
    name: str,
    reinvocation: str,
    expected: Calls,
) -> None:
    pod = worker_of(make_cluster(control_plane, namespace, f"c-{uuid4().hex[:8]}"))
    with OtherWebhook(name, deliver_node_labels, reinvocation).running(control_plane):
        stored, request = create_changed(operator, pod)
    assert_ready_for_ray(stored)
    assert calls_of(control_plane, request) == expected


def test_the_labels_of_the_node_reach_the_pod(
    control_plane: ControlPlane, operator: httpx.Client, namespace: str
) -> None:
    """KubeRay's second webhook annotates the binding; the API server copies that to the pod."""
    pod = worker_of(make_cluster(control_plane, namespace, f"c-{uuid4().hex[:8]}"))
    with OtherWebhook(AFTER, deliver_node_labels).running(control_plane):
        stored, _ = create_changed(operator, pod)
    place, name = place_of(stored), stored["metadata"]["name"]
    labels = {_ANNOTATION: '{"ray.io/zone":"a"}'}
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name, "annotations": labels},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "node-a"},
    }
    control_plane.make(f"{place}/binding", binding)
    control_plane.patch(f"{place}/status", {"status": {"podIP": "10.1.2.3"}})
    bound = control_plane.get(place)
    assert bound["metadata"]["annotations"].items() >= labels.items()
    assert bound["spec"]["containers"] == stored["spec"]["containers"]
    response = operator.patch(
        place,
        json={"metadata": {"labels": {"ray.io/serve": "true"}}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert response.is_success, response.text
    assert operator.delete(place).is_success


def test_a_node_with_the_name_of_its_pod(
    control_plane: ControlPlane, operator: httpx.Client, namespace: str
) -> None:
    """KubeRay may give a pod a host name and register the node under it (kuberay#5191)."""
    cluster = make_cluster(control_plane, namespace, f"c-{uuid4().hex[:8]}")
    host, service = "worker-0", f"{cluster['metadata']['name']}-headless"
    name = f"{host}.{service}.{namespace}.svc.cluster.local"
    text = json.dumps(worker_of(cluster)).replace("$(RAYWARDEN_POD_IP)", name)
    pod = changed(json.loads(text), {"/spec/hostname": host, "/spec/subdomain": service})
    stored, request = create(operator, pod)
    assert init_container(stored) == stored["spec"]["initContainers"][0]
    assert f"--node-ip-address={name}" in script_of(stored)
    assert calls_of(control_plane, request) == [(0, "raywarden", True)]
