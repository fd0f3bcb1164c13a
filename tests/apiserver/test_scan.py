"""`raywarden scan` against a real API server, with many rights, few, and none."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.apiserver.command import run_command
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, define
from tests.apiserver.permissions import RBAC
from tests.apiserver.pods import make_cluster, make_pods, variable
from tests.apiserver.replica import Replica
from tests.support import factory
from tests.support.deployed import rendered
from tests.support.factory import Object
from tests.support.paths import DEPLOY

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def team(installation: Installation) -> str:
    """A namespace with a RayCluster that RayWarden would refuse."""
    for kind in ("RayJob", "RayService", "RayCronJob"):
        define(installation.control_plane, "ray.io", "v1", kind)
    namespace = installation.team(unseen="true")
    cluster = factory.ray_cluster()
    cluster["metadata"]["namespace"] = namespace
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"
    installation.control_plane.make(path, cluster)
    return namespace


@pytest.fixture
def open_reports(control_plane: ControlPlane) -> Iterator[None]:
    """The reports of openreports.io, as far as RayWarden writes them."""
    paths = list(_define_reports(control_plane, "openreports.io", "v1alpha1", "Report"))
    yield
    for path in paths:
        control_plane.delete(path)


def scan(
    installation: Installation, kubeconfig: Path, *options: str, **settings: str
) -> tuple[int, str, str]:
    """Run `raywarden scan`; returns its exit code, output and errors."""
    process = run_command(installation, kubeconfig, "scan", *options, **settings)
    return process.returncode, process.stdout, process.stderr


def test_a_member_of_a_team_scans_their_namespace(installation: Installation, team: str) -> None:
    kubeconfig = _account(installation.control_plane, team, "member")
    code, output, errors = scan(installation, kubeconfig, "-n", team, "-o", "json")
    assert code == 1, errors
    report = json.loads(output)
    (cluster,) = [each for each in report["objects"] if each["kind"] == "RayCluster"]
    assert (cluster["source"], cluster["allowed"]) == (f"RayCluster {team}/demo", False)
    notes = "\n".join(report["notes"])
    assert "rules that need clusterroles.rbac.authorization.k8s.io cannot be sure" in notes
    assert "httproutes" not in notes, "they are not installed"
    code, _, errors = scan(installation, kubeconfig)
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith("raywarden: nothing of Ray can be read")


def test_what_admission_has_accepted_is_allowed(
    pair: tuple[Replica, Replica], installation: Installation
) -> None:
    """Stored objects have what admission and the API server wrote into them."""
    control_plane, namespace = installation.control_plane, installation.team()
    cluster = make_cluster(control_plane, namespace)
    # Each replica here has an address of its own, and a scan knows only one.
    for pod in make_pods(control_plane, cluster):
        code, output, errors = scan(
            installation,
            control_plane.admin_kubeconfig,
            *("-n", namespace, "-o", "json"),
            RAYWARDEN_SIGNER_URL=variable(pod, "RAYWARDEN_SIGNER_URL"),
        )
        assert code in (0, 1), errors
        objects = {each["source"]: each for each in json.loads(output)["objects"]}
        for source in (
            f"RayCluster {namespace}/demo",
            f"Pod {namespace}/{pod['metadata']['name']}",
        ):
            assert objects[source]["allowed"], objects[source]["findings"]


def test_without_an_api_server_there_is_one_line(installation: Installation) -> None:
    content = yaml.safe_load(installation.control_plane.admin_kubeconfig.read_text())
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    kubeconfig = installation.control_plane.folder / "nobody.kubeconfig"
    kubeconfig.write_text(json.dumps(content))
    code, output, errors = scan(installation, kubeconfig)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "the API server cannot be reached" in errors


def test_without_a_crd_for_reports_there_is_one_line(installation: Installation) -> None:
    kubeconfig = installation.control_plane.admin_kubeconfig
    code, _, errors = scan(installation, kubeconfig, "--report")
    assert (code, errors.count("\n")) == (2, 1)
    assert "neither Report (openreports.io/v1alpha1) nor PolicyReport (wgpolicyk8s.io" in errors


def test_reports_are_written_with_the_shipped_rights_and_stale_ones_deleted(
    installation: Installation, team: str, open_reports: None
) -> None:
    control_plane = installation.control_plane
    home = installation.namespace
    for document in _shipped(home):
        control_plane.apply(document)
    token = control_plane.token(home, "raywarden-scan")
    kubeconfig = control_plane.kubeconfig("scan", token)
    reports = f"/apis/openreports.io/v1alpha1/namespaces/{team}/reports"
    labels = {"app.kubernetes.io/managed-by": "raywarden"}
    for name, marks in (("raywarden-7", labels), ("of-another-tool", {})):
        metadata = {"name": name, "labels": marks}
        kind = {"apiVersion": "openreports.io/v1alpha1", "kind": "Report"}
        control_plane.make(reports, {**kind, "metadata": metadata, "results": []})
    code, _, errors = scan(installation, kubeconfig, "--report", "--fail-on", "never")
    assert code == 0, errors
    assert "Report objects (openreports.io/v1alpha1)" in errors
    stored = {item["metadata"]["name"]: item for item in control_plane.get(reports)["items"]}
    assert stored.keys() == {"raywarden", "of-another-tool"}
    _check_report(stored["raywarden"], team)
    control_plane.delete(f"/apis/ray.io/v1/namespaces/{team}/rayclusters/demo")
    scan(installation, kubeconfig, "--report")
    names = [item["metadata"]["name"] for item in control_plane.get(reports)["items"]]
    assert names == ["of-another-tool"]


def _check_report(report: Object, team: str) -> None:
    assert report["source"] == "raywarden"
    results = report["results"]
    assert report["summary"]["fail"] == sum(result["result"] == "fail" for result in results) > 0
    (resource,) = results[0]["resources"]
    assert resource.pop("uid")
    assert resource == {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "namespace": team,
        "name": "demo",
    }
    identities = [result["properties"]["resultID"] for result in results]
    assert len(set(identities)) == len(identities)
    assert {result["severity"] for result in results} <= {"critical", "high", "medium", "low"}


def _account(control_plane: ControlPlane, namespace: str, role: str) -> Path:
    """A kubeconfig for an account that may read Ray and what `role` allows in one namespace."""
    rules = [{"apiGroups": ["ray.io"], "resources": ["*"], "verbs": ["get", "list"]}]
    rules.append({"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["list"]})
    path = f"{RBAC}/namespaces/{namespace}"
    control_plane.make(f"{path}/roles", {"metadata": {"name": role}, "rules": rules})
    control_plane.make(
        f"{path}/rolebindings",
        {
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "ray", "namespace": namespace}],
        },
    )
    return control_plane.kubeconfig(
        f"member-{uuid4().hex[:8]}", control_plane.token(namespace, "ray")
    )


def _shipped(namespace: str) -> Iterator[Object]:
    """What the overlay adds, in another namespace."""
    text = yaml.safe_dump_all(rendered(DEPLOY / "overlays" / "scan"))
    for document in yaml.safe_load_all(text.replace("raywarden-system", namespace)):
        if document["metadata"]["name"] == "raywarden-scan":
            yield document


def _define_reports(
    control_plane: ControlPlane, group: str, version: str, kind: str
) -> Iterator[str]:
    """Define reports with the fields that server-side apply must know; yields their paths."""
    for scope, name in (("Namespaced", kind), ("Cluster", f"Cluster{kind}")):
        plural = f"{name.lower()}s"
        names = {"kind": name, "listKind": f"{name}List", "plural": plural}
        spec = {
            "group": group,
            "scope": scope,
            "names": {**names, "singular": name.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _REPORT},
                }
            ],
        }
        path = f"{_DEFINITIONS}/{plural}.{group}"
        control_plane.make(_DEFINITIONS, {"metadata": {"name": f"{plural}.{group}"}, "spec": spec})
        yield path


def _object(**properties: Any) -> Object:
    return {"type": "object", "properties": properties}


_TEXT, _NUMBER = {"type": "string"}, {"type": "integer"}
_RESULT = _object(
    source=_TEXT,
    policy=_TEXT,
    rule=_TEXT,
    category=_TEXT,
    message=_TEXT,
    severity={**_TEXT, "enum": ["critical", "high", "low", "medium", "info"]},
    result={**_TEXT, "enum": ["pass", "fail", "warn", "error", "skip"]},
    scored={"type": "boolean"},
    timestamp={**_object(seconds={**_NUMBER, "format": "int64"}, nanos=_NUMBER)},
    properties={"type": "object", "additionalProperties": _TEXT},
    resources={
        "type": "array",
        "items": _object(apiVersion=_TEXT, kind=_TEXT, name=_TEXT, namespace=_TEXT, uid=_TEXT),
    },
)
_COUNTS = dict.fromkeys(("pass", "fail", "warn", "error", "skip"), _NUMBER)
# The fields that both APIs of reports have in common, and `source` of openreports.io.
_REPORT = _object(
    source=_TEXT, summary=_object(**_COUNTS), results={"type": "array", "items": _RESULT}
)
