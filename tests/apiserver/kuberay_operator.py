"""The RBAC objects of KubeRay's operator, as its Helm chart creates them."""

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.permissions import RBAC

NAMESPACE, NAME = "kuberay-system", "kuberay-operator"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{NAME}"
# The ClusterRole in helm-chart/kuberay-operator (KubeRay 1.7), without rules that no test needs.
RULES = [
    {
        "apiGroups": ["batch"],
        "resources": ["jobs"],
        "verbs": ["create", "delete", "get", "list", "update", "watch"],
    },
    {
        "apiGroups": [""],
        "resources": ["pods"],
        "verbs": [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ],
    },
    {"apiGroups": [""], "resources": ["services/status"], "verbs": ["get", "patch", "update"]},
    {
        "apiGroups": ["ray.io"],
        "resources": ["rayclusters"],
        "verbs": ["create", "get", "list", "update", "watch"],
    },
    {"apiGroups": ["ray.io"], "resources": ["rayclusters/finalizers"], "verbs": ["update"]},
    {
        "apiGroups": ["ray.io"],
        "resources": ["rayclusters/status"],
        "verbs": ["get", "patch", "update"],
    },
]


def install_operator(control_plane: ControlPlane) -> None:
    """Give the operator's service account its rights in all namespaces, unless it has them."""
    if not control_plane.get(f"{RBAC}/clusterrolebindings/{NAME}"):
        bind(control_plane, NAMESPACE, "ClusterRole", NAME, NAME)


def bind(control_plane: ControlPlane, namespace: str, kind: str, name: str, account: str) -> None:
    """Give the operator's rights to a service account of `namespace`.

    `kind` is ClusterRole for all namespaces, or Role for `namespace` only.
    """
    path = RBAC if kind == "ClusterRole" else f"{RBAC}/namespaces/{namespace}"
    control_plane.make(f"{path}/{kind.lower()}s", {"metadata": {"name": name}, "rules": RULES})
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    document = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    control_plane.make(f"{path}/{kind.lower()}bindings", document)
