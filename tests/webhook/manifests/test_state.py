"""Manifests describe the namespaces they mention; everything else is unknown."""

import json
from pathlib import Path
from typing import Any

import pytest

from policies.cluster.rbac import Power
from policies.ray import kuberay
from tests.support import factory
from tests.support.factory import changed
from tests.support.related_objects import quota_names
from webhook.manifests.cluster import ManifestCluster
from webhook.manifests.read import Manifest, read
from webhook.manifests.state import ManifestNamespaces

RBAC = "rbac.authorization.k8s.io"
OPERATOR = "system:serviceaccount:kuberay-system:kuberay-operator"


def manifest(
    api_version: str, kind: str, name: str, namespace: str = "", **rest: Any
) -> dict[str, Any]:
    scope = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **scope}, **rest}


def everything(namespace: str = "") -> list[dict[str, Any]]:
    head = {"template": {"metadata": {"labels": {"team": "a"}}}}
    rules = [
        {"apiGroups": ["ray.io"], "resources": ["rayclusters/status"], "verbs": ["update"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
    ]
    account = {"kind": "ServiceAccount", "name": "kuberay-operator", "namespace": "kuberay-system"}
    cluster = manifest("ray.io/v1", "RayCluster", "c", namespace, spec={"headGroupSpec": head})
    cluster["metadata"] |= {"uid": "uid-c", "creationTimestamp": "2026-11-20T08:00:00Z"}
    leaf = {"namespaces": ["ray", "batch"]}
    return [
        manifest("v1", "Namespace", "ray"),
        cluster,
        manifest(
            "ray.io/v1",
            "RayJob",
            "job",
            namespace,
            spec={"rayClusterSpec": {"headGroupSpec": head}},
        ),
        manifest("v1", "Service", "inner", namespace, spec={}),
        manifest("v1", "Service", "outer", namespace, spec={"type": "NodePort"}),
        manifest(
            "networking.k8s.io/v1", "NetworkPolicy", "closed", namespace, spec={"podSelector": {}}
        ),
        manifest("v1", "ResourceQuota", "compute", namespace),
        manifest(
            "scheduling.sigs.k8s.io/v1beta1",
            "ElasticQuotaTree",
            "tree",
            "kube-system",
            spec={"root": leaf},
        ),
        manifest(
            "scheduling.sigs.k8s.io/v1beta1",
            "ElasticQuotaTree",
            "namespaced",
            namespace,
            spec={"root": leaf},
        ),
        manifest(f"{RBAC}/v1", "ClusterRole", "kuberay-operator", rules=rules),
        manifest(
            f"{RBAC}/v1",
            "ClusterRoleBinding",
            "kuberay-operator",
            roleRef={"kind": "ClusterRole", "name": "kuberay-operator"},
            subjects=[account],
        ),
    ]


@pytest.mark.parametrize("written", ["ray", ""], ids=["named", "by default"])
def test_everything_in_the_manifests_is_known(written: str) -> None:
    state = ManifestNamespaces(everything(written), "ray").state_of("ray")
    assert state.metadata == {"name": "ray"}
    assert set(state.ray_clusters or ()) == {"c", "job-xxxxx"}
    assert set(state.services or ()) == {"inner", "outer"}
    assert [service.name for service in state.public_services or ()] == ["outer"]
    assert [policy.name for policy in state.network_policies or ()] == ["closed"]
    assert quota_names(state.quotas) == ["compute", "tree"]
    assert state.rbac.operators == {OPERATOR, kuberay.OPERATOR}


@pytest.mark.parametrize("written", ["ray", ""], ids=["named", "by default"])
def test_roles_and_their_bindings_are_known(written: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    bound = manifest(
        f"{RBAC}/v1",
        "RoleBinding",
        "r",
        written,
        roleRef={"kind": "Role", "name": "r"},
        subjects=[{"kind": "ServiceAccount", "name": "a", "namespace": "other"}],
    )
    role = manifest(f"{RBAC}/v1", "Role", "r", written, rules=rules)
    known = ManifestNamespaces([role, bound], "ray")
    assert known.state_of("other").powers_of("other", "a") == {Power("read Secrets", "ray")}
    assert known.state_of("ray").powers_of("ray", "a") == frozenset()
    assert ManifestNamespaces(()).state_of("ray").namespace_rbac is None


def test_everything_else_is_unknown() -> None:
    known = ManifestNamespaces(everything("ray"))
    other = known.state_of("other")
    parts = (
        other.metadata,
        other.ray_clusters,
        other.services,
        other.network_policies,
        other.quotas,
    )
    assert parts == (None,) * 5
    assert quota_names(known.state_of("batch").quotas) == ["tree"]
    assert known.state_of("kube-system").quotas is None
    rights = ManifestNamespaces(()).state_of("ray").rbac
    assert rights.operators == {kuberay.OPERATOR} and not rights.complete


def test_lists_in_lists_are_read(tmp_path: Path) -> None:
    inner = {"apiVersion": "v1", "kind": "ServiceList", "items": everything("ray")[3:5]}
    outer = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [*everything("ray")[:2], inner, *everything("ray")[5:]],
    }
    file = tmp_path / "objects.json"
    file.write_text(json.dumps(outer))
    cluster = ManifestCluster.load(file, None, lambda: "token")
    documents = [result.document for result in read(str(file)) if isinstance(result, Manifest)]
    assert len(documents) == len(everything()) - 1
    for state in (cluster.state_of("ray"), ManifestNamespaces(documents).state_of("ray")):
        assert set(state.services or ()) == {"inner", "outer"}
        assert set(state.ray_clusters or ()) == {"c"}
        assert quota_names(state.quotas) == ["compute", "tree"]
        assert OPERATOR in state.rbac.operators


@pytest.mark.parametrize(
    ("change", "gets_tls"),
    [
        ({}, True),
        ({"/metadata/labels": {"raywarden.io/tls": "managed"}}, True),
        ({"/metadata/annotations": {"raywarden.io/inject": "false"}}, False),
        ({"/spec/tlsOptions": {"enabled": True}}, False),
    ],
)
def test_clusters_in_manifests_have_the_tls_that_admission_gives_them(
    change: dict[str, Any], gets_tls: bool
) -> None:
    cluster = changed(factory.ray_cluster(), change)
    known = ManifestNamespaces([cluster]).state_of("team-a").ray_clusters or {}
    assert known["demo"].raywarden_tls is gets_tls
    # Live objects say it themselves.
    live = ManifestNamespaces([cluster], complete=True).state_of("team-a").ray_clusters or {}
    assert live["demo"].raywarden_tls is ("/metadata/labels" in change)
