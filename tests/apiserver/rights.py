"""The rights the server needs, as data, and how to give them to a service account."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tests.apiserver.control_plane import ControlPlane
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
)
# ... and in its own namespace. RBAC knows no names at creation.
OWN_RULES: Rules = (
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["raywarden-seed"], "verbs": ["get", "update"]},
)


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
