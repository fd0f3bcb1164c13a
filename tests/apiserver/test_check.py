"""`raywarden check` with a real API server: rights, dry runs, and webhooks that fail."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.network.infrastructure import Infrastructure
from policies.network.isolation import (
    ISOLATION_ANNOTATION,
    MANAGED,
    ClusterIsolation,
    IsolationMode,
)
from policies.network.ray_traffic import ClusterTraffic
from policies.network.written import Members, PolicyNames, policies_for
from policies.ray.workload import Workload
from tests.apiserver.command import run_command
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.free_ports import free_port
from tests.apiserver.installation import Installation, until
from tests.apiserver.permissions import RBAC, REGISTRATION
from tests.apiserver.pods import cluster_of
from tests.apiserver.replica import Replica
from tests.support.paths import DEPLOY
from tests.support.secrecy import leaked

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

VALIDATING = f"/apis/{REGISTRATION}/v1/validatingwebhookconfigurations/raywarden"

Findings = Mapping[str, Mapping[str, str]]


@pytest.fixture(scope="module")
def team(
    control_plane: ControlPlane, installation: Installation, pair: tuple[Replica, Replica]
) -> str:
    """A namespace with the service account that pods use by default."""
    namespace = installation.team()
    control_plane.make(
        f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "default"}}
    )
    return namespace


def check(
    kubeconfig: Path, installation: Installation, team: str, *more: str
) -> tuple[int, Findings]:
    """Run `raywarden check`; returns its exit code and its findings by section and id."""
    options = ("--output", "json", "--namespace", team, *more)
    process = run_command(installation, kubeconfig, "check", *options)
    assert leaked(process.stdout, process.stderr) is None and not process.stderr
    findings = {}
    for section in json.loads(process.stdout)["sections"]:
        for finding in section["findings"]:
            findings[f"{section['title']}/{finding['id']}"] = finding
    return process.returncode, findings


def test_dry_runs_prove_that_admission_works(
    control_plane: ControlPlane, installation: Installation, team: str
) -> None:
    code, findings = check(control_plane.admin_kubeconfig, installation, team)
    assert code == 1, (
        "no replica of the Deployment is ready, because no controller creates its pods here"
    )
    assert findings["kubernetes-api/version"]["status"] == "ok"
    assert findings["permissions/permissions"]["message"] == (
        "the server has every permission it needs (47)"
    )
    assert {id for id, finding in findings.items() if finding["status"] == "failed"} == {
        "installation/replicas-ready"
    }
    assert findings["installation/policy"]["message"].startswith(
        "the policy in configmap/raywarden-policy/policy.yaml"
    )
    assert findings["webhook-configurations/validating-ca-bundle"]["status"] == "ok"
    assert "matches the seed" in findings["webhook-configurations/mutating-ca-bundle"]["message"]
    assert findings["webhook-configurations/mutating-service"]["status"] == "warning"
    refused = findings["admission/rejects-forged-pod"]
    assert (
        refused["status"] == "ok"
        and "operator-made-pods: this pod claims to belong to a Ray cluster" in refused["message"]
    )
    assert findings["admission/completes-ray-cluster"]["status"] == "ok"
    # Other tests may have left operators of single namespaces.
    operators = findings["kuberay/operator-account"]["message"]
    assert "system:serviceaccount:kuberay-system:kuberay-operator" in operators
    for kind in ("pods", "apis/ray.io/v1 rayclusters"):
        group, _, plural = kind.rpartition(" ")
        assert control_plane.get(f"/{group or 'api/v1'}/namespaces/{team}/{plural}")["items"] == []


def test_a_missing_right_is_named(
    control_plane: ControlPlane, installation: Installation, team: str
) -> None:
    roles = [
        f"{RBAC}/clusterroles/{binding['roleRef']['name']}"
        for binding in control_plane.get(f"{RBAC}/clusterrolebindings")["items"]
        if has_subject_in(installation.namespace, binding)
        and not binding["roleRef"]["name"].endswith("network-policies")
    ]
    rules_by_role = {role: control_plane.get(role)["rules"] for role in roles}
    role, rules = next(
        (role, rules) for role, rules in rules_by_role.items() if "tokenreviews" in str(rules)
    )
    control_plane.patch(
        role, {"rules": [rule for rule in rules if "tokenreviews" not in rule["resources"]]}
    )
    try:
        until(
            lambda: (
                "remediation"
                in check(control_plane.admin_kubeconfig, installation, team)[1][
                    "permissions/permissions"
                ]
            )
        )
        finding = check(control_plane.admin_kubeconfig, installation, team)[1][
            "permissions/permissions"
        ]
        assert finding["message"].endswith(
            ":raywarden lacks permission to create tokenreviews.authentication.k8s.io"
        )
    finally:
        control_plane.patch(role, {"rules": rules})


def has_subject_in(namespace: str, binding: Mapping[str, Any]) -> bool:
    return any(subject.get("namespace") == namespace for subject in binding.get("subjects", []))


def test_a_user_without_rights_is_told_which_rights_are_needed(
    control_plane: ControlPlane, installation: Installation, team: str
) -> None:
    kubeconfig = control_plane.kubeconfig("without-rights", control_plane.token(team, "ray"))
    code, findings = check(kubeconfig, installation, team)
    assert code == 0 and check(kubeconfig, installation, team, "--strict")[0] == 1
    statuses = {id: finding["status"] for id, finding in findings.items()}
    # Every user may see which kinds exist. Of KubeRay's kinds, only one is defined here.
    assert statuses.pop("kubernetes-api/version") == "ok"
    assert statuses.pop("kuberay/kinds") == "warning"
    assert set(statuses.values()) <= {"ok", "unknown"} and "unknown" in statuses.values()
    assert (
        f"kubectl auth can-i create pods -n {team}"
        in findings["admission/rejects-forged-pod"]["remediation"]
    )


def test_a_webhook_that_cannot_be_called_differs_from_one_that_is_not_called(
    control_plane: ControlPlane, installation: Installation, team: str
) -> None:
    before = control_plane.get(VALIDATING)["webhooks"]
    closed = f"https://localhost:{free_port()}/validate"
    unreachable = [
        {**webhook, "clientConfig": {**webhook["clientConfig"], "url": closed}}
        for webhook in before
    ]
    uncalled = [
        {**webhook, "rules": [{**webhook["rules"][0], "apiGroups": ["none.example"]}]}
        for webhook in before
    ]

    def refuses() -> str:
        finding = check(control_plane.admin_kubeconfig, installation, team)[1][
            "admission/rejects-forged-pod"
        ]
        return f"{finding['status']}: {finding['message']}"

    try:
        control_plane.patch(VALIDATING, {"webhooks": unreachable})
        until(lambda: "connection refused" in refuses())
        assert refuses().startswith(
            "failed: the API server cannot call RayWarden: failed to call webhook: Post"
        )
        control_plane.patch(VALIDATING, {"webhooks": uncalled})
        until(lambda: "the validating webhook does not reject the pod" in refuses())
        assert refuses().startswith("failed: ")
    finally:
        control_plane.patch(VALIDATING, {"webhooks": before})


def test_stored_policies_are_those_that_were_written(
    control_plane: ControlPlane, installation: Installation
) -> None:
    """The API server fills in defaults, which must not count as a change."""
    # Without webhooks the cluster gets no annotation, like one that existed before RayWarden.
    namespace = installation.team(unseen="")
    clusters = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"
    document = control_plane.make(clusters, cluster_of("old"))
    _, findings = check(control_plane.admin_kubeconfig, installation, namespace)
    existing = findings["network-isolation/clusters"]
    assert existing["status"] == "warning" and f"{namespace}/old" in existing["message"]
    traffic = ClusterTraffic.of(Workload("RayCluster", document))
    written = policies_for(
        traffic,
        ClusterIsolation(IsolationMode.MEMBERS),
        Infrastructure(operators=("kuberay-system",)),
        PolicyNames.of("old"),
        Members.of("old"),
    )
    for policy in written:
        control_plane.make(
            f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
            {"metadata": {"name": policy.name}, "spec": policy.spec},
        )
    control_plane.patch(
        f"{clusters}/old", {"metadata": {"annotations": {ISOLATION_ANNOTATION: MANAGED}}}
    )
    _, findings = check(control_plane.admin_kubeconfig, installation, namespace)
    assert f"{namespace}/old" not in findings["network-isolation/clusters"]["message"]
    assert findings["network-isolation/written"]["status"] == "ok"


def test_the_probe_runs_in_a_restricted_namespace(
    control_plane: ControlPlane, installation: Installation
) -> None:
    label = "pod-security.kubernetes.io/enforce"
    documents = list(yaml.safe_load_all((DEPLOY / "probe.yaml").read_text()))
    (probe_namespace,) = (each for each in documents if each["kind"] == "Namespace")
    assert probe_namespace["metadata"]["labels"] == {label: "restricted"}
    (role,) = (each for each in documents if each["kind"] == "ClusterRole")
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list"}
    (pod,) = (each for each in documents if each["kind"] == "Pod")
    assert "labels" not in pod["metadata"]
    namespace = installation.team(**{label: "restricted"})
    metadata = {"name": "stranger", "namespace": namespace}
    spec = {**pod["spec"], "serviceAccountName": "ray"}
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    admitted = control_plane.post(path, {**pod, "metadata": metadata, "spec": spec})
    assert admitted.is_success, admitted.text
    privileged = {**spec, "hostNetwork": True}
    refused = control_plane.post(path, {**pod, "metadata": metadata, "spec": privileged})
    assert refused.status_code == 403 and "violates PodSecurity" in refused.text


def test_the_probe_can_read_what_it_needs(
    control_plane: ControlPlane, installation: Installation
) -> None:
    namespace = installation.team()
    documents = yaml.safe_load_all((DEPLOY / "probe.yaml").read_text())
    (role,) = (each for each in documents if each["kind"] == "ClusterRole")
    name = f"probe-{namespace}"
    control_plane.make(f"{RBAC}/clusterroles", {**role, "metadata": {"name": name}})
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": "ray"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    control_plane.make(f"{RBAC}/clusterrolebindings", binding)
    control_plane.make(f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters", cluster_of("probed"))
    kubeconfig = control_plane.kubeconfig(name, control_plane.token(namespace, "ray"))
    _, findings = check(kubeconfig, installation, namespace, "--probe", f"{namespace}/probed")
    assert findings[f"probe {namespace}/probed/head"]["message"] == (
        "no running head pod has an address"
    )
    pod = control_plane.make(
        f"/api/v1/namespaces/{namespace}/pods",
        {
            "metadata": {
                "name": "web-head",
                "labels": {"raywarden.io/cluster": "web", "raywarden.io/role": "head"},
            },
            "spec": {
                "serviceAccountName": "ray",
                "containers": [{"name": "ray", "image": "rayproject/ray:2.60.0"}],
            },
        },
    )
    status = {
        "status": {"phase": "Running", "podIP": "127.0.0.29", "podIPs": [{"ip": "127.0.0.29"}]}
    }
    control_plane.patch(
        f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/status", status
    )
    _, findings = check(kubeconfig, installation, namespace, "--probe", f"{namespace}/web")
    dialed = findings[f"probe {namespace}/web/tls"]["message"]
    assert dialed == "web-head:10001 cannot be reached at 127.0.0.29:10001: Connection refused"
