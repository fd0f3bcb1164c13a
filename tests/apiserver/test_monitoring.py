"""The API server's own metrics, which the alerts use for webhook calls that failed."""

import re
from uuid import uuid4

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import until
from tests.deploy.test_monitoring import API_SERVER
from tests.support.factory import Object

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"


def test_the_api_server_counts_failed_calls_in_the_metrics_of_the_alerts(
    control_plane: ControlPlane,
) -> None:
    namespace = f"away-{uuid4().hex[:8]}"
    control_plane.make("/api/v1/namespaces", {"metadata": {"name": namespace}})
    for kind, policy in (("mutating", "Ignore"), ("validating", "Fail")):
        webhook = unavailable_webhook(namespace, policy)
        document = {"metadata": {"name": namespace}, "webhooks": [webhook]}
        control_plane.make(f"{_CONFIGURATIONS}/{kind}webhookconfigurations", document)
    try:
        config_map = {"metadata": {"generateName": "x-"}}
        path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
        until(lambda: "failed calling webhook" in control_plane.post(path, config_map).text)
        until(lambda: labels_of(control_plane, namespace) == API_SERVER)
    finally:
        for kind in ("mutating", "validating"):
            control_plane.delete(f"{_CONFIGURATIONS}/{kind}webhookconfigurations/{namespace}")


def unavailable_webhook(namespace: str, policy: str) -> Object:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["configmaps"],
    }
    return {
        "name": f"{namespace}.raywarden.io",
        "clientConfig": {"url": "https://127.0.0.1:1/unavailable"},
        "failurePolicy": policy,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
    }


def labels_of(control_plane: ControlPlane, webhook: str) -> dict[str, set[str]]:
    """The labels of each metric of the alerts that the API server has counted for a webhook."""
    lines = control_plane.admin.get("/metrics").text.splitlines()
    samples = [line for line in lines if f'name="{webhook}.raywarden.io"' in line]
    named = {line.partition("{")[0]: set(re.findall(r"(\w+)=", line)) for line in samples}
    return {name: labels for name, labels in named.items() if name in API_SERVER}
