"""The rights the server needs, as data, and how to give them to a service account."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tests.apiserver.control_plane import ControlPlane
from tests.kube_conversation import talk
from webhook.kube_api import KubeApi
from webhook.ports import UnavailableError

REGISTRATION = "admissionregistration.k8s.io"
RBAC = "/apis/rbac.authorization.k8s.io/v1"

Rules = Sequence[Mapping[str, Sequence[str]]]

# What the server needs, and nothing else: everywhere, ...
CLUSTER_RULES: Rules = (
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]},
    {"apiGroups": ["ray.io"], "resources": ["rayclusters"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {
        "apiGroups": [REGISTRATION],
        "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
        "resourceNames": ["raywarden"],
        "verbs": ["get", "patch"],
    },
    # What rules may know of a namespace is in memory before anybody asks: all of it is listed once and then watched.
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["list", "watch"]},
    # These need not be installed; but only who has the right is told that they are not (404), others are refused (403).
    {
        "apiGroups": ["scheduling.sigs.k8s.io"],
        "resources": ["elasticquotas", "elasticquotatrees"],
        "verbs": ["list", "watch"],
    },
    {"apiGroups": ["scheduling.x-k8s.io"], "resources": ["elasticquotas"], "verbs": ["list", "watch"]},
    # Who runs KubeRay, and who may do everything anyway. No names: nobody knows what they are called.
    {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles", "clusterrolebindings"],
        "verbs": ["list", "watch"],
    },
)
# ... and in its own namespace. RBAC knows no names at creation.
OWN_RULES: Rules = (
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["raywarden-seed"], "verbs": ["get", "update"]},
)


def watched(rules: Rules) -> set[str]:
    """The resources that are kept in memory, by the names readiness has for them."""
    return {
        f"{resource}.{group}".rstrip(".")
        for rule in rules
        if "watch" in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def without(rules: Rules, resource: str) -> Rules:
    return tuple(rule for rule in rules if resource not in rule["resources"])


def grant(control_plane: ControlPlane, namespace: str, cluster_rules: Rules, own_rules: Rules) -> None:
    """Give the service account of a namespace these rights."""
    subjects = [{"kind": "ServiceAccount", "name": "raywarden", "namespace": namespace}]
    for kind, path, rules in (
        ("ClusterRole", RBAC, cluster_rules),
        ("Role", f"{RBAC}/namespaces/{namespace}", own_rules),
    ):
        control_plane.make(f"{path}/{kind.lower()}s", {"metadata": {"name": namespace}, "rules": rules})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": namespace}
        binding = {"metadata": {"name": namespace}, "roleRef": reference, "subjects": subjects}
        control_plane.make(f"{path}/{kind.lower()}bindings", binding)


async def granted(ask: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Wait until the API server has heard of our rights."""
    async with asyncio.timeout(20):
        while True:
            with suppress(UnavailableError):
                await ask()
                return
            await asyncio.sleep(0.02)


def as_raywarden(
    control_plane: ControlPlane, namespace: str, conversation: Callable[[KubeApi], Coroutine[Any, Any, None]]
) -> None:
    """Talk to the API server as the service account `raywarden`, with a real token of its own."""
    kubeconfig = control_plane.kubeconfig(namespace, control_plane.token(namespace, "raywarden"))

    async def main() -> None:
        async with await KubeApi.connect(kubeconfig) as api:
            await conversation(api)

    talk(main())
