"""A real API server accepts the Helm chart, and its hooks have the rights that they need."""

import json
import subprocess
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.apiserver.command import run_command
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, define, until
from tests.apiserver.permissions import RBAC, REGISTRATION
from tests.apiserver.replica import Replica
from tests.support.chart import hook_of, templated
from tests.support.factory import Object

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

CUSTOM_RESOURCES = (
    ("cert-manager.io", "Issuer"),
    ("cert-manager.io", "Certificate"),
    ("monitoring.coreos.com", "PrometheusRule"),
    ("monitoring.coreos.com", "ServiceMonitor"),
)
COMPONENTS = ("autoscaling", "connect", "monitoring", "openshift", "ownNetworkPolicies", "scan")


@pytest.fixture(scope="module")
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """An empty namespace, and the custom resources of the components."""
    for group, kind in CUSTOM_RESOURCES:
        define(control_plane, group, "v1", kind)
    name = f"chart-{uuid4().hex[:8]}"
    control_plane.make("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name


@pytest.mark.parametrize("switch", ["", "certManager", "caBundleByHand", *COMPONENTS])
def test_the_api_server_accepts_every_object(
    control_plane: ControlPlane, namespace: str, switch: str
) -> None:
    options = [f"--set={switch}.enabled=true"] if switch else []
    options.append(f"--set=tests.dryRunNamespace={namespace}")
    control_plane.dry_run(*templated(*options, namespace=namespace))


def test_the_api_server_accepts_all_values_together(
    control_plane: ControlPlane, namespace: str
) -> None:
    values = {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "podAnnotations": {"sidecar.istio.io/inject": "false"},
        "settings": {"RAYWARDEN_LOG_LEVEL": "debug", "RAYWARDEN_RESYNC_SECONDS": "5"},
        "priorityClassName": "raywarden",
        "image": {
            "pullPolicy": "Always",
            "pullSecrets": ["registry"],
            "digest": f"sha256:{'0' * 64}",
        },
    }
    options = [f"--set={component}.enabled=true" for component in (*COMPONENTS, "certManager")]
    options += [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
    control_plane.dry_run(*templated(*options, namespace=namespace))


def raywarden(
    installation: Installation, account: str, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Run a `raywarden` command with the rights of a service account."""
    token = installation.control_plane.token(installation.namespace, account)
    kubeconfig = installation.control_plane.kubeconfig(account, token)
    return run_command(installation, kubeconfig, *arguments)


def apply_hooks(installation: Installation, event: str, *options: str) -> list[Object]:
    """Apply the service accounts and rights of a hook; returns its Jobs."""
    objects = templated(*options, namespace=installation.namespace)
    chosen = [document for document in objects if hook_of(document) == event]
    installation.control_plane.apply(
        *(document for document in chosen if document["kind"] != "Job")
    )
    return [document for document in chosen if document["kind"] == "Job"]


def test_the_test_finds_nothing_wrong_and_needs_no_other_rights(
    installation: Installation, pair: tuple[Replica, Replica]
) -> None:
    team = installation.team()
    installation.control_plane.make(
        f"/api/v1/namespaces/{team}/serviceaccounts", {"metadata": {"name": "default"}}
    )
    (job,) = apply_hooks(installation, "test", f"--set=tests.dryRunNamespace={team}")
    arguments = arguments_of(job)
    assert arguments == ["check", "--namespace", team]

    def findings() -> dict[str, set[str]]:
        ended = raywarden(installation, "raywarden-check", *arguments, "--output", "json")
        statuses: dict[str, set[str]] = {"failed": set(), "unknown": set()}
        for section in json.loads(ended.stdout)["sections"]:
            for finding in section["findings"]:
                name = f"{section['title']}/{finding['id']}"
                statuses.setdefault(finding["status"], set()).add(name)
        return statuses

    # The API server learns of rights with some delay.
    until(lambda: "permissions/permissions" in findings()["ok"])
    statuses = findings()
    # No controller creates pods here, and there is no network plugin.
    assert statuses["failed"] == {"installation/replicas-ready"}
    assert statuses["unknown"] == {"certificates/seed", "network-isolation/enforcement"}


def test_the_uninstallation_deletes_the_webhooks_and_may_do_nothing_else(
    installation: Installation,
) -> None:
    control_plane = installation.control_plane
    (job,) = apply_hooks(installation, "pre-delete")
    control_plane.apply(
        *(
            document
            for document in templated(namespace=installation.namespace)
            if document["kind"].endswith("WebhookConfiguration")
        )
    )
    until(
        lambda: raywarden(installation, "raywarden-unregister", *arguments_of(job)).returncode == 0
    )
    for kind in ("mutating", "validating"):
        path = f"/apis/{REGISTRATION}/v1/{kind}webhookconfigurations/raywarden"
        assert not control_plane.get(path)
    (rule,) = control_plane.get(f"{RBAC}/clusterroles/raywarden-unregister")["rules"]
    assert (rule["verbs"], rule["resourceNames"]) == (["delete"], ["raywarden"])


def arguments_of(job: Object) -> list[str]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return list(container["args"])
