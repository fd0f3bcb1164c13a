"""The proxy that asks the API server who may use Ray's dashboard: kube-rbac-proxy as a sidecar.

It listens at the pod's address, and the dashboard on loopback, both on port 8265: so the Service of
the head, and KubeRay's probes, which ask localhost, stay as they are.
Source: kube-rbac-proxy 0.19 `cmd/kube-rbac-proxy/app`, `pkg/authz`, `pkg/proxy`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.untyped import as_str
from policies.injection import contract
from policies.injection.container_match import (
    contains,
    has_variables,
    own_security_context,
    same_shape,
    security_without_user,
)
from policies.injection.enroll_container import key_reader
from policies.model import Facts
from policies.ray.dashboard_proxy import (
    AUTHORIZATION_ANNOTATION,
    DASHBOARD_PROXY,
    has_dashboard_proxy,
)
from policies.ray.image import repository_of
from policies.ray.membership import RAY_CLUSTER_LABEL, RAY_GROUP
from policies.ray.pod import Container, Pod
from policies.ray.workload import Workload

PORT = 8265
LOOPBACK = "127.0.0.1"
CONFIG_VOLUME = "raywarden-dashboard"
VOLUMES = frozenset({CONFIG_VOLUME, contract.API_TOKEN_VOLUME})

_CONFIG_DIRECTORY = "/etc/raywarden/dashboard"
_CONFIG_FILE = "authorization.json"
# As the API server projects tokens itself: an hour, and a warning when they are used longer.
_TOKEN_SECONDS = 3607
# Others may not add variables with these prefixes: they load code, or send the proxy's questions
# to another server.
_FORBIDDEN_PREFIXES = ("GO", "KUBERNETES_", "LD_", "RAYWARDEN_", "SSL_")
_ANNOTATION_FIELD = f"metadata.annotations['{AUTHORIZATION_ANNOTATION}']"


def build(pod: Pod, image: str, facts: Facts) -> dict[str, Any]:
    """The sidecar. It has no command, because its program has another path in each image."""
    user, _ = key_reader(pod, facts.injection)
    return {
        "name": DASHBOARD_PROXY,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            # Brackets, because the address may be of either family.
            f"--secure-listen-address=[{contract.POD_IP_EXPANSION}]:{PORT}",
            # By name: where a pod has only IPv6 addresses, Ray listens on ::1 instead of 127.0.0.1.
            f"--upstream=http://localhost:{PORT}/",
            f"--config-file={_CONFIG_DIRECTORY}/{_CONFIG_FILE}",
            f"--tls-cert-file={contract.TLS_DIRECTORY}/tls.crt",
            f"--tls-private-key-file={contract.TLS_DIRECTORY}/tls.key",
        ],
        "env": [contract.pod_ip_variable()],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "500m", "memory": "128Mi"},
        },
        # The user that may read the key of the pod's certificate.
        "securityContext": own_security_context(user),
        "volumeMounts": [
            dict(contract.TLS_MOUNT),
            {"name": CONFIG_VOLUME, "mountPath": _CONFIG_DIRECTORY, "readOnly": True},
            {
                "name": contract.API_TOKEN_VOLUME,
                "mountPath": contract.API_TOKEN_DIRECTORY,
                "readOnly": True,
            },
        ],
    }


def volumes() -> Iterator[dict[str, Any]]:
    """The proxy's volumes: its authorization from the pod's annotation, and its API token."""
    yield {
        "name": CONFIG_VOLUME,
        "downwardAPI": {
            "items": [{"path": _CONFIG_FILE, "fieldRef": _field(_ANNOTATION_FIELD)}],
            "defaultMode": 0o644,
        },
    }
    token = {"path": "token", "expirationSeconds": _TOKEN_SECONDS}
    certificates = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    namespace = {"path": "namespace", "fieldRef": _field("metadata.namespace")}
    sources = [
        {"serviceAccountToken": token},
        {"configMap": certificates},
        {"downwardAPI": {"items": [namespace]}},
    ]
    yield {
        "name": contract.API_TOKEN_VOLUME,
        "projected": {"sources": sources, "defaultMode": 0o644},
    }


def _field(path: str) -> dict[str, str]:
    return {"apiVersion": "v1", "fieldPath": path}


def authorization(namespace: str, name: str) -> str:
    """The proxy's authorization: it asks for `get` on this RayCluster for a GET, and so on.

    Without a name, which the API server chooses after admission, it asks about all RayClusters of
    the namespace. The pods, which RayWarden sees later, have the name.
    """
    attributes = {
        "apiGroup": RAY_GROUP,
        "apiVersion": "v1",
        "resource": "rayclusters",
        "namespace": namespace,
    }
    if name:
        attributes["name"] = name
    return json.dumps({"authorization": {"resourceAttributes": attributes}})


def authorization_of(pod: Pod, workload: Workload, facts: Facts) -> str:
    """What the annotation of this head says if RayWarden wrote it."""
    if workload.kind == "Pod":
        return authorization(facts.namespace, as_str(pod.labels.get(RAY_CLUSTER_LABEL)))
    # Not `workload.name`, which is the generateName where the API server chooses the name.
    return authorization(facts.namespace, as_str(workload.metadata.get("name")))


def is_current(container: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """`container` does what `expected` does, with harmless additions by others at most."""
    return (
        container.get("image") == expected["image"]
        and was_injected(container, expected)
        and contains(container.get("securityContext"), expected["securityContext"])
    )


def was_injected(container: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """`container` differs from `expected` only in the image and the user."""
    return (
        same_shape(container, expected, expected["volumeMounts"])
        and container.get("args") == expected["args"]
        and has_variables(container, expected["env"], _FORBIDDEN_PREFIXES)
        and contains(container.get("securityContext"), security_without_user(expected))
    )


def is_ours(container: Container, pod: Pod, workload: Workload, facts: Facts) -> bool:
    """RayWarden wrote this container, and not an author who uses its name.

    The image may have another tag, because two replicas may have different versions of the policy
    file. Without an image in the policy file, the one of the RayCluster's template stays: RayWarden
    refuses others there.
    """
    if container.name != DASHBOARD_PROXY or container.list_name != "containers":
        return False
    before = facts.counterpart(pod)
    stored = before.container(DASHBOARD_PROXY) if before else None
    if stored is not None and stored.raw == container.raw:
        return True
    is_pod = workload.is_kuberay_pod
    if not has_dashboard_proxy(pod) or not (is_pod or workload.kind == "RayCluster"):
        return False
    image = facts.injection.dashboard_proxy_image
    expected = build(pod, image, facts)
    if not was_injected(container.raw, expected):
        return False
    if image:
        return repository_of(container.image) == repository_of(image)
    return is_pod and facts.stored is None


def will_have_proxy(pod: Pod, workload: Workload, facts: Facts) -> bool:
    """The proxy runs beside this head, or RayWarden adds it when KubeRay creates the pod."""
    if not has_dashboard_proxy(pod):
        return False
    if pod.container(DASHBOARD_PROXY):
        return True
    later = contract.is_completed_later(pod, workload, facts)
    return later and bool(facts.injection.dashboard_proxy_image)
