"""`raywarden check` on a real API server: rights, dry runs, and the words it has for a webhook it cannot call."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.free_ports import free_port
from tests.apiserver.installation import Installation, until
from tests.apiserver.permissions import RBAC, REGISTRATION
from tests.apiserver.replica import Replica
from tests.support.secrecy import leaked

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

VALIDATING = f"/apis/{REGISTRATION}/v1/validatingwebhookconfigurations/raywarden"

Found = Mapping[str, Mapping[str, str]]


@pytest.fixture(scope="module")
def team(
    control_plane: ControlPlane, installation: Installation, pair: tuple[Replica, Replica]
) -> str:
    """A namespace with a service account for pods that name none."""
    namespace = installation.team()
    control_plane.make(
        f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "default"}}
    )
    return namespace


def check(kubeconfig: Path, installation: Installation, team: str, *more: str) -> tuple[int, Found]:
    """What it finds, by section and id; the last one of an id."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "webhook", "check", "--output", "json"),
            *("--namespace", team, "--kubeconfig", str(kubeconfig), *more),
        ],
        env={"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1", "RAYWARDEN_NAMESPACE": installation.namespace},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert leaked(ended.stdout, ended.stderr) is None and not ended.stderr
    sections = json.loads(ended.stdout)["sections"]
    return ended.returncode, {
        f"{section['title']}/{finding['id']}": finding
        for section in sections
        for finding in section["findings"]
    }


def test_admission_is_proved_by_dry_runs(
    control_plane: ControlPlane, installation: Installation, team: str
) -> None:
    code, found = check(control_plane.admin_kubeconfig, installation, team)
    assert code == 1, "no replica of the Deployment is ready: nobody makes pods of it here"
    assert found["kubernetes-api/version"]["status"] == "ok"
    assert found["permissions/rights"]["message"] == "the server has every right it needs (31)"
    assert {id for id, finding in found.items() if finding["status"] == "failed"} == {
        "installation/replicas-ready"
    }
    assert found["installation/policy"]["message"].startswith(
        "the policy in configmap/raywarden-policy/policy.yaml"
    )
    assert found["webhook-configurations/validating-ca-bundle"]["status"] == "ok"
    assert "follows from the seed" in found["webhook-configurations/mutating-ca-bundle"]["message"]
    assert found["webhook-configurations/mutating-service"]["status"] == "warning"
    refused = found["admission/refuses"]
    assert (
        refused["status"] == "ok"
        and "operator-made-pods: this pod claims to belong to a Ray cluster" in refused["message"]
    )
    assert found["admission/completes"]["status"] == "ok"
    assert found["kuberay/operator-rights"]["message"].endswith(
        "system:serviceaccount:kuberay-system:kuberay-operator"
    )
    for kind in ("pods", "apis/ray.io/v1 rayclusters"):
        group, _, plural = kind.rpartition(" ")
        assert control_plane.get(f"/{group or 'api/v1'}/namespaces/{team}/{plural}")["items"] == []


def test_a_right_that_is_missing_is_named(
    control_plane: ControlPlane, installation: Installation, team: str
) -> None:
    (binding,) = [
        one
        for one in control_plane.get(f"{RBAC}/clusterrolebindings")["items"]
        if any(
            subject.get("namespace") == installation.namespace
            for subject in one.get("subjects", [])
        )
    ]
    role = f"{RBAC}/clusterroles/{binding['roleRef']['name']}"
    rules = control_plane.get(role)["rules"]
    control_plane.patch(
        role, {"rules": [rule for rule in rules if "tokenreviews" not in rule["resources"]]}
    )
    try:
        until(
            lambda: (
                "remediation"
                in check(control_plane.admin_kubeconfig, installation, team)[1][
                    "permissions/rights"
                ]
            )
        )
        found = check(control_plane.admin_kubeconfig, installation, team)[1]["permissions/rights"]
        assert found["message"].endswith(
            ":raywarden may not create tokenreviews.authentication.k8s.io"
        )
    finally:
        control_plane.patch(role, {"rules": rules})


def test_who_may_ask_nothing_learns_what_to_ask_for(
    control_plane: ControlPlane, installation: Installation, team: str
) -> None:
    kubeconfig = control_plane.kubeconfig("nobody", control_plane.token(team, "ray"))
    code, found = check(kubeconfig, installation, team)
    assert code == 0 and check(kubeconfig, installation, team, "--strict")[0] == 1
    asked = {id: finding["status"] for id, finding in found.items()}
    # Of KubeRay there is one kind here, which everybody may see.
    assert asked.pop("kubernetes-api/version") == "ok" and asked.pop("kuberay/kinds") == "warning"
    assert set(asked.values()) <= {"ok", "unknown"} and "unknown" in asked.values()
    assert f"kubectl auth can-i create pods -n {team}" in found["admission/refuses"]["remediation"]


def test_a_server_that_cannot_be_called_is_told_from_one_that_is_not(
    control_plane: ControlPlane, installation: Installation, team: str
) -> None:
    before = control_plane.get(VALIDATING)["webhooks"]
    away = f"https://localhost:{free_port()}/validate"
    gone = [{**one, "clientConfig": {**one["clientConfig"], "url": away}} for one in before]
    blind = [
        {**one, "rules": [{**one["rules"][0], "apiGroups": ["none.example"]}]} for one in before
    ]

    def refuses() -> str:
        found = check(control_plane.admin_kubeconfig, installation, team)[1]["admission/refuses"]
        return f"{found['status']}: {found['what']}"

    try:
        control_plane.patch(VALIDATING, {"webhooks": gone})
        until(lambda: "connection refused" in refuses())
        assert refuses().startswith(
            "failed: the API server cannot call us: failed to call webhook: Post"
        )
        control_plane.patch(VALIDATING, {"webhooks": blind})
        until(lambda: "the validating one lets it pass" in refuses())
        assert refuses().startswith("failed: ")
    finally:
        control_plane.patch(VALIDATING, {"webhooks": before})
