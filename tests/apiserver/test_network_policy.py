"""`raywarden network-policy` with a real API server: what it prints is stored as it is."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.support.factory import Object, changed, ray_cluster, ray_cron_job, ray_job, ray_service

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_ALL = (
    *("--mode", "deny-all", "--egress", "internet:443,1000-2000", "--egress", "api-server"),
    *("--egress", "dns", "--egress", "[fd00::/8]", "--egress", "*/app=s3:9000"),
    *("--allow-from", "10.1.2.3/8:20000-20010", "--allow-from", "[2001:db8::1]:1"),
    *("--allow-from", ".", "--allow-from", "*", "--allow-from", "notebooks/a.b/c=,app=x:8265"),
    *("--monitoring", "monitoring", "--monitoring", "*:9090-9099"),
)
_CHOICES = {"members": ("--mode", "members"), "deny-ingress": (), "deny-all": _ALL}
_OBJECTS = {
    each["kind"]: each for each in (ray_cluster(), ray_job(), ray_service(), ray_cron_job())
}


@pytest.fixture(scope="module")
def namespace(control_plane: ControlPlane, installation: Installation) -> str:
    """A namespace without webhooks."""
    return installation.team()


def run(*arguments: str, stdin: str = "") -> str:
    process = subprocess.run(
        [sys.executable, "-m", "webhook", "network-policy", *arguments],
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return process.stdout


def placed(document: Object, namespace: str) -> Object:
    options: Object = {"/metadata/namespace": namespace}
    spec = {"RayCluster": "/spec", "RayCronJob": "/spec/jobTemplate/rayClusterSpec"}
    if document["kind"] in spec:
        options |= {f"{spec[document['kind']]}/enableInTreeAutoscaling": True}
    return changed(document, options)


@pytest.mark.parametrize("options", _CHOICES)
@pytest.mark.parametrize("kind", _OBJECTS)
def test_what_is_printed_is_stored_as_it_is(
    control_plane: ControlPlane, namespace: str, kind: str, options: str
) -> None:
    source = yaml.safe_dump(placed(_OBJECTS[kind], namespace))
    text = run("-", *_CHOICES[options], stdin=source)
    control_plane.apply_text(text)
    documents = list(yaml.safe_load_all(text))
    assert documents
    for document in documents:
        stored = control_plane.get(_path(namespace, document["metadata"]["name"]))
        assert stored["spec"] == document["spec"]


def test_a_cluster_that_runs_is_printed_and_adopted(
    control_plane: ControlPlane, installation: Installation, namespace: str, tmp_path: Path
) -> None:
    clusters = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"
    control_plane.make(clusters, placed(ray_cluster(), namespace))
    options = ("--kubeconfig", str(control_plane.admin_kubeconfig))
    text = run(f"{namespace}/demo", "--mode", "deny-all", *options)
    control_plane.apply_text(text)
    assert "its addresses are unknown here" not in text
    for document in yaml.safe_load_all(text):
        stored = control_plane.get(_path(namespace, document["metadata"]["name"]))
        assert stored["spec"] == document["spec"]
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: raywarden.io/v1alpha1\nkind: Policy\n")
    adopted = ("--adopt", f"{namespace}/demo", "--policy", str(policy))
    output = run(*adopted, *options)
    assert output.endswith(f"RayCluster {namespace}/demo: adopted\n")
    metadata = control_plane.get(f"{clusters}/demo")["metadata"]
    assert metadata["annotations"]["raywarden.io/network-isolation"] == "managed"


def _path(namespace: str, name: str) -> str:
    return f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/{name}"
