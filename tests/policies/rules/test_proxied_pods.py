"""Pods are judged by the proxy that stands before the dashboard of their RayCluster."""

from tests.policies.rules.test_rules import load
from tests.support import factory
from tests.support.paths import FIXTURES
from webhook.manifests.dry_run import ReviewedManifest, review_manifest
from webhook.manifests.read import Manifest

FIXTURE = FIXTURES / "rules" / "auth-on" / "allowed" / "proxy-before-closed-pods.yaml"
HOST = "/spec/headGroupSpec/rayStartParams/dashboard-host"


def reviewed(**stored: str) -> ReviewedManifest:
    """The RayCluster, while another version of it is in the cluster."""
    document = factory.changed(factory.ray_cluster(), load(FIXTURE).change)
    live = factory.changed(document, stored)
    reviewer = factory.reviewer({"profiles": {"enforce": "restricted"}}, live)
    result = review_manifest(reviewer, Manifest("a.yaml", 1, document), "default")
    assert result and len(result.derived) == 2
    return result


def refusals_of_pods(result: ReviewedManifest) -> set[str]:
    return {violation.rule for pod in result.derived for violation in pod.denied}


def test_pods_of_a_cluster_behind_a_proxy_are_admitted() -> None:
    assert "auth-on" not in refusals_of_pods(reviewed())


def test_pods_of_a_cluster_with_an_open_dashboard_are_refused() -> None:
    assert "auth-on" in refusals_of_pods(reviewed(**{HOST: "0.0.0.0"}))
