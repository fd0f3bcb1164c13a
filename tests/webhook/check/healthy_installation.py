"""A healthy installation on a fake API server. Tests put faults into it."""

import base64
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from certs.authority import serving_authority
from policies.injection.contract import MANAGED, MARKER_LABEL
from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ISOLATION_ANNOTATION, ClusterIsolation, IsolationMode
from policies.network.isolation import MANAGED as ISOLATION_MANAGED
from policies.network.ray_traffic import ClusterTraffic
from policies.network.written import Members, PolicyNames, policies_for
from policies.ray.workload import Workload
from tests.support import live_objects
from tests.support.factory import Object, changed
from tests.support.fake_kube_api import FakeKubeApi, fails
from webhook import __version__

HOME = "raywarden-system"
IMAGE = f"registry.example/raywarden:{__version__}"
DENIED = (
    'admission webhook "validate.raywarden.io" denied the request: '
    "operator-made-pods: this pod claims to be"
)
API_SERVER = (("192.0.2.1", 6443), ("198.51.100.1", 443))
OPERATOR_RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
    {"apiGroups": ["ray.io"], "resources": ["rayclusters/status"], "verbs": ["update"]},
]


def deployment(**settings: str) -> Object:
    """The server's Deployment, with these variables in addition to its own."""
    variables = {
        "RAYWARDEN_ENROLL_IMAGE": f"{IMAGE}-enroll",
        "RAYWARDEN_POLICY_FILE": "/etc/raywarden/policy.yaml",
        **settings,
    }
    container = {
        "name": "raywarden",
        "image": IMAGE,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "volumeMounts": [{"name": "policy", "mountPath": "/etc/raywarden", "readOnly": True}],
    }
    volumes = [{"name": "policy", "configMap": {"name": "raywarden-policy"}}]
    pod = {"serviceAccountName": "raywarden", "containers": [container], "volumes": volumes}
    return {
        "apiVersion": "apps/v1",
        "metadata": {"name": "raywarden", "namespace": HOME},
        "spec": {"replicas": 2, "template": {"spec": pod}},
        "status": {"readyReplicas": 2},
    }


def configuration(kind: str, **webhook: Any) -> Object:
    """RayWarden's webhook configuration with one webhook, which has these fields."""
    path, policy = ("mutate", "Ignore") if kind == "mutating" else ("validate", "Fail")
    service = {"namespace": HOME, "name": "raywarden", "path": f"/{path}", "port": 443}
    bundle = base64.b64encode(serving_authority(live_objects.GENERATION).pem).decode()
    selector = {
        "key": "kubernetes.io/metadata.name",
        "operator": "NotIn",
        "values": ["kube-system", HOME],
    }
    entry = {
        "name": f"{path}.raywarden.io",
        "clientConfig": {"service": service, "caBundle": bundle},
        "failurePolicy": policy,
        "sideEffects": "None",
        "timeoutSeconds": 10,
        "namespaceSelector": {"matchExpressions": [selector]},
        **webhook,
    }
    metadata = {"name": "raywarden", "creationTimestamp": "2026-11-19T00:00:00Z"}
    return {"metadata": metadata, "webhooks": [entry]}


def operator(image: str = "quay.io/kuberay/operator:v1.7.0") -> Object:
    """KubeRay's Deployment."""
    metadata = {
        "name": "kuberay-operator",
        "namespace": "kuberay",
        "labels": {"app.kubernetes.io/name": "kuberay-operator"},
    }
    pod = {
        "serviceAccountName": "kuberay-operator",
        "containers": [{"name": "kuberay-operator", "image": image}],
    }
    spec = {"replicas": 1, "template": {"spec": pod}}
    return {
        "apiVersion": "apps/v1",
        "metadata": metadata,
        "spec": spec,
        "status": {"readyReplicas": 1},
    }


def binding() -> Object:
    """The ClusterRoleBinding that identifies KubeRay's operator."""
    subject = {"kind": "ServiceAccount", "namespace": "kuberay", "name": "kuberay-operator"}
    role = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "kuberay-operator",
    }
    return {"metadata": {"name": "kuberay-operator"}, "roleRef": role, "subjects": [subject]}


def namespace(name: str, **labels: str) -> Object:
    return changed(
        live_objects.namespace(name),
        {"/metadata/labels": {"kubernetes.io/metadata.name": name, **labels}},
    )


def ray_cluster(name: str = "demo", **labels: str) -> Object:
    changes = {
        "/metadata/labels": labels or {MARKER_LABEL: MANAGED},
        "/metadata/annotations": {ISOLATION_ANNOTATION: ISOLATION_MANAGED},
        "/spec": {"headGroupSpec": {"template": {}}},
    }
    return changed(live_objects.ray_cluster(name), changes)


def network_policies(
    name: str = "demo", mode: IsolationMode = IsolationMode.MEMBERS
) -> list[Object]:
    """The NetworkPolicies that RayWarden writes for a RayCluster of this name."""
    traffic = ClusterTraffic.of(Workload("RayCluster", ray_cluster(name)))
    infrastructure = Infrastructure(("kuberay",), (HOME, 8444), API_SERVER)
    written = policies_for(
        traffic, ClusterIsolation(mode), infrastructure, PolicyNames.of(name), Members.of(name)
    )
    return [network_policy(policy.name, policy.spec) for policy in written]


def network_policy(name: str, spec: Mapping[str, Any], namespace: str = "team-a") -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def daemon_set(name: str, *containers: Object) -> Object:
    """A part of the network in kube-system."""
    pod = {"containers": list(containers) or [{"name": name}]}
    metadata = {"name": name, "namespace": "kube-system"}
    return {"metadata": metadata, "spec": {"template": {"spec": pod}}}


def groups(*more: str) -> Object:
    """The groups that the API server serves, each with one version."""
    versions = [("apps", "v1"), *(tuple(text.split("/")) for text in more)]
    return {"groups": [{"name": name, "versions": [{"version": v}]} for name, v in versions]}


def pod(*arguments: str) -> Object:
    """A Ray pod with the init container, created a minute after its cluster."""
    enrolled = {"/spec/initContainers": [{"name": "raywarden-enroll"}]}
    return changed(
        live_objects.pod(*arguments),
        {"/metadata/creationTimestamp": "2026-11-20T08:01:00Z", **enrolled},
    )


def seed(**entries: bytes) -> Object:
    secrets = {**live_objects.SEED.entries, **entries}
    data = {name: base64.b64encode(secret).decode() for name, secret in secrets.items()}
    return {
        "apiVersion": "v1",
        "metadata": {"name": "raywarden-seed", "namespace": HOME},
        "data": data,
    }


def policy(text: str = "kind: Policy\nprofiles: {enforce: restricted}\n") -> Object:
    return {
        "metadata": {"name": "raywarden-policy", "namespace": HOME},
        "data": {"policy.yaml": text},
    }


async def completes(request: web.BaseRequest) -> web.Response:
    """Answers a dry run like the mutating webhook."""
    document = await request.json()
    document["metadata"]["labels"] = {MARKER_LABEL: MANAGED}
    return web.json_response(document, status=201)


def install(fake: FakeKubeApi) -> None:
    """Put a healthy installation, KubeRay and a Ray cluster on the API server."""
    kinds = [{"name": f"ray{kind}s"} for kind in ("cluster", "job", "service", "cronjob")]
    fake.paths = {
        "/version": {"major": "1", "minor": "36+", "gitVersion": "v1.36.2"},
        "/apis": groups(),
        "/apis/ray.io/v1": {
            "kind": "APIResourceList",
            "resources": [*kinds, {"name": "rayclusters/status"}],
        },
    }
    fake.put("deployments", deployment())
    for name in ("raywarden", "raywarden-enroll"):
        fake.put("services", {"metadata": {"name": name, "namespace": HOME}})
    for kind in ("mutating", "validating"):
        fake.put(f"{kind}webhookconfigurations", configuration(kind))
    fake.put("configmaps", policy())
    fake.put("secrets", seed())
    for name in ("default", "team-a"):
        fake.put("namespaces", namespace(name))
    fake.put("deployments", operator())
    fake.put("clusterroles", {"metadata": {"name": "kuberay-operator"}, "rules": OPERATOR_RULES})
    fake.put("clusterrolebindings", binding())
    fake.put("rayclusters", ray_cluster())
    for document in network_policies():
        fake.put("networkpolicies", document)
    fake.put("daemonsets", daemon_set("cilium"))
    api_server = {"metadata": {"name": "kubernetes", "namespace": "default"}}
    endpoints = {"endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"port": 6443}]}
    fake.put("endpointslices", {**api_server, **endpoints})
    service = {"spec": {"clusterIP": "198.51.100.1", "ports": [{"port": 443}]}}
    fake.put("services", {**api_server, **service})
    for document in (pod(), pod("w", "worker")):
        fake.put("pods", document)
    fake.dry_runs = {"pods": fails(403, DENIED), "rayclusters": completes}
