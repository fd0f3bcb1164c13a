"""Valid minimums of every kind, and the facts around them."""

import copy
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from policies.config import Policy
from policies.model import Facts, Injection, Signer
from policies.workload import Kind, Workload
from webhook.manifest_neighbourhoods import ManifestNeighbourhoods
from webhook.review import Reviewer
from webhook.wire import AdmissionRequest

Object = dict[str, Any]

TODAY = date(2026, 11, 20)
SIGNER = Signer(
    image="raywarden:0.1.0",
    url="https://raywarden-enroll.raywarden-system.svc:8444",
    ca="-----BEGIN CERTIFICATE-----\nc2lnbmVy\n-----END CERTIFICATE-----\n",
    namespace="raywarden-system",
    port=8444,
    version="0.1.0",
)
EXAMPLES = Path(__file__).parent.parent / "deploy" / "examples"
IMAGE = "rayproject/ray:2.55.1"


def container(name: str, **fields: Any) -> Object:
    return {"name": name, "image": IMAGE, **fields}


def template(name: str) -> Object:
    return {"spec": {"containers": [container(name)]}}


def cluster_spec() -> Object:
    worker = {"groupName": "small", "replicas": 1, "minReplicas": 0, "maxReplicas": 3, "rayStartParams": {}}
    return {
        "rayVersion": "2.55.1",
        "headGroupSpec": {"rayStartParams": {}, "template": template("ray-head")},
        "workerGroupSpecs": [{**worker, "template": template("ray-worker")}],
    }


def ray_cluster(**fields: Any) -> Object:
    metadata = {"name": "demo", "namespace": "team-a"}
    return {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata, "spec": cluster_spec() | fields}


def ray_job(**fields: Any) -> Object:
    spec = {"entrypoint": "python train.py", "rayClusterSpec": cluster_spec(), **fields}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "job", "namespace": "team-a"},
        "spec": spec,
    }


def ray_service(**fields: Any) -> Object:
    spec = {"serveConfigV2": "applications: []\n", "rayClusterConfig": cluster_spec(), **fields}
    metadata = {"name": "service", "namespace": "team-a"}
    return {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": metadata, "spec": spec}


def ray_cron_job(**fields: Any) -> Object:
    spec = {"schedule": "0 3 * * *", "jobTemplate": {**ray_job()["spec"], **fields}}
    metadata = {"name": "cron", "namespace": "team-a"}
    return {"apiVersion": "ray.io/v1", "kind": "RayCronJob", "metadata": metadata, "spec": spec}


def head_pod(**labels: str) -> Object:
    """A head pod as KubeRay makes it of a managed cluster."""
    ours = {"ray.io/cluster": "demo", "ray.io/node-type": "head", "ray.io/group": "headgroup"}
    metadata = {
        "generateName": "demo-head-",
        "namespace": "team-a",
        "labels": {**ours, "raywarden.io/tls": "managed", **labels},
    }
    spec = {"containers": [container("ray-head"), container("autoscaler")]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def worker_pod(**labels: str) -> Object:
    """A worker pod as KubeRay makes it of a managed cluster."""
    pod = head_pod(**{"ray.io/node-type": "worker", "ray.io/group": "small"}, **labels)
    pod["metadata"]["generateName"] = "demo-small-worker-"
    pod["spec"] = {"containers": [container("ray-worker")], "initContainers": [container("wait-gcs-ready")]}
    return pod


def submitter_pod() -> Object:
    labels = {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": "job"}
    metadata = {"generateName": "job-", "namespace": "team-a", "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [container("ray-job-submitter")]},
    }


def opted_in_pod(role: str = "worker") -> Object:
    """A pod of Ray without KubeRay."""
    labels = {"raywarden.io/cluster": "django", "raywarden.io/role": role}
    metadata = {"generateName": "web-", "namespace": "team-a", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container("web")]}}


def by_hand(document: Object) -> Object:
    """A copy of a RayCluster with Ray's TLS set up by its author, in every group."""
    values = {"RAY_USE_TLS": "1", "RAY_TLS_SERVER_CERT": "/tls/crt", "RAY_TLS_SERVER_KEY": "/tls/key"}
    result = copy.deepcopy(document)
    for group in (result["spec"]["headGroupSpec"], *result["spec"]["workerGroupSpecs"]):
        ray = group["template"]["spec"]["containers"][0]
        ray["env"] = [{"name": name, "value": value} for name, value in {**values, "RAY_TLS_CA_CERT": "/ca"}.items()]
    return result


MINIMAL = {
    "raycluster": ray_cluster,
    "rayjob": ray_job,
    "rayservice": ray_service,
    "raycronjob": ray_cron_job,
    "head-pod": head_pod,
    "worker-pod": worker_pod,
    "submitter-pod": submitter_pod,
    "opted-in-pod": opted_in_pod,
}


def facts(
    operation: str = "CREATE",
    before: Object | None = None,
    namespace: str = "team-a",
    user: str = "kubernetes-admin",
    **inject: Any,
) -> Facts:
    return Facts(
        operation=operation,
        namespace=namespace,
        user=user,
        today=TODAY,
        signer=SIGNER,
        injection=Injection.model_validate(inject),
        contract_hash="0123456789ab",
        before=Workload.of(Kind.of(before), before) if before else None,
    )


def reviewer(policy: Mapping[str, Any] | None = None, *namespaces: Object) -> Reviewer:
    return Reviewer(Policy.parse(policy), lambda: SIGNER, ManifestNeighbourhoods(namespaces), lambda: TODAY)


def request(document: Object, *arguments: Any, **fields: Any) -> AdmissionRequest:
    """The request in `review(...)`."""
    return AdmissionRequest.model_validate(review(document, *arguments, **fields)["request"])


def review(
    document: Object,
    operation: str = "CREATE",
    old: Object | None = None,
    user: str = "kubernetes-admin",
    **fields: Any,
) -> Object:
    """The AdmissionReview the API server would send."""
    kind = Kind.of(document)
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    body = {
        "uid": "3f1c8a52-8a3e-4f0e-9a37-1a4f0b7f7a10",
        "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "operation": operation,
        "namespace": "team-a",
        "userInfo": {"username": user},
        "object": document,
        "oldObject": old,
        "dryRun": False,
        **({"name": metadata["name"]} if isinstance(metadata.get("name"), str) else {}),
        **fields,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": body}


def examples() -> dict[str, Object]:
    """The AdmissionReviews of `deploy/examples`, by file name."""
    return {file.stem: orjson.loads(file.read_bytes()) for file in sorted(EXAMPLES.glob("*.json"))}


def changed(document: Object, changes: Mapping[str, Any]) -> Object:
    """A copy with a value put at each JSON pointer; missing objects are made, `-` appends, null deletes a member."""
    result = copy.deepcopy(document)
    for pointer, value in changes.items():
        *way, last = (token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])
        node: Any = result
        for token in way:
            node = node[int(token)] if isinstance(node, list) else node.setdefault(token, {})
        if isinstance(node, list):
            if last == "-":
                node.append(value)
            else:
                node[int(last)] = value
        elif value is None:
            node.pop(last, None)
        else:
            node[last] = value
    return result
