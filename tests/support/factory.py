"""Minimal valid objects of every kind, and the facts that rules get with them."""

import copy
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import orjson

from policies.config import Policy
from policies.configured import Injection
from policies.documents.untyped import as_dict, as_str
from policies.model import Facts, Signer
from policies.ray.membership import JOB_CONTROLLERS
from policies.ray.workload import Kind, Workload
from tests.support import related_objects
from tests.support.paths import EXAMPLES
from tests.support.related_objects import cluster_role, namespace, network_policy, quota
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import AdmissionRequest
from webhook.manifests.state import ManifestNamespaces

Object = related_objects.Object

TODAY = date(2026, 11, 20)
SIGNER = Signer(
    image="raywarden:0.1.0",
    url="https://raywarden-enroll.raywarden-system.svc:8444",
    ca="-----BEGIN CERTIFICATE-----\nc2lnbmVy\n-----END CERTIFICATE-----\n",
    namespace="raywarden-system",
    port=8444,
    version="0.1.0",
)
IMAGE = "rayproject/ray:2.60.0"
OPERATOR = "system:serviceaccount:ray-system:kuberay-operator"
_CREATORS = {"ray.io/cluster": OPERATOR, "ray.io/originated-from-crd": JOB_CONTROLLERS[0]}
_CLUSTER_UID = "0b7b9c1e-0000-4000-8000-000000000001"


def container(name: str, **fields: Any) -> Object:
    size = {"cpu": "1", "memory": "4Gi"}
    return {
        "name": name,
        "image": IMAGE,
        "resources": {"requests": dict(size), "limits": dict(size)},
        **fields,
    }


def template(name: str) -> Object:
    return {"spec": {"serviceAccountName": "ray", "containers": [container(name)]}}


def cluster_spec() -> Object:
    worker = {
        "groupName": "small",
        "replicas": 1,
        "minReplicas": 0,
        "maxReplicas": 3,
        "rayStartParams": {},
    }
    return {
        "rayVersion": "2.60.0",
        "authOptions": {"mode": "token"},
        "headGroupSpec": {"rayStartParams": {}, "template": template("ray-head")},
        "workerGroupSpecs": [{**worker, "template": template("ray-worker")}],
    }


def _ray_object(kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": "team-a"}
    return {"apiVersion": "ray.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def ray_cluster(**fields: Any) -> Object:
    return _ray_object("RayCluster", "demo", cluster_spec() | fields)


def ray_job(**fields: Any) -> Object:
    submitter = template("ray-job-submitter")
    submitter["spec"]["restartPolicy"] = "Never"
    job = {
        "entrypoint": "python train.py",
        "rayClusterSpec": cluster_spec(),
        "submitterPodTemplate": submitter,
    }
    return _ray_object("RayJob", "job", {**job, **fields})


def ray_service(**fields: Any) -> Object:
    spec = {"serveConfigV2": "applications: []\n", "rayClusterConfig": cluster_spec(), **fields}
    return _ray_object("RayService", "service", spec)


def ray_cron_job(**fields: Any) -> Object:
    job = {**ray_job()["spec"], **fields}
    return _ray_object("RayCronJob", "cron", {"schedule": "0 3 * * *", "jobTemplate": job})


def _owner(version: str, kind: str, name: str) -> Object:
    owner = {"apiVersion": version, "kind": kind, "name": name}
    return {**owner, "uid": _CLUSTER_UID, "controller": True}


def head_pod(**labels: str) -> Object:
    """A head pod as KubeRay creates it for a cluster with RayWarden's TLS."""
    kuberay = {"ray.io/cluster": "demo", "ray.io/node-type": "head", "ray.io/group": "headgroup"}
    metadata = {
        "generateName": "demo-head-",
        "namespace": "team-a",
        "labels": {**kuberay, "raywarden.io/tls": "managed", **labels},
        "ownerReferences": [_owner("ray.io/v1", "RayCluster", "demo")],
    }
    return _pod("ray", metadata, token_container("ray-head"), token_container("autoscaler"))


def worker_pod(**labels: str) -> Object:
    """A worker pod as KubeRay creates it for a cluster with RayWarden's TLS."""
    pod = head_pod(**{"ray.io/node-type": "worker", "ray.io/group": "small"}, **labels)
    pod["metadata"]["generateName"] = "demo-small-worker-"
    pod["spec"] |= {
        "containers": [token_container("ray-worker")],
        "initContainers": [token_container("wait-gcs-ready")],
    }
    return pod


def token_container(name: str) -> Object:
    """A container with Ray's token authentication, as KubeRay sets it up."""
    secret = {"secretKeyRef": {"name": "demo", "key": "auth_token"}}
    env = [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN", "valueFrom": secret},
    ]
    return container(name, env=env)


def submitter_pod() -> Object:
    labels = {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": "job"}
    metadata: Object = {"generateName": "job-", "namespace": "team-a", "labels": labels}
    metadata |= {"ownerReferences": [_owner("batch/v1", "Job", "job")]}
    return _pod("ray", metadata, container("ray-job-submitter"))


def opted_in_pod(role: str = "worker") -> Object:
    """A pod of a Ray cluster without KubeRay."""
    labels = {"raywarden.io/cluster": "django", "raywarden.io/role": role}
    metadata = {"generateName": "web-", "namespace": "team-a", "labels": labels}
    return _pod("web", metadata, token_container("web"))


def _pod(service_account: str, metadata: Object, *containers: Object) -> Object:
    spec = {"serviceAccountName": service_account, "containers": [*containers]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def namespace_objects() -> list[Object]:
    """A compliant namespace in a cluster with KubeRay and an administrator."""
    live = ray_cluster()
    live["metadata"]["uid"] = _CLUSTER_UID
    account = {"kind": "ServiceAccount", "namespace": "ray-system", "name": "kuberay-operator"}
    rights = (("ray.io", "rayclusters/status", "update"), ("", "pods", "create"))
    operator = cluster_role("kuberay-operator", [account], *rights)
    masters: Object = {"kind": "Group", "name": "system:masters"}
    administrator = cluster_role("cluster-admin", [masters], ("*", "*", "*"))
    return [namespace(), quota(), live, network_policy(), *operator, *administrator]


def with_own_tls(document: Object) -> Object:
    """A copy of a RayCluster whose author has configured Ray's TLS in every group."""
    values = {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": "/tls/crt",
        "RAY_TLS_SERVER_KEY": "/tls/key",
        "RAY_TLS_CA_CERT": "/ca",
    }
    result = copy.deepcopy(document)
    for group in (result["spec"]["headGroupSpec"], *result["spec"]["workerGroupSpecs"]):
        ray = group["template"]["spec"]["containers"][0]
        ray["env"] = [{"name": name, "value": value} for name, value in values.items()]
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
    user: str = OPERATOR,
    **inject: Any,
) -> Facts:
    return Facts(
        operation=operation,
        namespace=namespace,
        user=user,
        today=TODAY,
        signer=SIGNER,
        namespace_state=ManifestNamespaces(namespace_objects(), complete=True).state_of(namespace),
        injection=Injection.model_validate(inject),
        contract_hash="0123456789ab",
        before=Workload.of(Kind.of(before), before) if before else None,
        stored=before,
    )


def reviewer(policy: Mapping[str, Any] | None = None, *objects: Object, **known: Any) -> Reviewer:
    """A reviewer that knows `namespace_objects`, and `objects`, which replace them."""
    parsed = Policy.parse(policy)
    states = ManifestNamespaces([*namespace_objects(), *objects], complete=True, **known)
    return Reviewer(lambda: parsed, lambda: SIGNER, states, lambda: TODAY)


def ignorant_reviewer(policy: Mapping[str, Any] | None = None) -> Reviewer:
    """A reviewer that knows no object of the cluster."""
    parsed, unknown = Policy.parse(policy), ManifestNamespaces(())
    return Reviewer(lambda: parsed, lambda: SIGNER, unknown, lambda: TODAY)


def request(document: Object, *arguments: Any, **fields: Any) -> AdmissionRequest:
    """The request in the AdmissionReview that `review(...)` returns."""
    return AdmissionRequest.model_validate(review(document, *arguments, **fields)["request"])


def review(
    document: Object,
    operation: str = "CREATE",
    old: Object | None = None,
    user: str = "",
    groups: Sequence[str] = (),
    **fields: Any,
) -> Object:
    """The AdmissionReview that the API server would send for an object.

    Unless `user` is given, KubeRay's operator creates pods of RayClusters, Kubernetes those of
    submitters, and an author creates everything else.
    """
    kind = Kind.of(document)
    metadata = as_dict(document.get("metadata"))
    # The namespace of a Namespace is the Namespace itself.
    namespace = metadata.get("name" if kind.kind == "Namespace" else "namespace")
    body = {
        "uid": "3f1c8a52-8a3e-4f0e-9a37-1a4f0b7f7a10",
        "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "operation": operation,
        "namespace": as_str(namespace) or "team-a",
        "userInfo": {"username": user or _usual_user(kind, metadata), "groups": list(groups)},
        "object": document,
        "oldObject": old,
        "dryRun": False,
    }
    if isinstance(metadata.get("name"), str):
        body["name"] = metadata["name"]
    body |= fields
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": body}


def _usual_user(kind: Kind, metadata: Mapping[str, Any]) -> str:
    labels = as_dict(metadata.get("labels")) if kind.kind == "Pod" else {}
    return next((user for label, user in _CREATORS.items() if label in labels), "author")


def examples() -> dict[str, Object]:
    """The AdmissionReviews of `deploy/examples`, by file name."""
    return {file.stem: orjson.loads(file.read_bytes()) for file in sorted(EXAMPLES.glob("*.json"))}


def changed(document: Object, changes: Mapping[str, Any]) -> Object:
    """A copy of an object with a value set at each JSON pointer.

    Missing objects are created, `-` appends to a list, and None removes a member.
    """
    result = copy.deepcopy(document)
    for pointer, value in changes.items():
        *path, last = (
            token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]
        )
        node: Any = result
        for token in path:
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
