"""A small cluster on a fake API server, and scans of it."""

from datetime import UTC, datetime
from typing import Any

from policies.config import Policy
from tests.support import factory
from tests.support.factory import Object
from tests.support.fake_kube_api import FakeKubeApi
from webhook.admission.reviewer import signer_of
from webhook.kube.api import KubeApi
from webhook.review.results import Results
from webhook.scan.cluster_scan import ClusterScan
from webhook.settings import Settings

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OPERATOR_BINDING = {
    "metadata": {"name": "kuberay-operator"},
    "roleRef": {"kind": "ClusterRole", "name": "kuberay-operator"},
    "subjects": [
        {"kind": "ServiceAccount", "namespace": "kuberay", "name": "kuberay-operator"},
    ],
}
OPERATOR_RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
    {"apiGroups": ["ray.io"], "resources": ["rayclusters/status"], "verbs": ["update"]},
]


def fill(fake: FakeKubeApi) -> None:
    """Put a Ray cluster with two pods, its Service and its namespace into the fake."""
    fake.paths["/version"] = {"gitVersion": "v1.37.0"}
    fake.paths["/openapi/v3"] = {"paths": {}}
    fake.put("namespaces", live({"metadata": {"name": "team-a"}}))
    fake.put("clusterroles", {"metadata": {"name": "kuberay-operator"}, "rules": OPERATOR_RULES})
    fake.put("clusterrolebindings", OPERATOR_BINDING)
    cluster = live(factory.ray_cluster())
    fake.put("rayclusters", cluster)
    for pod in (factory.head_pod(), factory.worker_pod()):
        put_pod(fake, pod, cluster)
    selector = {"ray.io/cluster": "demo"}
    metadata = {"name": "demo-head-svc", "namespace": "team-a"}
    fake.put("services", live({"metadata": metadata, "spec": {"selector": selector}}))


def put_pod(fake: FakeKubeApi, pod: Object, cluster: Object, name: str = "") -> Object:
    """Store a pod of a RayCluster as KubeRay creates it; returns it."""
    (owner,) = pod["metadata"]["ownerReferences"]
    owner |= {"name": cluster["metadata"]["name"], "uid": cluster["metadata"]["uid"]}
    name = name or f"{pod['metadata']['generateName']}abcde"
    metadata = {**pod["metadata"], "name": name}
    metadata["labels"] = {**metadata["labels"], "ray.io/cluster": owner["name"]}
    return fake.put("pods", live({**pod, "metadata": metadata}))


def live(document: Object) -> Object:
    """The object with what an API server adds to the metadata."""
    metadata = document["metadata"]
    uid = f"uid-{document.get('kind', '')}-{metadata['name']}"
    added = {"uid": uid, "creationTimestamp": "2026-11-20T08:00:00Z"}
    return {**document, "metadata": {**metadata, **added}}


async def scan(
    api: KubeApi, namespace: str = "", policy: Policy | None = None, **settings: Any
) -> Results:
    """The results of a scan without a progress bar."""
    scan_of = ClusterScan(api, signer_of(Settings(**settings), b""), policy, lambda: NOW)
    return await scan_of.results(namespace, lambda resource, done, total: None)


def findings_of(results: Results, subject: str) -> list[str]:
    """The rules that an object violates, in order; each finding counts."""
    (found,) = [each for each in results.objects if str(each.subject) == subject]
    return [finding.rule for finding in found.findings]


def subjects(results: Results) -> list[str]:
    return [str(each.subject) for each in results.objects]
