"""Minimal valid objects beside Ray: Services, routes, network policies, namespaces, RBAC."""

from collections.abc import Collection
from typing import Any

from policies.cluster.quota import LiveQuota

Object = dict[str, Any]


def service(**fields: Any) -> Object:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}], **fields}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "team-a"},
        "spec": spec,
    }


def quota() -> Object:
    metadata = {"name": "ray", "namespace": "team-a"}
    spec = {"hard": {"limits.memory": "256Gi"}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}


def ingress() -> Object:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec = {
        "ingressClassName": "nginx",
        "rules": [{"host": "web.example", "http": {"paths": [path]}}],
    }
    metadata = {"name": "web", "namespace": "team-a"}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata,
        "spec": spec,
    }


def http_route() -> Object:
    spec = {
        "parentRefs": [{"name": "outside"}],
        "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
    }
    metadata = {"name": "web", "namespace": "team-a"}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": spec,
    }


def tcp_route() -> Object:
    return {**http_route(), "apiVersion": "gateway.networking.k8s.io/v1alpha2", "kind": "TCPRoute"}


def route() -> Object:
    spec = {"to": {"kind": "Service", "name": "web"}, "port": {"targetPort": 8080}}
    metadata = {"name": "web", "namespace": "team-a"}
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": metadata,
        "spec": spec,
    }


def network_policy() -> Object:
    """Allows connections to the pods of a namespace only from pods of the same namespace."""
    spec = {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {}}]}],
    }
    metadata = {"name": "inside", "namespace": "team-a"}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


def endpoint_slice() -> Object:
    labels = {"kubernetes.io/service-name": "web"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "team-a", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.7"]}],
        "ports": [{"port": 80}],
    }


def namespace() -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a", "labels": {}}}


def ray_client() -> Object:
    """The Deployment of a web server that connects to Ray, by an author who knows no labels."""
    container = {
        "name": "web",
        "image": "registry.example/web:1.4.2",
        "env": [{"name": "RAY_ADDRESS", "value": "ray://web-head:10001"}],
    }
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "team-a"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def submitter_job() -> Object:
    """The Job that KubeRay 1.3 to 1.6 creates for a RayJob: its pod template has no labels."""
    origin = {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": "job"}
    rayjob = {"apiVersion": "ray.io/v1", "kind": "RayJob", "name": "job", "uid": "a"}
    metadata = {
        "name": "job",
        "namespace": "team-a",
        "labels": {**origin, "app.kubernetes.io/created-by": "kuberay-operator"},
        "ownerReferences": [{**rayjob, "controller": True, "blockOwnerDeletion": True}],
    }
    container = {"name": "ray-job-submitter", "image": "rayproject/ray:2.60.0"}
    pod = {"containers": [container], "restartPolicy": "Never"}
    template = {"metadata": {"creationTimestamp": None}, "spec": pod}
    spec = {"backoffLimit": 2, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def cluster_role(
    name: str, users: list[Object], *rules: tuple[str, str, str]
) -> tuple[Object, Object]:
    """A ClusterRole and its binding to `users`; a rule is an API group, a resource and a verb."""
    policy_rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        for group, resource, verb in rules
    ]
    version, reference = "rbac.authorization.k8s.io/v1", {"kind": "ClusterRole", "name": name}
    role = {
        "apiVersion": version,
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": policy_rules,
    }
    binding = {"apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": name}}
    return role, {**binding, "roleRef": reference, "subjects": users}


def namespaced_role(
    namespace: str, user: Object, *rules: tuple[str, str, str], kind: str = "Role"
) -> list[Object]:
    """A Role, or a ClusterRole, and its RoleBinding in a namespace."""
    role, binding = cluster_role("r", [user], *rules)
    metadata = {"name": "r", "namespace": namespace}
    reference = {**binding["roleRef"], "kind": kind}
    bound = {**binding, "kind": "RoleBinding", "metadata": metadata, "roleRef": reference}
    return [{**role, "kind": kind, "metadata": metadata}, bound]


RELATED_OBJECTS = {
    "service": service,
    "ingress": ingress,
    "httproute": http_route,
    "tcproute": tcp_route,
    "route": route,
    "networkpolicy": network_policy,
    "endpointslice": endpoint_slice,
    "namespace": namespace,
    "submitter-job": submitter_job,
    "ray-client": ray_client,
}


def quota_names(quotas: Collection[LiveQuota] | None) -> list[str]:
    return sorted(quota.name for quota in quotas or ())
